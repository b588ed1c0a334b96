/** A signer from an Ed25519 private key in PKCS#8 PEM (RFC 8410). */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import type { Signer } from '../reading/cose.ts'
import { keyFault } from '../reading/key.ts'

/** A new private key as PEM. */
export const newPem = (): string =>
  generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string

/** The signer of a PEM; `name` stands in errors. Throws where it holds no Ed25519 key, or one that must not be used. */
export const signerOf = (pem: string, name: string): Signer => {
  const key = createPrivateKey(pem)
  if (key.asymmetricKeyType !== 'ed25519')
    throw new Error(`${name} holds a ${key.asymmetricKeyType} key, not ed25519`)
  const publicKey = new Uint8Array(createPublicKey(key).export({ type: 'spki', format: 'der' }).subarray(-32))
  const fault = keyFault(publicKey)
  if (fault !== undefined) throw new Error(`${name} holds a key that must not be used: ${fault}`)
  return { publicKey, sign: (message) => sign(null, message, key) }
}
