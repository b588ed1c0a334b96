import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toHex } from '#gateway/reading/bytes.ts'
import type { Reading } from '#gateway/reading/reading.ts'
import { decodeSenmlReadings, fromSenml, toSenml } from '#gateway/reading/senml.ts'
import { decodeSenmlCbor, encodeSenmlCbor } from '#gateway/reading/senml-cbor.ts'
import { type ResolvedRecord, resolveSenml, type SenmlRecord } from '#gateway/reading/senml-record.ts'
import { haveVectors, vectorBytes, vectorJson, vectorsNote } from '#test/vectors.ts'
import { mutation, readingLists, seed, weather } from './samples.ts'

const station = '21fe31dfa154a261626bf854046fd227'
const startMs = 1_763_700_000_000
// When the working group resolved the examples whose times are relative.
const resolvedAtS = 1498780179

const resolved = (pack: unknown, nowS?: number): readonly ResolvedRecord[] => {
  const answer = resolveSenml(pack, nowS)
  return answer.ok ? answer.records : expect.fail(answer.detail)
}

const expectSame = (ours: readonly ResolvedRecord[], theirs: readonly ResolvedRecord[]): void => {
  expect(ours.map(({ t: _, ...rest }) => rest)).toEqual(theirs.map(({ t: _, ...rest }) => rest))
  for (const [at, record] of ours.entries()) expect(record.t).toBeCloseTo(theirs[at]!.t, 5)
}

describe.skipIf(!haveVectors)(`RFC 8428 examples${vectorsNote}`, () => {
  for (const name of ['ex1', 'ex2', 'ex3', 'ex4', 'ex5', 'ex6'])
    it(`${name} resolves as the working group resolved it`, () => {
      expectSame(
        resolved(vectorJson(`senml-rfc8428/${name}.json`), resolvedAtS),
        vectorJson<ResolvedRecord[]>(`senml-rfc8428/${name}.gen.resolved.json`),
      )
    })

  it('ex3 in CBOR says the same as ex3 in JSON', () => {
    const pack = decodeSenmlCbor(vectorBytes('senml-rfc8428/ex3.gen.cbor'))
    if (!pack.ok) return expect.fail(pack.detail)
    expect(pack.records).toEqual(vectorJson('senml-rfc8428/ex3.json'))
    expectSame(resolved(pack.records), vectorJson('senml-rfc8428/ex3.gen.resolved.json'))
  })

  it('ex3 is read as readings, a quantity that is not in the table is refused, and ex1 has a time that is relative', () => {
    const pack = vectorBytes('senml-rfc8428/ex3.gen.cbor')
    const read = decodeSenmlReadings(pack)
    const scaled = read.ok ? read.readings.flatMap(({ values }) => values.map((value) => value.scaled!)) : []
    expect(scaled.sort((a, b) => a - b)).toEqual([1200, 1300, 1400, 1500, 1600, 1700, 120_100])
    const unknown = Buffer.from(pack)
    unknown.write('woltage', unknown.indexOf('voltage'))
    expect(decodeSenmlReadings(new Uint8Array(unknown))).toEqual({
      ok: false,
      reason: 'bad-payload',
      detail: 'SenML record 1: no quantity is called "woltage"',
    })
    expect(resolveSenml(vectorJson('senml-rfc8428/ex1.json'))).toMatchObject({
      detail: 'SenML record 1: a time relative to now, which cannot be checked later',
    })
  })
})

