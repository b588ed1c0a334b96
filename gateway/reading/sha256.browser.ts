/** SHA-256 (FIPS 180-4) in plain JavaScript, for where there is no OpenSSL. */
export { sha256 } from '@noble/hashes/sha2.js'
