import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ledger, rules } from '#gateway/quality/all.ts'
import { shareNeededBy } from '#gateway/quality/availability.ts'
import { constancyExempt, constancyRows } from '#gateway/quality/constancy.ts'
import { intervalSlots, trackedIntervalMs, trackInterval } from '#gateway/quality/interval.ts'
import {
  type KeptState,
  newerVersion,
  type Rule,
  rulesVersion,
  type Score,
} from '#gateway/quality/quality.ts'
import { makerLimits } from '#gateway/quality/range.ts'
import { createScorer } from '#gateway/quality/scorer.ts'
import { stepLimits } from '#gateway/quality/step.ts'
import { unscored } from '#gateway/quality/unscored.ts'
import { type QuantityName, quantities, quantity } from '#gateway/reading/quantity.ts'
import { type Absence, absences, type Measurement, type Reading, toValues } from '#gateway/reading/reading.ts'

const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour
const start = Date.UTC(2026, 10, 21)
const station = '00112233445566778899aabbccddeeff'

type Numbers = Partial<Record<QuantityName, number | Absence>>

const reading = (timeMs: number, numbers: Numbers, sensor = 'weather', model = 'text-lines'): Reading => ({
  sensor,
  model,
  timeMs,
  values: toValues(
    Object.entries(numbers).map(
      ([name, value]): Measurement =>
        typeof value === 'number'
          ? { quantity: name as QuantityName, value }
          : { quantity: name as QuantityName, value: null, absent: value },
    ),
  ),
})

const newScorer = (states: Iterable<KeptState> = []) => createScorer({ rules, states })

/** Scores of readings `everyMs` apart, the first at `start`. */
const scores = (everyMs: number, numbers: readonly Numbers[], sensor?: string, model?: string): Score[] => {
  const scorer = newScorer()
  return numbers.map((each, n) => scorer.score(station, reading(start + n * everyMs, each, sensor, model)))
}

const last = <T>(list: readonly T[]): T => list.at(-1)!

describe('the rules', () => {
  test('every rule has a name, a source, codes of capitals, and a version from the ledger', () => {
    const versions = ledger.map(([version]) => version)
    for (const rule of rules) {
      expect(rule.source, rule.name).not.toBe('')
      expect(versions).toContain(rule.version)
      expect(rule.codes.length).toBeGreaterThan(0)
      for (const code of rule.codes) expect(code).toMatch(/^[A-Z_]+$/)
    }
    expect(new Set(rules.map(({ name }) => name)).size).toBe(rules.length)
  })

  test('the ledger rises, and its last version is that of the rules', () => {
    const versions = ledger.map(([version]) => version)
    versions.reduce((before, version) => {
      expect(newerVersion(before, version)).toBe(version)
      expect(version).not.toBe(before)
      return version
    })
    expect(rulesVersion(rules)).toBe(last(versions))
    expect(newerVersion('2026.10', '2026.9')).toBe('2026.10')
    expect(newerVersion('2026.10', '2027.1')).toBe('2027.1')
  })

  test('every quantity is unscored, or has constancy limits, or a reason to have none; exactly one of these', () => {
    const limited = new Set<string>(constancyRows.map((row) => row.quantity))
    for (const { name } of quantities) {
      const places = [unscored.has(name), limited.has(name), constancyExempt.has(name)]
      expect(places.filter(Boolean).length, name).toBe(1)
    }
  })

  test('maker limits are narrower than the quantity, never wider', () => {
    for (const [model, name, min, max] of makerLimits) {
      const row = quantity(name)
      expect(min, `${model} ${name}`).toBeGreaterThanOrEqual(row.min)
      expect(max, `${model} ${name}`).toBeLessThanOrEqual(row.max)
    }
  })
})

