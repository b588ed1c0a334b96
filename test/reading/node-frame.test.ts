import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toHex } from '#gateway/reading/bytes.ts'
import { decodeSign1, headerLabels, toBeSigned } from '#gateway/reading/cose.ts'
import * as portable from '#gateway/reading/ed25519.browser.ts'
import * as native from '#gateway/reading/ed25519.node.ts'
import { keyId } from '#gateway/reading/key.ts'
import {
  claims,
  decodeNodeFrame,
  decodeNodeMessage,
  expandNodeFrame,
  nodeContentType,
  nodeFrameType,
  signNodeFrame,
} from '#gateway/reading/node-frame.ts'
import {
  decodeNodePayload,
  encodeNodePayload,
  leb128,
  maxAgeS,
  maxNodeReadings,
  type NodeReading,
} from '#gateway/reading/node-payload.ts'
import { quantities, quantityCoded } from '#gateway/reading/quantity.ts'
import { type Absence, absences, type Value } from '#gateway/reading/reading.ts'
import { world } from '#sim/world.ts'
import { int32, mutation, seed, signerOf, weather } from './samples.ts'

const network = 'test'
const signer = signerOf(41)
const berlin = { latitude: 52.52, longitude: 13.405, altitudeM: 40 }

/** As a node on a battery would measure: one reading each `stepS`, the newest just now. */
const measured = (count: number, stepS = 60, from = 1): NodeReading[] =>
  weather(count, 0, 'env', from).map(({ values }, at) => ({ ageS: (count - 1 - at) * stepS, values }))

const anyValue = (quantity: number): fc.Arbitrary<Value> =>
  fc.oneof(
    { weight: 3, arbitrary: int32.map((scaled): Value => ({ quantity, scaled })) },
    {
      weight: 1,
      arbitrary: fc
        .constantFrom(...(Object.keys(absences) as Absence[]))
        .map((absent): Value => ({ quantity, scaled: null, absent })),
    },
  )

const anyReadings: fc.Arbitrary<NodeReading[]> = fc
  .uniqueArray(fc.constantFrom(...quantities.map(({ code }) => code)), { minLength: 1, maxLength: 4 })
  .map((codes) => codes.sort((a, b) => a - b))
  .chain((codes) =>
    fc.array(
      fc
        .tuple(fc.nat({ max: maxAgeS }), ...codes.map(anyValue))
        .map(([ageS, ...values]): NodeReading => ({ ageS, values })),
      { minLength: 1, maxLength: 12 },
    ),
  )
  .map((readings) => readings.sort((a, b) => b.ageS - a.ageS))

const readingsIn = (payload: Uint8Array): readonly NodeReading[] => {
  const decoded = decodeNodePayload(payload)
  return decoded.ok ? decoded.readings : expect.fail(decoded.detail)
}

