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
  maxAgeS,
  maxNodeReadings,
  type NodeReading,
} from '#gateway/reading/node-payload.ts'
import { quantities } from '#gateway/reading/quantity.ts'
import { type Absence, absences, type Value } from '#gateway/reading/reading.ts'
import { int32, mutation, seed, signerOf, weather } from './samples.ts'

const network = 'test'
const signer = signerOf(41)

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
  it('carries ten readings of three quantities within 115 bytes, twelve within 125, and at their wildest two and three', () => {
    const sizes = Object.fromEntries(
      [5, 8, 9, 10, 11, 12].map((count) => {
        const all = Array.from(
          { length: 200 },
          (_, from) => signNodeFrame(measured(count, 300, from + 1), 100_000, network, signer).length,
        )
        return [count, { least: Math.min(...all), most: Math.max(...all) }]
      }),
    )
    console.log(`bytes of a signed frame by readings, of 200 drawn: ${JSON.stringify(sizes)}`)
    expect(sizes[5]!.most).toBeLessThanOrEqual(105)
    expect(sizes[10]!.most).toBeLessThanOrEqual(115)
    expect(sizes[12]!.most).toBeLessThanOrEqual(125)
    // From one end of each plausible range to the other and back, after years of frames: nothing is worse.
    const wild = [0, 1, 2, 3, 4].map((at) => ({
      ageS: maxAgeS - at * 100_000,
      values: [
        { quantity: 1, scaled: at % 2 ? 8500 : -9000 },
        { quantity: 2, scaled: at % 2 ? 10_000 : 0 },
        { quantity: 3, scaled: at % 2 ? 110_000 : 30_000 },
      ],
    }))
    const wildBytes = [1, 2, 3, 4, 5].map(
      (count) => signNodeFrame(wild.slice(0, count), 2 ** 32 - 1, network, signer).length,
    )
    console.log(`bytes of 1 to 5 of the wildest readings: ${wildBytes.join(' ')}`)
    expect(wildBytes[1]).toBeLessThanOrEqual(115)
    expect(wildBytes[2]).toBeLessThanOrEqual(125)
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