describe('range', () => {
  const scored = quantities.filter(({ name }) => !unscored.has(name))
  test.each(scored.map(({ name }) => name as QuantityName))(
    '%s is fine at its bounds and out of bounds one step beyond',
    (name) => {
      const { min, max, decimals } = quantity(name)
      const least = 10 ** -decimals
      for (const fine of [min, max]) {
        expect(scores(minute, [{ [name]: fine }])).toEqual([
          { score: 1, flags: [], rules: rulesVersion(rules) },
        ])
      }
      for (const wrong of [min - least, max + least]) {
        const [answer] = scores(minute, [{ [name]: wrong }])
        expect(answer).toMatchObject({ score: 0, flags: [`${name}:OBC`] })
      }
    },
  )

  test.each(makerLimits)("%s %s keeps to its maker's limits %d to %d", (model, name, min, max) => {
    const least = 10 ** -quantity(name).decimals
    expect(scores(minute, [{ [name]: min }], 's', model)[0]!.flags).toEqual([])
    expect(scores(minute, [{ [name]: max }], 's', model)[0]!.flags).toEqual([])
    expect(scores(minute, [{ [name]: max + least }], 's', model)[0]!.flags).toEqual([`${name}:OBC`])
    expect(scores(minute, [{ [name]: min - least }], 's', model)[0]!.flags).toEqual([`${name}:OBC`])
  })

  test('a value out of bounds enters no history: what follows it is compared with what came before', () => {
    const answers = scores(
      minute,
      [20, 20.1, 20.2, 300, 20.3].map((temperature) => ({ temperature })),
    )
    expect(answers.map(({ flags }) => flags)).toEqual([[], [], [], ['temperature:OBC'], []])
  })

  test('what says something about the device only is not scored, whatever it says', () => {
    const answers = scores(minute, [
      { rssi: 51, snr: 101, battery: 101, temperature: 20 },
      { satellites: 200 },
    ])
    for (const answer of answers) expect(answer).toMatchObject({ score: 1, flags: [] })
  })
})

describe('absence', () => {
  test.each([
    ['warming-up', 'WARMING_UP'],
    ['out-of-range', 'OUT_OF_RANGE'],
    ['device-error', 'DEVICE_ERROR'],
    ['no-data', 'NO_VALUE'],
    ['not-a-number', 'NO_VALUE'],
    ['unspecified', 'NO_VALUE'],
  ] as const)('%s shows as %s and counts nothing', (absent, code) => {
    const [answer] = scores(minute, [{ temperature: absent, humidity: 50, pressure: 1013 }])
    expect(answer).toMatchObject({ score: 0.667, flags: [`temperature:${code}`] })
  })

  test('a sensor that warms up scores 0 until it has values, and 1 from the first of them', () => {
    const warming: Numbers = { pm2_5: 'warming-up', pm10: 'warming-up' }
    const answers = scores(second, [
      ...Array(30).fill(warming),
      { pm2_5: 8, pm10: 12 },
      { pm2_5: 9, pm10: 13 },
    ])
    expect(answers.slice(0, 30).every(({ score }) => score === 0)).toBe(true)
    expect(answers[0]!.flags).toEqual(['pm2_5:WARMING_UP', 'pm10:WARMING_UP'])
    expect(answers.slice(30).map(({ score, flags }) => [score, flags])).toEqual([
      [1, []],
      [1, []],
    ])
  })
})

describe('step', () => {
  /** Three values that agree, then one `apartMs` later. */
  const afterStep = (name: QuantityName, from: number, to: number, apartMs: number): Score => {
    const scorer = newScorer()
    for (let n = 0; n < 3; n++) scorer.score(station, reading(start + n * second, { [name]: from }))
    return scorer.score(station, reading(start + 2 * second + apartMs, { [name]: to }))
  }
  const base: Partial<Record<QuantityName, number>> = { pressure: 1000, illuminance: 1000 }

  const cases = stepLimits.flatMap(([name, perReading, perMinute, ceiling]) => {
    const minutesToCeiling = Math.ceil(ceiling / perMinute)
    return [
      [name, 16 * second, Math.max(perReading, (perMinute * 16) / 60)],
      [name, minute, Math.min(ceiling, perMinute)],
      [name, 2 * minute, Math.min(ceiling, 2 * perMinute)],
      [name, minutesToCeiling * minute, ceiling],
      [name, 60 * minute, ceiling],
    ] as const
  })
  test.each(cases)('%s: %d ms apart, a step of %d is the largest believed', (name, apartMs, largest) => {
    const from = base[name] ?? 0
    const least = 10 ** -quantity(name).decimals
    expect(afterStep(name, from, from + largest, apartMs).flags).toEqual([])
    expect(afterStep(name, from, from + largest + least, apartMs)).toMatchObject({
      score: 0,
      flags: [`${name}:SPIKE_INST`],
    })
  })

  test('between seconds and a minute the larger of the two limits holds', () => {
    expect(afterStep('temperature', 0, 2, 40 * second).flags).toEqual([])
    expect(afterStep('temperature', 0, 2.5, 50 * second).flags).toEqual([])
    expect(afterStep('temperature', 0, 2.51, 50 * second).flags).toEqual(['temperature:SPIKE_INST'])
  })

  test('values more than an hour apart are not compared', () => {
    expect(afterStep('temperature', 0, 20, hour + 1).flags).not.toContain('temperature:SPIKE_INST')
    expect(afterStep('temperature', 0, 20, hour).flags).toContain('temperature:SPIKE_INST')
  })

  test('a spike is flagged, the values around it are not', () => {
    const numbers = [20, 20.1, 20.1, 20.2, 45, 46, 20.3, 20.2].map((temperature) => ({ temperature }))
    const answers = scores(10 * second, numbers)
    expect(answers.map(({ flags }) => flags.length)).toEqual([0, 0, 0, 0, 1, 1, 0, 0])
    expect(answers[4]!.flags).toEqual(['temperature:SPIKE_INST'])
  })

  test('a spike takes its own share of a reading with three quantities', () => {
    const calm: Numbers = { temperature: 20, humidity: 50, pressure: 1000 }
    const answers = scores(10 * second, [calm, calm, calm, { ...calm, humidity: 60 }])
    expect(last(answers)).toMatchObject({ score: 0.667, flags: ['humidity:SPIKE_INST'] })
  })

  test('a first value that was wrong leaves a doubt, and no more than one', () => {
    const answers = scores(
      second,
      [85, 21, 21.1, 21.2].map((temperature) => ({ temperature })),
    )
    expect(answers.map(({ score, flags }) => [score, flags])).toEqual([
      [1, []],
      [0.5, ['temperature:UNIDENTIFIED_SPIKE']],
      [1, []],
      [1, []],
    ])
  })

  test('a new level that lasts is believed in the end', () => {
    const numbers = Array.from({ length: 600 }, (_, n) => ({ temperature: n < 100 ? 20 : 50 }))
    const flagged = scores(second, numbers).map(({ flags }) => flags.includes('temperature:SPIKE_INST'))
    expect(flagged.indexOf(true)).toBe(100)
    expect(flagged.lastIndexOf(true)).toBe(100 + 5 * 60 - 1)
  })

  test('a sensor that jumps to and fro never becomes believed by jumping', () => {
    const numbers = Array.from({ length: 1800 }, (_, n) => ({ temperature: n < 10 ? 20 : n % 2 ? 40 : 60 }))
    const answers = scores(second, numbers)
    expect(answers.slice(10).every(({ flags }) => flags[0] === 'temperature:SPIKE_INST')).toBe(true)
  })
})

