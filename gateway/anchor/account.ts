/** The key that pays for anchoring. */
import { bytesToHex } from 'viem'
import { type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts'

/** An account on any EVM chain: it has an address and signs transactions. */
export type Account = PrivateKeyAccount

/** The account of a 32-byte secp256k1 secret; throws when the bytes are no secret (zero, or not below the group order). */
export const accountOf = (secret: Uint8Array): Account => privateKeyToAccount(bytesToHex(secret))
