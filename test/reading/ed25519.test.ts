import { createPrivateKey, sign as opensslSign } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { equalBytes } from '#gateway/reading/bytes.ts'
import * as browser from '#gateway/reading/ed25519.browser.ts'
import * as node from '#gateway/reading/ed25519.node.ts'
import * as browserSha from '#gateway/reading/sha256.browser.ts'
import * as nodeSha from '#gateway/reading/sha256.node.ts'
import { ed25519Contract } from '#test/contract/ed25519.ts'

// PKCS#8 of an Ed25519 seed (RFC 8410 s7) up to the 32 seed bytes.
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex')

const nodeSign = (message: Uint8Array, seed: Uint8Array): Uint8Array =>
  opensslSign(
    null,
    message,
    createPrivateKey({ key: Buffer.concat([pkcs8Prefix, seed]), format: 'der', type: 'pkcs8' }),
  )

ed25519Contract('node:crypto', node.verify, nodeSign, 1)
ed25519Contract('@noble/ed25519', browser.verify, browser.sign, 37)

describe('SHA-256', () => {
  it('is the same by node:crypto and by @noble/hashes at every length around the block size', () => {
    for (let length = 0; length < 200; length++) {
      const bytes = Uint8Array.from({ length }, (_, at) => (at * 7 + length) & 255)
      expect(equalBytes(nodeSha.sha256(bytes), browserSha.sha256(bytes)), `${length} bytes`).toBe(true)
    }
  })
})