describe('the payload of a node', () => {
  it('gives back any readings: absences, extremes, equal ages', () => {
    fc.assert(
      fc.property(anyReadings, (readings) => {
        expect(readingsIn(encodeNodePayload(readings))).toEqual(readings)
      }),
      { seed },
    )
  })

  it('has one encoding: what can be read is what would have been written, whatever was changed', () => {
    fc.assert(
      fc.property(
        anyReadings.map(encodeNodePayload).chain((bytes) => mutation(bytes)),
        (bytes) => {
          const decoded = decodeNodePayload(bytes)
          if (decoded.ok) expect(toHex(encodeNodePayload(decoded.readings))).toBe(toHex(bytes))
          else expect(decoded.reason).toBe('bad-payload')
        },
      ),
      { seed, numRuns: 5000 },
    )
  })

  it('is refused where it is short, long, empty or claims more than there is', () => {
    const whole = encodeNodePayload(measured(5))
    for (let end = 0; end < whole.length; end++)
      expect(decodeNodePayload(whole.subarray(0, end))).toMatchObject({ ok: false })
    const refusals: [bytes: number[], detail: RegExp][] = [
      [[...whole, 0], /after the end/],
      [[0x00, 0x01, 0x01], /count of readings/],
      [[maxNodeReadings + 1, 0x01, 0x01], /count of readings/],
      [[0x81, 0x00, 0x01, 0x01], /count of readings/],
      [[0x01, 0x00], /count of quantities/],
      [[0x01, 0x11], /count of quantities/],
      [[0x01, 0x02, 0x01, 0x00], /a quantity/],
      [[0x01, 0x01, 0xff, 0x7f], /no quantity has code/],
      [[0x01, 0x01, 0x01, 0x00, 0x01], /ages/], // age -1
      [[0x02, 0x01, 0x01, 0x00, 0x00, 0x02], /ages/], // the second is older than the first
      [[0x01, 0x01, 0x01, 0x40, 0x01, 0x00, 0x00, 0x00], /age that is absent/],
      [[0x01, 0x01, 0x01, 0x01, 0x00], /width without differences/],
      [[0x01, 0x01, 0x01, 0x80, 0x00], /bit 7/],
      [[0x01, 0x01, 0x01, 0x00, 0x00, 0x40, 0x01, 0x00, 0x00, 0x06], /without a reason/],
      [[0x02, 0x01, 0x01, 0x00, 0, 0, 0x40, 0x02, 0, 0, 0, 0, 0, 0], /written as two/],
    ]
    for (const [bytes, detail] of refusals) {
      const decoded = decodeNodePayload(Uint8Array.from(bytes))
      expect(decoded.ok ? 'read' : decoded.detail).toMatch(detail)
    }
  })

  it('is not made of readings that no frame carries', () => {
    const [one] = measured(1)
    const wrong: [readings: readonly NodeReading[], what: RegExp][] = [
      [[], /not 0/],
      [measured(maxNodeReadings + 1), /not 65/],
      [[{ ageS: 0.5, values: one!.values }], /whole seconds/],
      [[{ ageS: maxAgeS + 1, values: one!.values }], /whole seconds/],
      [[{ ageS: 0, values: [] }], /quantities/],
      [
        [
          { ...one!, ageS: 1 },
          { ...one!, ageS: 2 },
        ],
        /old to new/,
      ],
      [[one!, { ageS: 0, values: one!.values.slice(1) }], /same quantities/],
    ]
    for (const [readings, what] of wrong) expect(() => encodeNodePayload(readings)).toThrow(what)
  })
})