describe('constancy', () => {
  /** The flags of a sensor that repeats the same values each minute, by how long it has. */
  const standing = (
    numbers: Numbers,
    minutes: number,
    moving: (n: number) => Numbers = () => ({}),
  ): Score[] =>
    scores(
      minute,
      Array.from({ length: minutes + 1 }, (_, n) => ({ ...numbers, ...moving(n) })),
    )

  const plain = constancyRows.filter((row) => !row.freezes)
  test.each(plain)('$quantity may stand still for $shortMin minutes, and never for $longMin', (row) => {
    const { min, max, decimals } = quantity(row.quantity)
    const value = Math.max(min, row.rest ?? Number.NEGATIVE_INFINITY) + 10 ** -decimals
    expect(value).toBeLessThanOrEqual(max)
    const answers = standing({ [row.quantity]: value }, row.longMin)
    const flagsAt = (at: number) => answers[at]!.flags
    const shortMin = row.shortMin ?? row.longMin
    expect(flagsAt(shortMin - 1)).toEqual([])
    if (row.shortMin !== null) {
      expect(answers[shortMin]).toMatchObject({ score: 0.5, flags: [`${row.quantity}:SHORT_CONST`] })
      expect(flagsAt(row.longMin - 1)).toEqual([`${row.quantity}:SHORT_CONST`])
    }
    expect(answers[row.longMin]).toMatchObject({ score: 0, flags: [`${row.quantity}:LONG_CONST`] })
  })

  test.each(constancyRows.filter((row) => row.rest !== undefined))(
    '$quantity may stand at $rest for ever',
    (row) => {
      const answers = standing({ [row.quantity]: row.rest! }, row.longMin + 1)
      expect(answers.every(({ score }) => score === 1)).toBe(true)
    },
  )

  test.each([...constancyExempt.keys()])('%s may stand still for ever', (name) => {
    const answers = standing({ [name]: 1 }, 1500)
    expect(answers.every(({ score }) => score === 1)).toBe(true)
  })

  test('fog holds temperature and humidity, and the clock starts when it lifts', () => {
    const fog = standing({ temperature: 4, humidity: 95 }, 1439)
    expect(fog.every(({ score }) => score === 1)).toBe(true)
    const nearlyFog = standing({ temperature: 4, humidity: 94.99 }, 360)
    expect(last(nearlyFog).flags).toEqual(['temperature:SHORT_CONST', 'humidity:SHORT_CONST'])
    const lifting = standing({ temperature: 4 }, 841, (n) => ({ humidity: n <= 600 ? 98 : 90 - n / 100 }))
    expect(lifting[839]!.flags).toEqual([])
    expect(lifting[840]!.flags).toEqual(['temperature:SHORT_CONST'])
  })

  test('a temperature that stands for a whole day is wrong even in fog; humidity is not', () => {
    expect(last(standing({ temperature: 4, humidity: 99 }, 1440)).flags).toEqual(['temperature:LONG_CONST'])
  })

  const mild = (n: number): Numbers => ({ temperature: 10 + (n % 3) / 10, humidity: 60 + (n % 3) / 10 })
  const icy = (n: number): Numbers => ({ temperature: -(n % 3) / 10, humidity: 90 + (n % 3) / 10 })
  const damp = (n: number): Numbers => ({ temperature: 10 + (n % 3) / 10, humidity: 85 + (n % 3) / 10 })

  test.each([
    [
      'no wind in mild dry air',
      { wind_speed: 0 },
      mild,
      ['wind_speed:SHORT_CONST'],
      ['wind_speed:LONG_CONST'],
    ],
    ['no wind in frost', { wind_speed: 0 }, icy, ['wind_speed:FROZEN_SENSOR'], ['wind_speed:FROZEN_SENSOR']],
    ['no wind in damp air', { wind_speed: 0 }, damp, [], ['wind_speed:LONG_CONST']],
    ['no wind, weather unknown', { wind_speed: 0 }, () => ({}), [], ['wind_speed:LONG_CONST']],
    ['the same wind', { wind_speed: 3 }, mild, ['wind_speed:SHORT_CONST'], ['wind_speed:LONG_CONST']],
    ['the same wind in frost', { wind_speed: 3 }, icy, ['wind_speed:SHORT_CONST'], ['wind_speed:LONG_CONST']],
    [
      'the same wind in damp air',
      { wind_speed: 3 },
      damp,
      ['wind_speed:SHORT_CONST'],
      ['wind_speed:LONG_CONST'],
    ],
    [
      'the same gust in frost',
      { wind_gust: 0 },
      icy,
      ['wind_gust:FROZEN_SENSOR'],
      ['wind_gust:FROZEN_SENSOR'],
    ],
    [
      'a vane in frost',
      { wind_direction: 90 },
      icy,
      ['wind_direction:FROZEN_SENSOR'],
      ['wind_direction:FROZEN_SENSOR'],
    ],
    [
      'a vane in mild dry air',
      { wind_direction: 90 },
      mild,
      ['wind_direction:SHORT_CONST'],
      ['wind_direction:LONG_CONST'],
    ],
    ['a vane in damp air', { wind_direction: 90 }, damp, [], ['wind_direction:LONG_CONST']],
  ] as const)('%s, after six hours and after a day', (_, numbers, moving, afterSix, afterDay) => {
    const answers = standing(numbers, 1440, moving)
    expect(answers[359]!.flags).toEqual([])
    expect(answers[360]!.flags).toEqual(afterSix)
    expect(answers[1440]!.flags).toEqual(afterDay)
  })

  test('any other value starts the clock anew', () => {
    const answers = standing({}, 400, (n) => ({ pressure: n === 100 ? 1000.1 : 1000 }))
    expect(answers.findIndex(({ flags }) => flags.length > 0)).toBe(101 + 120)
  })

  test('a silence of more than an hour starts the clock anew, unless the sensor speaks that seldom', () => {
    const scorer = newScorer()
    const at = (timeMs: number) => scorer.score(station, reading(timeMs, { co2: 500 })).flags
    for (let n = 0; n <= 300; n++) at(start + n * minute)
    expect(at(start + 361 * minute)).not.toContain('co2:SHORT_CONST')
    const seldom = scores(2 * hour, Array(4).fill({ co2: 500 }))
    expect(last(seldom).flags).toEqual(['co2:SHORT_CONST'])
  })

  test('a stuck sensor is doubted, then not believed, and believed again when it moves', () => {
    const stuck: Numbers = { temperature: 21.5, humidity: 40, pressure: 1001 }
    const answers = standing({}, 1500, (n) =>
      n < 1450
        ? stuck
        : { temperature: 21.5 + n / 1000, humidity: 40 + n / 1000, pressure: 1001 + n / 10_000 },
    )
    expect(answers[119]!.score).toBe(1)
    expect(answers[1439]!).toMatchObject({ score: 0.5 })
    expect(answers[1445]!).toMatchObject({
      score: 0,
      flags: ['temperature:LONG_CONST', 'humidity:LONG_CONST', 'pressure:LONG_CONST'],
    })
    expect(last(answers)).toMatchObject({ score: 1, flags: [] })
  })
})

