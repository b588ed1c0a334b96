/** A self-test of the Ed25519 verifier, because releases of OpenSSL and Node have disagreed on what is valid. */
import { fromHex } from '../reading/bytes.ts'

export type Verify = (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array) => boolean

type Vector = {
  readonly title: string
  readonly publicKey: string
  readonly message: string
  readonly signature: string
  readonly valid: boolean
}

const zeros = '00'.repeat(31)

const vectors: readonly Vector[] = [
  {
    title: 'RFC 8032 s7.1 test 2',
    publicKey: '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    message: '72',
    signature:
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da' +
      '085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
    valid: true,
  },
  {
    title: 'the same with a message of one other bit',
    publicKey: '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    message: '73',
    signature:
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da' +
      '085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
    valid: false,
  },
  {
    // R and A are the identity and S is 0, so that the equation holds for every message there is.
    title: 'a key of small order, which lets anybody sign anything',
    publicKey: `01${zeros}`,
    message: '72',
    signature: `01${zeros}00${zeros}`,
    valid: false,
  },
]

/** What the verifier gets wrong; undefined where it can be relied on. */
export const verifierFault = (verify: Verify): string | undefined => {
  const wrong = vectors.find(
    ({ signature, message, publicKey, valid }) =>
      verify(fromHex(signature)!, fromHex(message)!, fromHex(publicKey)!) !== valid,
  )
  return wrong && `${wrong.title}: ${wrong.valid ? 'refused' : 'accepted'}`
}
