import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { equalBytes } from '#gateway/reading/bytes.ts'
import { stationId } from '#gateway/reading/key.ts'
import { decodeStatement, encodeStatement, type Statement } from '#gateway/reading/statement.ts'
import { mutation, seed, signerOf } from './samples.ts'

const ids = [4, 5, 6].map((byte) => stationId(signerOf(byte).publicKey)).sort()

const statement: Statement = {
  network: 'test',
  batch: 7,
  size: 14,
  root: new Uint8Array(32).fill(1),
  previous: new Uint8Array(32).fill(2),
  firstMs: 1_763_700_000_000,
  lastMs: 1_763_700_060_000,
  stations: [
    { station: ids[0]!, first: 1, last: 3, count: 3 },
    { station: ids[1]!, first: 90, last: 120, count: 10 },
    { station: ids[2]!, first: 5, last: 5, count: 1 },
  ],
}

describe('a batch statement', () => {
  it('comes back as it was written, in the one form it has', () => {
    const bytes = encodeStatement(statement)
    expect(decodeStatement(bytes)).toEqual({ ok: true, statement })
    expect(
      encodeStatement({
        ...statement,
        root: Buffer.from(statement.root),
        previous: Buffer.from(statement.previous),
      }),
    ).toEqual(bytes)
  })

  it('changed at random is refused, or says something else; it never throws and has no second form', () => {
    const bytes = encodeStatement(statement)
    fc.assert(
      fc.property(mutation(bytes), (changed) => {
        const decoded = decodeStatement(changed)
        if (!decoded.ok) return
        expect(encodeStatement(decoded.statement)).toEqual(changed)
        if (!equalBytes(changed, bytes)) expect(decoded.statement).not.toEqual(statement)
      }),
      { seed, numRuns: 3000 },
    )
  })

  it('that disagrees with itself is refused with the reason', () => {
    const [one, two] = statement.stations
    const cases: readonly (readonly [Partial<Statement>, string])[] = [
      [{ network: 'a/b' }, 'the network id is out of form'],
      [{ batch: 0 }, 'batch and size are numbers from 1'],
      [{ size: 13 }, 'the stations’ counts do not add up to its size'],
      [{ lastMs: 1 }, 'the time span is none'],
      [{ root: new Uint8Array(31) }, 'root and previous have 32 bytes'],
      [{ stations: [two!, one!] }, 'stations ascend'],
      [{ stations: [one!, one!] }, 'stations ascend'],
      [{ stations: [{ ...one!, count: 4 }] }, 'a station’s counts disagree'],
      [{ stations: [{ ...one!, first: 0 }] }, 'a station’s counts disagree'],
      [{ stations: [{ ...one!, last: 0 }] }, 'a station’s counts disagree'],
      [{ stations: [{ ...one!, count: 0 }] }, 'a station’s counts disagree'],
    ]
    for (const [change, detail] of cases)
      expect(decodeStatement(encodeStatement({ ...statement, ...change }))).toEqual({
        ok: false,
        reason: 'malformed',
        detail: `batch statement: ${detail}`,
      })
    expect(() => encodeStatement({ ...statement, stations: [{ ...one!, station: 'x' }] })).toThrow(
      '32 hex digits',
    )
  })
})