describe('a frame on the air', () => {
  // EU868 data rate 3 (SF9), US915 data rate 2 (SF8): what fits there fits all faster ones.
  const [inEurope, inAmerica] = [115, 125]
  const plausible = [1, 2, 3].map((code) => {
    const { decimals, min, max } = quantityCoded(code)!
    return { code, least: Math.round(min * 10 ** decimals), most: Math.round(max * 10 ** decimals) }
  })

  // Signing takes its time, and adds as many bytes whatever is signed: 5 before the number and 64 behind the payload.
  const bytesOnAir = (readings: readonly NodeReading[], seq: number): number =>
    5 + leb128(seq).length + encodeNodePayload(readings).length + 64

  it('has the bytes of its payload, of its number and 69', () => {
    for (const [count, seq] of [
      [1, 1],
      [5, 100_000],
      [10, 2 ** 32 - 1],
    ] as const)
      expect(signNodeFrame(measured(count), seq, network, signer)).toHaveLength(
        bytesOnAir(measured(count), seq),
      )
  })

  /** Bytes of frames with so many readings, least and most of 200 drawn; the number takes three bytes. */
  const sizes = (make: (count: number, draw: number) => readonly NodeReading[], seq = 100_000) =>
    [1, 2, 5, 8, 10, 12, 15].map((count) => {
      const all = Array.from({ length: 200 }, (_, draw) => bytesOnAir(make(count, draw), seq))
      return `${Math.min(...all)}-${Math.max(...all)}`
    })
  const noisy =
    (stepS: number) =>
    (count: number, draw: number): readonly NodeReading[] =>
      measured(count, stepS, draw + 1)
  const smooth =
    (stepS: number) =>
    (count: number, draw: number): readonly NodeReading[] =>
      Array.from({ length: count }, (_, at) => {
        const timeMs = Date.UTC(2026, 0, 1) + draw * 101_088_000 + at * stepS * 1000
        const { temperature, humidity, pressure } = world(draw + 1).at(berlin, timeMs)
        return {
          ageS: (count - 1 - at) * stepS,
          values: [temperature, humidity, pressure].map((value, column) => ({
            quantity: column + 1,
            scaled: Math.round(value * 100),
          })),
        }
      })

  // The table of nodes.cddl.
  it.each<[what: string, make: ReturnType<typeof noisy>, bytes: string[]]>([
    [
      'the air alone, each minute',
      smooth(60),
      ['88-90', '92-94', '94-97', '94-98', '96-101', '97-102', '97-106'],
    ],
    [
      'a noisy sensor, each minute',
      noisy(60),
      ['89-89', '93-93', '99-103', '105-110', '109-113', '112-117', '117-123'],
    ],
    [
      'a noisy sensor, each five minutes',
      noisy(300),
      ['89-89', '95-95', '100-104', '106-111', '110-114', '113-118', '118-124'],
    ],
    [
      'the air alone, each hour',
      smooth(3600),
      ['88-90', '94-98', '105-111', '116-122', '121-130', '127-137', '137-147'],
    ],
  ])('has as many bytes as its description says: %s', (_what, make, bytes) => {
    expect(sizes(make)).toEqual(bytes)
  })

  it('carries ten readings each five minutes in Europe and fifteen in America, five and eight each hour', () => {
    // The last number of four bytes: a frame each minute for 510 years.
    const seq = 2 ** 28 - 1
    const most = (make: ReturnType<typeof noisy>) =>
      sizes(make, seq).map((span) => Number(span.split('-')[1]))
    const [often, hourly] = [most(noisy(300)), most(smooth(3600))]
    expect(often[4]).toBeLessThanOrEqual(inEurope)
    expect(often[6]).toBeLessThanOrEqual(inAmerica)
    expect(hourly[2]).toBeLessThanOrEqual(inEurope)
    expect(hourly[3]).toBeLessThanOrEqual(inAmerica)
  })

  it('carries two readings in Europe and three in America, whatever was measured or failed, whenever', () => {
    const anything = (count: number) =>
      fc
        .array(
          fc.tuple(
            fc.oneof(fc.nat({ max: maxAgeS }), fc.constantFrom(0, maxAgeS)),
            ...plausible.map(({ code, least, most }) =>
              fc.oneof(
                fc.constantFrom(least, most).map((scaled): Value => ({ quantity: code, scaled })),
                fc.integer({ min: least, max: most }).map((scaled): Value => ({ quantity: code, scaled })),
                fc
                  .constantFrom(...(Object.keys(absences) as Absence[]))
                  .map((absent): Value => ({ quantity: code, scaled: null, absent })),
              ),
            ),
          ),
          { minLength: count, maxLength: count },
        )
        .map((rows) =>
          rows.map(([ageS, ...values]): NodeReading => ({ ageS, values })).sort((a, b) => b.ageS - a.ageS),
        )
    for (const [count, limit] of [
      [2, inEurope],
      [3, inAmerica],
    ] as const)
      fc.assert(
        fc.property(anything(count), (readings) => {
          expect(bytesOnAir(readings, 2 ** 32 - 1)).toBeLessThanOrEqual(limit)
        }),
        { seed, numRuns: 5_000 },
      )
    // The largest that there are: of two, where one value of each failed; of three, from one end to the other and back.
    const of = (ages: readonly number[], value: (at: number, column: (typeof plausible)[number]) => Value) =>
      ages.map((ageS, at): NodeReading => ({ ageS, values: plausible.map((column) => value(at, column)) }))
    const two = of([maxAgeS, 0], (at, { code, most }) =>
      at === 0 ? { quantity: code, scaled: null, absent: 'device-error' } : { quantity: code, scaled: most },
    )
    const three = of([maxAgeS, 0, 0], (at, { code, least, most }) => ({
      quantity: code,
      scaled: at === 1 ? least : most,
    }))
    expect([two, three].map((readings) => bytesOnAir(readings, 2 ** 32 - 1))).toEqual([110, 125])
  })

  it('becomes a COSE_Sign1 that every verifier of COSE accepts, with the header of a node', () => {
    const frame = signNodeFrame(measured(5), 77, network, signer)
    const decoded = decodeNodeFrame(frame)
    const parts = decoded.ok ? decoded.frame : expect.fail(decoded.detail)
    expect(claims(parts, signer.publicKey)).toBe(true)
    const sign1 = expandNodeFrame(parts, signer.publicKey, network) ?? expect.fail('not verified')
    const cose = decodeSign1(sign1)
    const { header, protectedBytes, payload, signature } = cose.ok ? cose.sign1 : expect.fail(cose.detail)
    expect([...header]).toEqual([
      [headerLabels.alg, -19],
      [headerLabels.contentType, nodeContentType],
      [headerLabels.kid, keyId(signer.publicKey)],
      [-70001, 77],
    ])
    const message = toBeSigned(protectedBytes, payload, network)
    for (const { verify } of [portable, native])
      expect(verify(signature, message, signer.publicKey)).toBe(true)
    expect(readingsIn(payload)).toEqual(measured(5))
    // Everything that is not in the key or the network was on the air, and nothing else was.
    expect(frame).toEqual(
      Uint8Array.from([
        nodeFrameType,
        ...keyId(signer.publicKey).subarray(0, 4),
        77,
        ...payload,
        ...signature,
      ]),
    )
    const opened = decodeNodeMessage(sign1)
    expect(opened).toMatchObject({ ok: true, message: { seq: 77, readings: measured(5) } })
    console.log(`five readings: ${frame.length} bytes on the air, ${sign1.length} as COSE_Sign1`)
  })

  it('with any bit changed, for another network or by another key, is no frame of that node', () => {
    const frame = signNodeFrame(measured(5), 300, network, signer)
    for (let bit = 0; bit < frame.length * 8; bit++) {
      const changed = frame.slice()
      changed[bit >> 3]! ^= 1 << (bit & 7)
      const decoded = decodeNodeFrame(changed)
      if (!decoded.ok || !claims(decoded.frame, signer.publicKey)) continue
      expect(expandNodeFrame(decoded.frame, signer.publicKey, network), `bit ${bit}`).toBeUndefined()
    }
    const decoded = decodeNodeFrame(frame)
    const parts = decoded.ok ? decoded.frame : expect.fail(decoded.detail)
    expect(expandNodeFrame(parts, signer.publicKey, 'other')).toBeUndefined()
    expect(expandNodeFrame(parts, signerOf(42).publicKey, network)).toBeUndefined()
  })

  it('is refused where it is short, long or without a number', () => {
    const frame = signNodeFrame(measured(1), 1, network, signer)
    const bad = (bytes: Uint8Array): string => {
      const decoded = decodeNodeFrame(bytes)
      return decoded.ok ? 'read' : decoded.detail
    }
    expect(bad(new Uint8Array())).toMatch(/first byte/)
    expect(bad(frame.subarray(0, 70))).toMatch(/too few/)
    expect(bad(Uint8Array.from([...frame, ...new Uint8Array(200)]))).toMatch(/at most 242/)
    expect(bad(frame.with(5, 0))).toMatch(/without a sequence number/)
    expect(bad(Uint8Array.from([...frame.subarray(0, 5), 0x81, 0x00, ...frame.subarray(6)]))).toMatch(
      /without a sequence number/,
    )
    for (const seq of [0, -1, 1.5, 2 ** 32])
      expect(() => signNodeFrame(measured(1), seq, network, signer)).toThrow(RangeError)
  })

  it('as COSE has one form too: any other header, or bytes behind, are refused', () => {
    const decoded = decodeNodeFrame(signNodeFrame(measured(2), 9, network, signer))
    const parts = decoded.ok ? decoded.frame : expect.fail(decoded.detail)
    const sign1 = expandNodeFrame(parts, signer.publicKey, network)!
    fc.assert(
      fc.property(mutation(sign1), (bytes) => {
        const opened = decodeNodeMessage(bytes)
        if (!opened.ok) return
        const { kid, seq, sign1: inner } = opened.message
        const again = expandNodeFrame(
          { prefix: kid.subarray(0, 4), seq, payload: inner.payload, signature: inner.signature },
          signer.publicKey,
          network,
        )
        // Whatever still verifies is the message itself.
        if (again !== undefined && toHex(kid) === toHex(keyId(signer.publicKey)))
          expect(toHex(again)).toBe(toHex(bytes))
      }),
      { seed, numRuns: 2000 },
    )
  })
})
