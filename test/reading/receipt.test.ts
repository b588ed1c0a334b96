import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { equalBytes } from '#gateway/reading/bytes.ts'
import { stationId } from '#gateway/reading/key.ts'
import { maxRanges, type Receipt, signReceipt, verifyReceipt } from '#gateway/reading/receipt.ts'
import { type Refusal, refusalCoded, refusals } from '#gateway/reading/refusal.ts'
import { mutation, seed, signerOf } from './samples.ts'

const hub = signerOf(1)
const hash = (byte: number): Uint8Array => new Uint8Array(32).fill(byte)

const receipt: Receipt = {
  station: stationId(signerOf(2).publicKey),
  issuedMs: 1_763_700_000_000,
  accepted: [
    { first: 1, last: 40, head: hash(1), withheld: 0 },
    { first: 42, last: 42, head: hash(2), withheld: 7 },
  ],
  refused: [
    { seq: 41, reason: 'future', hash: hash(3) },
    { seq: 41, reason: 'bad-signature', hash: hash(4) },
  ],
}

describe('a receipt', () => {
  const bytes = signReceipt(receipt, 'test', hub)

  it('comes back as it was signed', () => {
    expect(verifyReceipt(bytes, 'test', hub.publicKey)).toEqual({ ok: true, receipt })
    expect(verifyReceipt(Buffer.from(bytes), 'test', hub.publicKey)).toEqual({ ok: true, receipt })
  })

  it('of the most ranges and refusals fits its bounds', () => {
    const full: Receipt = {
      ...receipt,
      accepted: Array.from({ length: maxRanges }, (_, at) => ({
        first: 2 ** 40 + 3 * at,
        last: 2 ** 40 + 3 * at + 1,
        head: hash(at),
        withheld: 2 ** 40,
      })),
      refused: Array.from({ length: maxRanges }, (_, at) => ({
        seq: 2 ** 40 + 3 * at + 2,
        reason: 'replayed' as Refusal,
        hash: hash(at),
      })),
    }
    expect(verifyReceipt(signReceipt(full, 'test', hub), 'test', hub.publicKey)).toEqual({
      ok: true,
      receipt: full,
    })
  })

  it('is worth nothing in another network or from another hub', () => {
    expect(verifyReceipt(bytes, 'other', hub.publicKey)).toMatchObject({ reason: 'bad-signature' })
    expect(verifyReceipt(bytes, 'test', signerOf(3).publicKey)).toMatchObject({ reason: 'bad-signature' })
  })

  it('changed in any bit is refused', () => {
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = bytes.slice()
      changed[bit >> 3]! ^= 1 << (bit & 7)
      expect(verifyReceipt(changed, 'test', hub.publicKey).ok, `bit ${bit}`).toBe(false)
    }
  })

  it('changed at random is refused and never throws', () => {
    fc.assert(
      fc.property(mutation(bytes), (changed) => {
        expect(verifyReceipt(changed, 'test', hub.publicKey).ok).toBe(equalBytes(changed, bytes))
      }),
      { seed, numRuns: 2000 },
    )
  })

  it('whose ranges do not ascend is refused, though signed', () => {
    const wrong = (accepted: Receipt['accepted']): unknown =>
      verifyReceipt(signReceipt({ ...receipt, accepted }, 'test', hub), 'test', hub.publicKey)
    const head = hash(0)
    const withheld = 0
    expect(wrong([{ first: 0, last: 1, head, withheld }])).toMatchObject({ reason: 'malformed' })
    expect(wrong([{ first: 5, last: 4, head, withheld }])).toMatchObject({ reason: 'malformed' })
    expect(
      wrong([
        { first: 5, last: 9, head, withheld },
        { first: 9, last: 10, head, withheld },
      ]),
    ).toMatchObject({ detail: 'accepted ranges ascend' })
  })
})

describe('refusals', () => {
  it('have codes of their own that never change', () => {
    const codes = Object.values(refusals).map(({ code }) => code)
    expect(codes).toEqual(codes.map((_, at) => at + 1))
    for (const [name, { code }] of Object.entries(refusals)) expect(refusalCoded(code)).toBe(name)
    expect(refusalCoded(0)).toBeUndefined()
  })
})