describe('availability', () => {
  /** Readings at those minutes; the values move. */
  const heardAt = (minutes: readonly number[], name: QuantityName = 'co2'): Map<number, Score> => {
    const scorer = newScorer()
    return new Map(
      minutes.map((at) => [
        at,
        scorer.score(
          station,
          reading(start + at * minute, { [name]: (name === 'co2' ? 400 : 0) + (at % 100) }),
        ),
      ]),
    )
  }
  const upTo = (minutes: number) => Array.from({ length: minutes }, (_, at) => at)
  const rising = (at: number): Numbers => ({ co2: 400 + (at % 100) })

  test.each([200, 1000, 2300, 20 * second, minute, 145 * second, 5 * minute, hour, 3 * hour])(
    'a sensor that speaks every %d ms is complete',
    (everyMs) => {
      const count = Math.min(20_000, Math.max(20, Math.ceil((3 * hour) / everyMs)))
      const answers = scores(
        everyMs,
        Array.from({ length: count }, (_, n) => rising(n)),
      )
      expect(answers.every(({ score }) => score === 1)).toBe(true)
    },
  )

  test.each([['co2', 0.67], ...shareNeededBy] as const)(
    'an hour with %s needs %d of its readings',
    (name, share) => {
      // Two hours complete; the reading of minute 120 covers its minute; after it so many are silent, then one reading.
      const shareAt = (silentMin: number): Score => {
        const answers = heardAt([...upTo(121), 121 + silentMin], name)
        return answers.get(121 + silentMin)!
      }
      const first = upTo(60).find((silentMin) => shareAt(silentMin).flags.includes('NO_DATA'))!
      expect(1 - first / 60).toBeLessThan(share)
      expect(1 - (first - 1) / 60).toBeGreaterThanOrEqual(share)
    },
  )

  test('the strictest quantity of a reading decides', () => {
    const scorer = newScorer()
    for (const at of upTo(120))
      scorer.score(station, reading(start + at * minute, { ...rising(at), rain: 0 }))
    const atSilence = start + 135 * minute
    expect(scorer.score(station, reading(atSilence, { co2: 500, rain: 0 })).flags).toEqual(['NO_DATA'])
    expect(scorer.score(station, reading(atSilence + second, { co2: 501 })).flags).toEqual([])
  })

  test('one reading a minute is enough of a sensor that speaks each second', () => {
    const scorer = newScorer()
    for (let at = 0; at < hour; at += second) scorer.score(station, reading(start + at, rising(at / second)))
    for (let at = hour; at < 3 * hour; at += minute) {
      const { score } = scorer.score(station, reading(start + at, rising(at / minute)))
      expect(score).toBe(1)
    }
  })

  test('a sensor that comes up to half an interval late now and then is complete', () => {
    const scorer = newScorer()
    let timeMs = start
    for (let n = 0; n < 200; n++) {
      timeMs += 3 * minute + (n % 3) * 40 * second
      expect(scorer.score(station, reading(timeMs, { ...rising(n), rain: 0 })).score).toBe(1)
    }
  })

  test('bursts of frames count as one', () => {
    const scorer = newScorer()
    for (let at = 0; at < 5 * hour; at += 5 * minute) {
      for (const later of [0, 100, 200]) {
        expect(scorer.score(station, reading(start + at + later, rising(at / minute))).score).toBe(1)
      }
    }
  })

  test('a dying sensor loses half of its score at most, and gets it back when it recovers', () => {
    const every = (step: number, from: number, to: number) =>
      Array.from({ length: Math.floor((to - from) / step) }, (_, n) => from + n * step)
    const minutes = [
      ...every(1, 0, 180),
      ...every(2, 180, 300),
      ...every(10, 300, 480),
      ...every(1, 480, 720),
    ]
    const answers = heardAt(minutes)
    expect(answers.get(179)).toMatchObject({ score: 1, flags: [] })
    const halved = answers.get(298)!
    expect(halved.flags).toEqual(['NO_DATA'])
    expect(halved.score).toBeCloseTo(0.5 + 0.25 / 0.67, 1)
    const dying = answers.get(470)!
    expect(dying.score).toBeLessThan(halved.score)
    expect(dying.score).toBeGreaterThanOrEqual(0.5)
    expect(answers.get(719)).toMatchObject({ score: 1, flags: [] })
  })

  test('a configured interval is believed from the start, and instead of what the sensor does', () => {
    const scorer = createScorer({
      rules,
      expectedIntervalMs: (_, sensor) => (sensor === 'a' ? minute : undefined),
    })
    const heard = (sensor: string) =>
      last(
        Array.from({ length: 24 }, (_, n) =>
          scorer.score(station, reading(start + n * 5 * minute, rising(n), sensor)),
        ),
      )
    expect(heard('a').flags).toEqual(['NO_DATA'])
    expect(heard('b').flags).toEqual([])
  })

  test('the interval is learned in spite of lost readings, and a longer one is accepted in the end', () => {
    const memory = new Float64Array(intervalSlots).fill(Number.NaN)
    let timeMs = start
    trackInterval(memory, 0, timeMs)
    expect(trackedIntervalMs(memory, 0)).toBeNaN()
    for (let n = 1; n <= 2000; n++) {
      timeMs += 3 * minute
      if (n % 5 < 2) trackInterval(memory, 0, timeMs)
    }
    expect(trackedIntervalMs(memory, 0)).toBeGreaterThanOrEqual(3 * minute)
    expect(trackedIntervalMs(memory, 0)).toBeLessThan(3.1 * minute)
    for (let n = 1; n <= 300; n++) trackInterval(memory, 0, timeMs + n * 20 * minute)
    expect(trackedIntervalMs(memory, 0)).toBe(20 * minute)
  })
})

