/** Makes JSON Web Signatures in compact form (RFC 7515) with Ed25519 (RFC 8037, RFC 9864): offers, and receipts for JSON. */
import { toHex } from '../reading/bytes.ts'
import type { Signer } from '../reading/cose.ts'
import { keyId } from '../reading/key.ts'

const text = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Signs a JSON value. `type` goes into the header (RFC 8725 s3.11), so that one kind never passes for another. */
export const signJws = (type: string, payload: object, signer: Signer): string => {
  const header = { alg: 'EdDSA', typ: type, kid: toHex(keyId(signer.publicKey)) }
  const input = `${text(header)}.${text(payload)}`
  return `${input}.${Buffer.from(signer.sign(Buffer.from(input))).toString('base64url')}`
}