describe('readings as SenML', () => {
  const back = (records: unknown): readonly Reading[] => {
    const answer = fromSenml(resolved(records))
    return answer.ok ? answer.readings : expect.fail(answer.detail)
  }

  it('are these records', () => {
    const readings: Reading[] = [
      {
        sensor: 'air',
        model: 'pms5003',
        timeMs: startMs + 250,
        values: [
          { quantity: 1, scaled: -2153 },
          { quantity: 5, scaled: null, absent: 'warming-up' },
        ],
      },
      { sensor: 'air', model: 'pms5003', timeMs: startMs + 30_250, values: [{ quantity: 5, scaled: 73 }] },
    ]
    expect(toSenml(station, readings)).toEqual([
      { bn: `${station}:`, bt: startMs / 1000, n: 'air:model', vs: 'pms5003', t: 0.25 },
      { n: 'air:temperature', u: 'Cel', v: -21.53, t: 0.25 },
      { n: 'air:pm2_5:absent', vs: 'warming-up', t: 0.25 },
      { n: 'air:pm2_5', u: 'ug/m3', v: 7.3, t: 30.25 },
    ])
    expect(back(toSenml(station, readings))).toEqual(readings)
  })

  it('come back the same, through JSON and through CBOR', () => {
    let inCbor = 0
    fc.assert(
      fc.property(readingLists, (readings) => {
        const records = toSenml(station, readings)
        expect(back(JSON.parse(JSON.stringify(records)))).toEqual(readings)
        const bytes = encodeSenmlCbor(records)
        if (bytes.length > 8192) return
        inCbor++
        expect(decodeSenmlReadings(bytes)).toEqual({ ok: true, readings })
        const again = decodeSenmlCbor(bytes)
        expect(again.ok && toHex(encodeSenmlCbor(again.records))).toBe(toHex(bytes))
      }),
      { seed, numRuns: 800 },
    )
    expect(inCbor).toBeGreaterThan(400)
  })

  it('keep two frames of one sensor at one moment, and a changed model, apart', () => {
    const one = weather(1, startMs)[0]!
    const readings: Reading[] = [
      one,
      { ...one, values: one.values.slice(0, 1) },
      { ...one, values: one.values.slice(1) },
      { ...one, model: 'other', timeMs: startMs + 9 },
      { ...one, values: one.values.slice(2) },
    ]
    expect(back(toSenml(station, readings))).toEqual(readings)
  })

  it('are refused by SenML itself before 1978, when it takes times as relative', () => {
    const early = [{ ...weather(1, startMs)[0]!, timeMs: 60_000 }]
    expect(() => toSenml(station, early)).toThrow('before 1978')
  })
})