/** Weather as a good sensor sees it: the day's course and a little noise, which never stands quite still. */
const weatherAt = (timeMs: number): Numbers => {
  const sun = Math.sin((2 * Math.PI * (timeMs - start)) / day - Math.PI / 2)
  const noise = (n: number) => Math.sin(timeMs / 1000 / n) + Math.sin(timeMs / 777 / n)
  return {
    temperature: 12 + 6 * sun + 0.05 * noise(7),
    humidity: 65 - 20 * sun + 0.2 * noise(11),
    pressure: 1013 + 4 * Math.sin(timeMs / day) + 0.04 * noise(13),
    illuminance: Math.max(0, Math.round(60_000 * sun + 100 * noise(5))),
    wind_speed: 3 + noise(17),
    rain: 0,
    pm2_5: 9 + noise(19),
  }
}

test('a perfect day scores 1.000 from the first reading to the last and stays without flags', () => {
  const scorer = newScorer()
  for (let at = 0; at < day; at += 10 * second) {
    const answer = scorer.score(station, reading(start + at, weatherAt(start + at)))
    expect(answer).toEqual({ score: 1, flags: [], rules: '2026.1' })
  }
})

type Call = { readonly station: string; readonly reading: Reading }

/** What may come from stations: any quantity, any value, times that stand, jump, and go back. */
const anyCalls = (maxLength: number): fc.Arbitrary<Call[]> => {
  const value = fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: 1990, max: 2010 }) },
    { weight: 1, arbitrary: fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }) },
    { weight: 1, arbitrary: fc.constantFrom(...(Object.keys(absences) as Absence[])) },
  )
  const call = fc.record({
    station: fc.constantFrom('a', 'b', 'c'),
    sensor: fc.constantFrom('s1', 's2', 's3', 's4'),
    model: fc.constantFrom('text-lines', 'nova-sds011'),
    passed: fc.oneof(
      fc.constantFrom(0, 1000, minute, 90 * minute, 500 * minute),
      fc.integer({ min: -day, max: day }),
    ),
    values: fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 60 }), value), {
      selector: ([code]) => code,
      maxLength: 8,
    }),
  })
  // Without `size` fast-check stays near ten calls, too few to forget a sensor.
  return fc.array(call, { maxLength, size: 'max' }).map((calls) => {
    let timeMs = start
    return calls.map(({ station, sensor, model, passed, values }) => {
      timeMs += passed
      return {
        station,
        reading: {
          sensor,
          model,
          timeMs,
          values: values
            .sort(([a], [b]) => a - b)
            .map(([code, value]) =>
              typeof value === 'number'
                ? { quantity: code, scaled: value }
                : { quantity: code, scaled: null, absent: value },
            ),
        },
      }
    })
  })
}

