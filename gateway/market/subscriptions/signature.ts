/**
 * Signatures of Standard Webhooks (github.com/standard-webhooks, spec/standard-webhooks.md): `v1` with the secret that
 * only receiver and hub know, and `v1a` with the hub's Ed25519 key, which anybody can check and no receiver can make.
 */
import { createHmac } from 'node:crypto'
import type { Signer } from '../../reading/cose.ts'

const secretPrefix = 'whsec_'

/** A secret as its receiver is told it: `whsec_` and base64 of the bytes. */
export const secretText = (secret: Uint8Array): string =>
  `${secretPrefix}${Buffer.from(secret).toString('base64')}`

/** The hub's public key as receivers take it: `whpk_` and base64 of the 32 bytes. */
export const publicKeyText = (publicKey: Uint8Array): string =>
  `whpk_${Buffer.from(publicKey).toString('base64')}`

/** A message to sign; `id` has no full stop in it, `timestampS` is in seconds since 1970. */
export type Message = { readonly id: string; readonly timestampS: number; readonly body: string }

/** The headers that carry id, time and signatures. */
export const signedHeaders = (
  { id, timestampS, body }: Message,
  secret: Uint8Array,
  hub: Pick<Signer, 'sign'>,
): Readonly<Record<'webhook-id' | 'webhook-timestamp' | 'webhook-signature', string>> => {
  const content = Buffer.from(`${id}.${timestampS}.${body}`)
  const mac = createHmac('sha256', secret).update(content).digest('base64')
  const signature = Buffer.from(hub.sign(content)).toString('base64')
  return {
    'webhook-id': id,
    'webhook-timestamp': `${timestampS}`,
    'webhook-signature': `v1,${mac} v1a,${signature}`,
  }
}