describe('SenML of third parties', () => {
  const t = startMs / 1000

  const readings = (...records: SenmlRecord[]): readonly Reading[] | string => {
    const answer = decodeSenmlReadings(encodeSenmlCbor(records))
    return answer.ok ? answer.readings : answer.detail
  }

  it('is read in any order of records, with base values and 32-bit floats', () => {
    const value = Math.fround(21.53)
    expect(
      readings(
        { bn: 'urn:dev:mac:0024befffe804ff1/bme/', bt: t, bu: 'Cel', bver: 5, n: 'temperature', v: value },
        { n: 'temperature', v: 21, t: 1 },
        { n: 'humidity', u: '%RH', v: 48.7 },
        { n: 'humidity', u: '%RH', v: 48.9, t: 1 },
      ),
    ).toEqual([
      {
        sensor: 'bme',
        model: 'senml',
        timeMs: startMs,
        values: [
          { quantity: 1, scaled: 2153 },
          { quantity: 2, scaled: 4870 },
        ],
      },
      {
        sensor: 'bme',
        model: 'senml',
        timeMs: startMs + 1000,
        values: [
          { quantity: 1, scaled: 2100 },
          { quantity: 2, scaled: 4890 },
        ],
      },
    ])
    expect(readings({ n: 'x:s:temperature', u: 'Cel', bv: 20, v: 1.5, t })).toMatchObject([
      { values: [{ scaled: 2150 }] },
    ])
  })

  it('is converted from units that differ by an exact factor', () => {
    const cases: readonly (readonly [quantity: string, unit: string, value: number, scaled: number])[] = [
      ['pressure', 'Pa', 101_325, 101_325],
      ['temperature', 'K', 294.68, 2153],
      ['battery_voltage', 'mV', 3704, 3704],
      ['rain', 'cm', 0.02, 20],
      ['pm2_5', 'kg/m3', 7.3e-9, 73],
      ['humidity', '/', 0.487, 4870],
    ]
    for (const [name, u, v, scaled] of cases)
      expect(readings({ n: `s:x:${name}`, u, v, t }), name).toMatchObject([{ values: [{ scaled }] }])
  })

  it('is refused with the record and the reason', () => {
    const n = 's:x:temperature'
    const cases: readonly (readonly [SenmlRecord, string])[] = [
      [{ n, u: 'Far', v: 70, t }, 'temperature is in Cel, not in "Far"'],
      [{ n, v: 70, t }, 'temperature is in Cel, not in ""'],
      [{ n: 's:x:wind_speed', u: 'km/h', v: 70, t }, 'wind_speed is in m/s, not in "km/h"'],
      [{ n: 's:x:mood', u: '/', v: 1, t }, 'no quantity is called "mood"'],
      [{ n: 'temperature', u: 'Cel', v: 1, t }, 'a name needs a sensor before its quantity'],
      [{ n: ':temperature', u: 'Cel', v: 1, t }, 'a name out of form: ":temperature"'],
      [{ n: 's:x y:temperature', u: 'Cel', v: 1, t }, 'a name out of form: "s:x y:temperature"'],
      [{ n, u: 'Cel', v: 1, t: 5 }, 'a time relative to now, which cannot be checked later'],
      [{ n, u: 'Cel', v: 1, t: 1e300 }, 'a time beyond the year 9999'],
      [{ n, u: 'Cel', v: 1, vs: 'x', t }, 'more than one value'],
      [{ n, u: 'Cel', t }, 'no value'],
      [{ n, u: 'Cel', vs: 'warm', t }, 'temperature has no number'],
      [{ n, u: 'Cel', s: 3, t }, 'temperature has no number'],
      [{ n, u: 'Cel', v: 1, t, bver: 11 }, 'version 11, and 10 is understood'],
      [{ n: `${n}:absent`, vs: 'tired', t }, 'no known reason for an absence'],
      [{ n: 's:x:model', v: 1, t }, 'a model is text in the form of an id'],
    ]
    for (const [record, detail] of cases) expect(readings(record)).toBe(`SenML record 1: ${detail}`)
    expect(readings()).toBe('a SenML pack without values')
    expect(readings({ bn: 'a:' })).toBe('a SenML pack without values')
    expect(resolveSenml([{ n, v: 1, t, urgent_: 1 }])).toMatchObject({
      detail: 'SenML record 1: the field urgent_ must be understood and is not',
    })
    expect(resolveSenml([{ n, v: '1', t }])).toMatchObject({ detail: 'SenML record 1: v is of another kind' })
    expect(resolveSenml({})).toMatchObject({ detail: 'a SenML pack is an array' })
    expect(resolveSenml([[]])).toMatchObject({ detail: 'SenML record 1: a record is a map' })
    expect(resolveSenml([{ n, u: 'Cel', v: 1, t, colour: 'red' }])).toMatchObject({ ok: true })
  })

  it('in CBOR may have its labels in any order but none twice', () => {
    const of = (hex: string): unknown => {
      const answer = decodeSenmlCbor(Uint8Array.from(Buffer.from(hex, 'hex')))
      return answer.ok ? answer.records : answer.detail
    }
    expect(of('81a2020100616e')).toEqual([{ n: 'n', v: 1 }])
    expect(of('81a200616e0201')).toEqual([{ n: 'n', v: 1 }])
    expect(of('81a302010061610202')).toBe('a map key twice at byte 7')
    expect(of('81a1617601')).toBe('the SenML label v as text')
    expect(of('81a1182a01')).toEqual([{}])
    expect(of('81a102f97e00')).toBe('a float that is no number at byte 3')
    expect(of('a0')).toBe('a SenML pack is an array')
    const wide = `81b821${Array.from({ length: 33 }, (_, at) => `18${(64 + at).toString(16)}00`).join('')}`
    expect(of(wide)).toBe('a map of more than 32 pairs at byte 1')
  })

  it('changed at random is an answer, never an exception', () => {
    const bytes = encodeSenmlCbor(toSenml(station, weather(4, startMs)))
    fc.assert(
      fc.property(mutation(bytes), (changed) => {
        const answer = decodeSenmlReadings(changed)
        if (!answer.ok) expect(answer.reason).toBe('bad-payload')
      }),
      { seed, numRuns: 3000 },
    )
  })
})