describe('the scorer', () => {
  test('scores lie between 0 and 1 with three decimals; flags are of the closed alphabet and known to the rules', () => {
    const codes = new Set(rules.flatMap((rule) => rule.codes))
    fc.assert(
      fc.property(anyCalls(80), (calls) => {
        const scorer = newScorer()
        for (const { station, reading } of calls) {
          const { score, flags } = scorer.score(station, reading)
          expect(score).toBeGreaterThanOrEqual(0)
          expect(score).toBeLessThanOrEqual(1)
          expect(Math.round(score * 1000) / 1000).toBe(score)
          expect(new Set(flags).size).toBe(flags.length)
          for (const flag of flags) {
            expect(flag).toMatch(/^[a-z0-9_]+:[A-Z_]+$|^[A-Z_]+$/)
            expect(codes).toContain(flag.split(':').at(-1))
          }
          if (flags.length === 0) expect(score).toBe(1)
          else expect(score).toBeLessThan(1)
        }
      }),
      { numRuns: 100 },
    )
  })

  /** Scores everything, dropped and restored from what was kept at the given places, in a table's own order. */
  const scoredWithRestarts = (calls: readonly Call[], restarts: readonly number[], bounds = {}) => {
    const table = new Map<string, Uint8Array>()
    const keep = (states: readonly KeptState[]) => {
      for (const [key, state] of states) {
        if (state) table.set(key, state)
        else table.delete(key)
      }
    }
    const byKey = () => [...table].sort(([a], [b]) => (a < b ? -1 : 1))
    let scorer = createScorer({ rules, ...bounds })
    const answers = calls.map(({ station, reading }, at) => {
      if (restarts.includes(at)) {
        keep(scorer.changedStates())
        scorer = createScorer({ rules, states: byKey(), ...bounds })
      }
      return scorer.score(station, reading)
    })
    keep(scorer.changedStates())
    return { answers, table: byKey() }
  }
  const places = fc.array(fc.nat({ max: 120 }), { maxLength: 6, size: 'max' })

  test('scores are the same whether or not the process stopped in between', () => {
    fc.assert(
      fc.property(anyCalls(120), places, (calls, restarts) => {
        expect(scoredWithRestarts(calls, restarts)).toEqual(scoredWithRestarts(calls, []))
      }),
      { numRuns: 100 },
    )
  })

  test('so they are when memory is short and sensors are forgotten', () => {
    const bounds = { maxSeries: 20, maxSensorsPerStation: 3 }
    fc.assert(
      fc.property(anyCalls(120), places, (calls, restarts) => {
        expect(scoredWithRestarts(calls, restarts, bounds)).toEqual(scoredWithRestarts(calls, [], bounds))
      }),
      { numRuns: 100 },
    )
  })

  test('a day of weather goes on over a restart every hour as if nothing had been', () => {
    const calls = Array.from({ length: 1440 }, (_, n): Call => {
      const timeMs = start + n * minute
      const numbers = {
        ...weatherAt(timeMs),
        humidity: n > 300 ? 40 : 41,
        ...(n % 97 === 50 ? { temperature: 70 } : {}),
      }
      return { station, reading: reading(timeMs, numbers) }
    }).filter((_, n) => n < 700 || n % 3 === 0)
    const restarts = Array.from({ length: 24 }, (_, n) => n * 60)
    const { answers } = scoredWithRestarts(calls, restarts)
    expect(answers).toEqual(scoredWithRestarts(calls, []).answers)
    const flags = new Set(answers.flatMap((answer) => answer.flags))
    expect([...flags].sort()).toEqual(['NO_DATA', 'humidity:SHORT_CONST', 'temperature:SPIKE_INST'])
  })

  test('late readings are judged by themselves and change nothing', () => {
    fc.assert(
      fc.property(anyCalls(60), anyCalls(20), (calls, others) => {
        const scorer = newScorer()
        const newest = new Map<string, number>()
        for (const { station, reading } of calls) {
          scorer.score(station, reading)
          const key = `${station}/${reading.sensor}`
          newest.set(key, Math.max(reading.timeMs, newest.get(key) ?? 0))
        }
        scorer.changedStates()
        for (const { station, reading } of others) {
          const newestMs = newest.get(`${station}/${reading.sensor}`)
          if (newestMs === undefined) continue
          const timeMs = newestMs - 1 - Math.abs(reading.timeMs - start)
          const { flags } = scorer.score(station, { ...reading, timeMs })
          const history = flags.filter((flag) => /SPIKE|CONST|FROZEN|NO_DATA/.test(flag))
          expect(history).toEqual([])
        }
        expect(scorer.changedStates()).toEqual([])
      }),
      { numRuns: 100 },
    )
  })

  test('a late value out of bounds is flagged all the same', () => {
    const scorer = newScorer()
    scorer.score(station, reading(start, { temperature: 20, humidity: 50 }))
    const late = scorer.score(station, reading(start - 1, { temperature: 99, humidity: 90 }))
    expect(late).toMatchObject({ score: 0.5, flags: ['temperature:OBC'] })
  })

  test('sensors and stations do not disturb one another', () => {
    const scorer = newScorer()
    for (let n = 0; n < 5; n++) {
      const timeMs = start + n * second
      expect(scorer.score('a', reading(timeMs, { temperature: 0 }, 's')).flags).toEqual([])
      expect(scorer.score('a', reading(timeMs, { temperature: 40 }, 't')).flags).toEqual([])
      expect(scorer.score('b', reading(timeMs, { temperature: 80 }, 's')).flags).toEqual([])
    }
  })

  test('only what changed is to be kept, each sensor once', () => {
    const scorer = newScorer()
    const say = (sensor: string, at: number) =>
      scorer.score(station, reading(start + at, { co2: 500 + at }, sensor))
    say('a', 0)
    say('b', 0)
    say('a', 1)
    const keys = () => scorer.changedStates().map(([key]) => key)
    expect(keys()).toEqual([`${station}/a`, `${station}/b`])
    say('b', 2)
    expect(keys()).toEqual([`${station}/b`])
    expect(keys()).toEqual([])
  })

  test('a sensor forgotten and heard again before states are kept is kept, not dropped', () => {
    const scorer = createScorer({ rules, maxSensorsPerStation: 1 })
    for (const sensor of ['a', 'b', 'a']) scorer.score(station, reading(start, { co2: 500 }, sensor))
    expect(scorer.changedStates()).toEqual([
      [`${station}/a`, expect.any(Uint8Array)],
      [`${station}/b`, null],
    ])
  })

  test('memory has an end: the sensors longest silent are forgotten first, and their states dropped', () => {
    const scorer = createScorer({ rules, maxSeries: 100 })
    for (let n = 0; n < 101; n++) scorer.score(`station${n}`, reading(start + n, { co2: 500 }))
    expect(scorer.series()).toBe(90)
    const states = new Map(scorer.changedStates())
    const dropped = [...states].filter(([, state]) => state === null).map(([key]) => key)
    expect(dropped).toEqual(Array.from({ length: 11 }, (_, n) => `station${n}/weather`))
    expect(states.get('station100/weather')).toBeInstanceOf(Uint8Array)
  })

  test('a station that makes up sensors forgets its own only', () => {
    const scorer = createScorer({ rules, maxSensorsPerStation: 4 })
    scorer.score('good', reading(start, { co2: 500 }))
    for (let n = 0; n < 1000; n++) scorer.score('rude', reading(start + n, { co2: 500 }, `s${n}`))
    expect(scorer.series()).toBe(5)
    const kept = scorer.changedStates().filter(([, state]) => state !== null)
    expect(kept.map(([key]) => key)).toEqual([
      'good/weather',
      'rude/s996',
      'rude/s997',
      'rude/s998',
      'rude/s999',
    ])
  })

  test('the state of a sensor with all quantities stays below 5 kB, of one with three below 400 bytes', () => {
    const scorer = newScorer()
    const all = quantities.map(({ code }) => ({ quantity: code, scaled: 1 }))
    scorer.score(station, { sensor: 'all', model: 'x', timeMs: start, values: all })
    scorer.score(station, reading(start, { temperature: 20, humidity: 50, pressure: 1000 }))
    const sizes = scorer.changedStates().map(([, state]) => state!.length)
    expect(sizes[0]).toBeLessThan(5000)
    expect(sizes[1]).toBeLessThan(400)
  })

  test('states kept by rules with another memory are not read; their sensors start anew', () => {
    const before = createScorer({ rules: rules.filter(({ name }) => name !== 'step') })
    before.score(station, reading(start, { temperature: 20 }))
    const states = before.changedStates()
    expect(newScorer(states).series()).toBe(0)
    expect(createScorer({ rules: rules.filter(({ name }) => name !== 'step'), states }).series()).toBe(1)
  })

  test('a damaged state is an error that says what to do', () => {
    const scorer = newScorer()
    scorer.score(station, reading(start, { temperature: 20 }))
    const [[key, state]] = scorer.changedStates() as [[string, Uint8Array]]
    for (const bytes of [state.slice(0, 3), state.slice(0, -1), new Uint8Array([...state, 0])]) {
      expect(() => newScorer([[key, bytes]])).toThrow(
        `quality state of sensor ${station}/weather is damaged.\nRebuild the store from the evidence`,
      )
    }
  })

  test('a rule may ask for what is beyond its sensor, and is handed it', () => {
    type Neighbours = { readonly temperatureC: number }
    const neighbours: Rule<Neighbours> = {
      kind: 'value',
      name: 'neighbours',
      title: 'Unlike its neighbours',
      source: 'this test',
      version: '2026.2',
      codes: ['UNLIKE_NEIGHBOURS'],
      judge: ({ quantity: { name }, temperatureC, context }) =>
        name === 'temperature' && Math.abs(temperatureC - context.temperatureC) > 10
          ? { code: 'UNLIKE_NEIGHBOURS', factor: 0.2 }
          : undefined,
    }
    const scorer = createScorer<Neighbours>({
      rules: [...rules, neighbours],
      context: (_, { timeMs }) => ({ temperatureC: timeMs < start ? 0 : 20 }),
    })
    expect(scorer.score(station, reading(start - 1, { temperature: 20, humidity: 50 }))).toEqual({
      score: 0.6,
      flags: ['temperature:UNLIKE_NEIGHBOURS'],
      rules: '2026.2',
    })
    expect(scorer.score(station, reading(start, { temperature: 20, humidity: 50 })).score).toBe(1)
  })
})
