import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createPlaces, type State, states } from '#gateway/outbox/places.ts'

const hashOf = (seq: number, index: number): Uint8Array => new Uint8Array(32).fill((seq * 7 + index) % 251)

const seqs = fc.integer({ min: 1, max: 5000 })
const state = fc.constantFrom(...Object.values(states))

const steps = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ what: fc.constant('fill' as const), seq: seqs, count: seqs }) },
    { weight: 2, arbitrary: fc.record({ what: fc.constant('thin' as const), seq: seqs, count: seqs }) },
    { weight: 2, arbitrary: fc.record({ what: fc.constant('clear' as const), seq: seqs, count: seqs }) },
    { weight: 3, arbitrary: fc.record({ what: fc.constant('put' as const), seq: seqs, index: seqs }) },
    { weight: 3, arbitrary: fc.record({ what: fc.constant('drop' as const), seq: seqs }) },
    { weight: 3, arbitrary: fc.record({ what: fc.constant('state' as const), seq: seqs, state }) },
    { weight: 3, arbitrary: fc.record({ what: fc.constant('index' as const), seq: seqs, index: seqs }) },
  ),
  { maxLength: 30 },
)

type Held = { index: number; state: State; hash: Uint8Array }

describe('places of envelopes', () => {
  test('a table and a plain map answer the same after any changes', () => {
    fc.assert(
      fc.property(steps, seqs, state, (all, probe, wanted) => {
        const places = createPlaces()
        const map = new Map<number, Held>()
        const put = (seq: number, index: number): void => {
          const hash = hashOf(seq, index)
          places.put(seq, { index, hash })
          map.set(seq, { index, hash, state: map.get(seq)?.state ?? states.waiting })
        }
        const drop = (seq: number): void => {
          expect(places.drop(seq)).toBe(map.delete(seq))
        }
        for (const step of all) {
          if (step.what === 'fill')
            for (let at = 0; at < step.count; at++) put(step.seq + at, 10_000 + step.seq + at)
          else if (step.what === 'thin') for (let at = 0; at < step.count; at += 2) drop(step.seq + at)
          else if (step.what === 'clear') for (let at = 0; at < step.count; at++) drop(step.seq + at)
          else if (step.what === 'put') put(step.seq, step.index)
          else if (step.what === 'drop') drop(step.seq)
          else if (step.what === 'state') {
            places.setState(step.seq, step.state)
            const held = map.get(step.seq)
            if (held !== undefined) held.state = step.state
          } else {
            places.setIndex(step.seq, step.index)
            const held = map.get(step.seq)
            if (held !== undefined) held.index = step.index
          }
        }
        const sorted = [...map.keys()].sort((a, b) => a - b)
        expect(places.size).toBe(map.size)
        const listed: number[] = []
        for (let seq = places.after(0); seq !== undefined; seq = places.after(seq)) listed.push(seq)
        expect(listed).toEqual(sorted)
        for (const [seq, { index, hash, state: held }] of map) {
          expect(places.get(seq)).toEqual({ index, hash })
          expect(places.stateOf(seq)).toBe(held)
        }
        const indexes = [...map.values()].map(({ index }) => index)
        expect(places.leastIndex).toBe(
          indexes.length === 0 ? undefined : indexes.reduce((a, b) => Math.min(a, b)),
        )
        expect(places.byIndex().map((seq) => map.get(seq)!.index)).toEqual(indexes.sort((a, b) => b - a))
        expect(places.ranked(probe)).toBe(sorted[probe])
        expect(places.after(probe, wanted)).toBe(
          sorted.find((seq) => seq > probe && map.get(seq)!.state === wanted),
        )
        expect(places.get(20_000)).toBeUndefined()
      }),
      { numRuns: 60 },
    )
  })

  test('a week without a hub takes less than eight megabytes, thinned for long less than twice as much', () => {
    const places = createPlaces()
    const hash = hashOf(1, 1)
    for (let seq = 1; seq <= 120_960; seq++) places.put(seq, { index: seq, hash })
    expect(places.bytes).toBeLessThan(8e6)
    // Half of the older half gone, a year long: what is left must not lie in a thousand half-empty blocks.
    for (let year = 0; year < 20; year++) {
      const end = places.ranked(places.size >> 1)!
      for (let seq = places.after(0); seq !== undefined && seq < end; seq = places.after(seq)) {
        places.drop(seq)
        seq = places.after(seq)!
      }
      const newest = places.ranked(places.size - 1)!
      for (let seq = newest + 1; places.size < 120_960; seq++) places.put(seq, { index: seq, hash })
    }
    expect(places.bytes).toBeLessThan(16e6)
  })
})
