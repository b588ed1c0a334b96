/** Readings, keys and signers for tests; random ones through fast-check, so that a failure prints its seed. */
import fc from 'fast-check'
import type { Signer } from '#gateway/reading/cose.ts'
import { publicKeyOf, sign } from '#gateway/reading/ed25519.browser.ts'
import { quantities, scaledMax, scaledMin } from '#gateway/reading/quantity.ts'
import { type Absence, absences, type Reading, type Value } from '#gateway/reading/reading.ts'

/** One seed for every property here: a red run is red again. */
export const seed = 20261121

/** A signer whose secret is 32 times that byte. */
export const signerOf = (byte: number): Signer => {
  const secret = new Uint8Array(32).fill(byte)
  return { publicKey: publicKeyOf(secret), sign: (message) => sign(message, secret) }
}

const id = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/)

export const int32 = fc.oneof(
  fc.integer({ min: scaledMin, max: scaledMax }),
  fc.constantFrom(scaledMin, scaledMax, 0, -1, 1),
  fc.integer({ min: -50, max: 50 }),
)

const value = (quantity: number): fc.Arbitrary<Value> =>
  fc.oneof(
    { weight: 4, arbitrary: int32.map((scaled): Value => ({ quantity, scaled })) },
    {
      weight: 1,
      arbitrary: fc
        .constantFrom(...(Object.keys(absences) as Absence[]))
        .map((absent): Value => ({ quantity, scaled: null, absent })),
    },
  )

const codes = fc
  .uniqueArray(fc.constantFrom(...quantities.map(({ code }) => code)), { minLength: 1, maxLength: 6 })
  .map((list) => list.sort((a, b) => a - b))

/** One sensor's readings in a row: same quantities, any times within 24 days of `baseMs`. */
const series = (baseMs: number): fc.Arbitrary<Reading[]> =>
  fc.tuple(id, id, codes).chain(([sensor, model, list]) =>
    fc.array(
      fc
        .tuple(fc.integer({ min: 0, max: scaledMax }), ...list.map(value))
        .map(([offset, ...values]): Reading => ({ sensor, model, timeMs: baseMs + offset, values })),
      { minLength: 1, maxLength: 12 },
    ),
  )

/** Readings of one to four sensors, shuffled together. */
export const readingLists: fc.Arbitrary<Reading[]> = fc
  .integer({ min: 1_500_000_000_000, max: 2_000_000_000_000 })
  .chain((baseMs) => fc.array(series(baseMs), { minLength: 1, maxLength: 4 }))
  .chain((lists) => fc.shuffledSubarray(lists.flat(), { minLength: 1 }))

/** A small generator of its own, for noise that is the same in every run. */
export const noiseFrom = (start: number): (() => number) => {
  let state = start >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** A weather sensor every 30 s: slow drift, sensor noise, a clock that jitters by some milliseconds. */
export const weather = (count: number, startMs: number, sensor = 'bme280', from = 1): Reading[] => {
  const noise = noiseFrom(from)
  const gauss = (): number => noise() + noise() + noise() + noise() - 2
  return Array.from({ length: count }, (_, at) => ({
    sensor,
    model: 'bme280',
    timeMs: startMs + at * 30_000 + Math.round(gauss() * 8),
    values: [
      { quantity: 1, scaled: Math.round(2150 + 40 * Math.sin(at / 40) + gauss() * 6) },
      { quantity: 2, scaled: Math.round(4870 - 90 * Math.sin(at / 40) + gauss() * 12) },
      { quantity: 3, scaled: Math.round(101_325 + at / 3 + gauss() * 5) },
    ],
  }))
}

/** A random change of some bytes: flip, cut, insert, overwrite, swap. Sometimes it changes nothing. */
export const mutation = (bytes: Uint8Array): fc.Arbitrary<Uint8Array> => {
  const at = fc.nat({ max: bytes.length - 1 })
  const few = fc.uint8Array({ minLength: 1, maxLength: 9 })
  const splice = (start: number, remove: number, insert: Uint8Array): Uint8Array =>
    Uint8Array.from([...bytes.subarray(0, start), ...insert, ...bytes.subarray(start + remove)])
  return fc.oneof(
    fc.tuple(at, fc.nat({ max: 7 })).map(([start, bit]) => {
      const changed = bytes.slice()
      changed[start]! ^= 1 << bit
      return changed
    }),
    at.map((start) => bytes.slice(0, start)),
    fc.tuple(at, few).map(([start, insert]) => splice(start, 0, insert)),
    fc.tuple(at, few).map(([start, insert]) => splice(start, insert.length, insert)),
    fc
      .tuple(at, fc.integer({ min: 1, max: 40 }))
      .map(([start, remove]) => splice(start, remove, new Uint8Array())),
    fc
      .tuple(at, at, fc.integer({ min: 1, max: 40 }))
      .map(([start, from, length]) => splice(start, length, bytes.slice(from, from + length))),
  )
}
