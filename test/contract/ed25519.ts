/** What every Ed25519 verifier behind `#ed25519` must answer. */
import { describe, expect, it } from 'vitest'
import { fromHex, toHex } from '#gateway/reading/bytes.ts'
import { haveVectors, vectorJson, vectorsNote, vectorText } from '#test/vectors.ts'

type Verify = (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array) => boolean
type Sign = (message: Uint8Array, seed: Uint8Array) => Uint8Array

const hex = (text: string): Uint8Array => fromHex(text) ?? expect.fail(`not hex: ${text.slice(0, 40)}`)

type Rfc8032 = { priv: string; pub: string; msg: string; sig: string }[]
type Wycheproof = {
  testGroups: {
    publicKey: { pk: string }
    tests: { tcId: number; comment: string; msg: string; sig: string; result: string }[]
  }[]
}

/** All encodings of the eight points of small order, the non-canonical ones too. */
export const smallOrderKeys: readonly string[] = [
  `01${'00'.repeat(31)}`,
  `ec${'ff'.repeat(30)}7f`,
  '00'.repeat(32),
  `${'00'.repeat(31)}80`,
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  `01${'00'.repeat(30)}80`,
  `ec${'ff'.repeat(31)}`,
  `ed${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(31)}`,
  `ee${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(31)}`,
]

const order = 2n ** 252n + 27742317777372353535851937790883648493n

/** `every` of the 1,024 sign.input vectors is tried: a slow verifier takes a sample. */
export const ed25519Contract = (name: string, verify: Verify, sign: Sign, every: number): void => {
  describe.skipIf(!haveVectors)(`Ed25519 by ${name}${vectorsNote}`, () => {
    it('accepts and reproduces the signatures of RFC 8032 s7.1', () => {
      const vectors = vectorJson<Rfc8032>('ed25519/rfc8032-ed25519.json')
      expect(vectors.length).toBeGreaterThanOrEqual(4)
      for (const { priv, pub, msg, sig } of vectors) {
        expect(toHex(sign(hex(msg), hex(priv).slice(0, 32)))).toBe(sig)
        expect(verify(hex(sig), hex(msg), hex(pub))).toBe(true)
      }
    })

    it(`accepts and reproduces ${every === 1 ? 'every line' : `one line in ${every}`} of sign.input, and refuses each with a bit changed`, () => {
      const lines = vectorText('ed25519/sign.input.txt').split('\n').filter(Boolean)
      expect(lines).toHaveLength(1024)
      for (let at = 0; at < lines.length; at += every) {
        const [secret, publicKey, message, signed] = lines[at]!.split(':')
        const key = hex(publicKey!)
        const text = hex(message!)
        const signature = hex(signed!).slice(0, 64)
        expect(toHex(sign(text, hex(secret!).slice(0, 32)))).toBe(toHex(signature))
        expect(verify(signature, text, key), `line ${at + 1}`).toBe(true)
        const changed = signature.slice()
        changed[at % 64]! ^= 1 << (at % 8)
        expect(verify(changed, text, key), `line ${at + 1}, changed`).toBe(false)
      }
    })

    it('answers as Wycheproof says', () => {
      const { testGroups } = vectorJson<Wycheproof>('ed25519-wycheproof/ed25519_test.json')
      const differing = testGroups.flatMap(({ publicKey, tests }) =>
        tests
          .filter(
            ({ msg, sig, result }) => verify(hex(sig), hex(msg), hex(publicKey.pk)) !== (result === 'valid'),
          )
          .map(({ tcId, comment }) => `${tcId} ${comment}`),
      )
      expect(differing).toEqual([])
    })
  })

  describe(`Ed25519 by ${name}, at the edges`, () => {
    const seed = new Uint8Array(32).fill(7)
    const key = hex('ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c')
    const message = new TextEncoder().encode('21.53 Cel')

    it('gives the same 64 bytes as everyone', () => {
      expect(toHex(sign(message, seed))).toBe(toHex(sign(Buffer.from(message), Buffer.from(seed))))
      expect(verify(sign(message, seed), message, key)).toBe(true)
    })

    it('takes Buffers and views into larger arrays as what they show', () => {
      const around = Buffer.concat([Buffer.from('x'), message, Buffer.from('y')])
      const view = around.subarray(1, 1 + message.length)
      expect(verify(Buffer.from(sign(message, seed)), view, Buffer.from(key))).toBe(true)
      expect(verify(sign(message, seed), around, key)).toBe(false)
    })

    it('refuses every small-order key, even with the signature that fits all messages', () => {
      // R the identity and S zero satisfy the equation for such keys under lax rules.
      const forged = new Uint8Array(64)
      forged[0] = 1
      for (const encoding of smallOrderKeys)
        for (const text of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'])
          expect(verify(forged, new TextEncoder().encode(text), hex(encoding)), encoding).toBe(false)
    })

    it('refuses S + L, the other signature that a lax verifier accepts', () => {
      const signature = sign(message, seed).slice()
      let s = 0n
      for (let at = 63; at >= 32; at--) s = (s << 8n) | BigInt(signature[at]!)
      s += order
      for (let at = 32; at < 64; at++, s >>= 8n) signature[at] = Number(s & 255n)
      expect(verify(signature, message, key)).toBe(false)
    })

    it('answers false, without an exception, to keys and signatures of any length and content', () => {
      const signature = sign(message, seed)
      for (const length of [0, 1, 31, 33, 63, 65, 128]) {
        expect(verify(new Uint8Array(length), message, key)).toBe(false)
        expect(verify(signature, message, new Uint8Array(length))).toBe(false)
      }
      expect(verify(new Uint8Array(64).fill(255), message, key)).toBe(false)
      expect(verify(signature, message, new Uint8Array(32).fill(255))).toBe(false)
      const longer = new Uint8Array(65)
      longer.set(signature)
      expect(verify(longer, message, key)).toBe(false)
    })
  })
}
