/** What every store promises, checked against answers computed the plainest way. */
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { quantity } from '#gateway/reading/quantity.ts'
import {
  type Bucket,
  rollupFunctions,
  type Selection,
  type Store,
  type StoredReading,
  stationsMax,
} from '#gateway/store/store.ts'
import {
  all,
  byText,
  hour,
  humidity,
  naiveRollup,
  order,
  pm25,
  reading,
  selected,
  startMs,
  temperature,
  untidyReadings,
} from '#test/contract/store-oracle.ts'

const anySelection: fc.Arbitrary<Selection> = fc
  .record({
    stations: fc.option(
      fc.array(fc.constantFrom('station-a', 'station-b', '0f3c', 'nobody'), { maxLength: 4 }),
      { nil: undefined },
    ),
    sensor: fc.option(fc.constantFrom('yard', 'Roof', 'x_1'), { nil: undefined }),
    quantities: fc.option(
      fc.uniqueArray(fc.constantFrom(temperature, humidity, pm25, 17, 18), { maxLength: 3 }),
      {
        nil: undefined,
      },
    ),
    from: fc.oneof(fc.constantFrom(0, hour, 2 * hour), fc.integer({ min: -hour, max: 6 * hour })),
    span: fc.oneof(fc.constantFrom(hour, 5 * hour, 6 * hour), fc.integer({ min: 0, max: 6 * hour })),
  })
  .map(({ stations, sensor, quantities, from, span }) => ({
    ...(stations === undefined ? {} : { stations }),
    ...(sensor === undefined ? {} : { sensor }),
    ...(quantities === undefined ? {} : { quantities }),
    fromMs: startMs + from,
    toMs: startMs + from + span,
  }))

const everies = [1, 7_000, 60_000, 420_000, hour, 2 * hour, 24 * hour, 5 * hour + 1]

const seed = Number(process.env.STORE_SEED ?? 20261121)

export type ContractHooks = {
  readonly open: () => Promise<Store>
  /** Called after data was written and before it is read, to change how it is kept but not what is kept. */
  readonly settle?: (store: Store) => Promise<void>
}

/** Runs the contract on a store, which is cleared before each test. */
export const storeContract = (name: string, { open, settle = async () => {} }: ContractHooks): void => {
  describe(name, () => {
    let store: Store
    beforeAll(async () => {
      store = await open()
    })
    beforeEach(async () => {
      await store.clear()
    })
    afterAll(async () => {
      await store?.[Symbol.asyncDispose]()
    })

    const write = async (...readings: StoredReading[]) => {
      await store.write(readings)
      await settle(store)
    }

    test('an empty store answers with nothing', async () => {
      await store.write([])
      expect(await store.readings(all, 10)).toEqual([])
      expect(await store.rollup(all, hour, 'mean', 10)).toEqual([])
      expect(await store.latest({})).toEqual([])
      expect(await store.sensors()).toEqual([])
      expect(await store.cursor()).toBe(0)
    })

    test('a reading comes back with everything it came with', async () => {
      const full = reading({
        values: [
          { quantity: temperature, scaled: -4012 },
          { quantity: humidity, scaled: null, absent: 'warming-up' },
          { quantity: pm25, scaled: 0 },
          { quantity: quantity('typical_size').code, scaled: 457 },
          { quantity: quantity('gas_resistance').code, scaled: 200_000_000 },
          { quantity: quantity('noise').code, scaled: null, absent: 'device-error' },
          { quantity: quantity('dew_point').code, scaled: -2_147_483_648 },
          { quantity: quantity('o3').code, scaled: 2_147_483_647 },
        ],
        timeMs: startMs + 123,
        seq: Number.MAX_SAFE_INTEGER,
        place: 49,
        score: 0.987,
        flags: ['pm2_5:step', 'temperature:constant', 'clock'],
        rules: '2026-11.1',
      })
      const bare = reading({ values: [], seq: 2 })
      await write(full, bare)
      expect(await store.readings(all, 10)).toEqual([bare, full])
    })

    test('a reading written again is kept once, in one write, in two, and among others', async () => {
      const one = reading()
      const two = reading({ seq: 2, timeMs: startMs + 1000 })
      await write(one, one)
      await write(one)
      await write(two, one)
      expect(await store.readings(all, 10)).toEqual([one, two])
      expect(await store.sensors()).toMatchObject([{ readings: 2 }])
      expect(await store.rollup(all, hour, 'count', 10)).toMatchObject([{ value: 2, count: 2 }])
    })

    test('a reading written again with a newer score has that score', async () => {
      await write(reading({ score: 1, flags: [] }), reading({ seq: 2 }))
      await write(reading({ score: 0.25, flags: ['temperature:step'], rules: '2' }))
      const [first] = await store.readings(all, 10)
      expect(first).toEqual(reading({ score: 0.25, flags: ['temperature:step'], rules: '2' }))
      await write(reading({ score: 1, flags: [], rules: '3' }))
      expect(await store.readings(all, 10)).toEqual([reading({ rules: '3' }), reading({ seq: 2 })])
      expect(await store.sensors()).toMatchObject([{ readings: 2 }])
    })

    test('readings of one sensor in one millisecond are told apart by seq and place', async () => {
      // 1999 and 2000: the last digits of seq alone would put them the other way round.
      const same = [1999, 2000, 2001].flatMap((seq) => [0, 1].map((place) => reading({ seq, place })))
      await write(...same.toReversed())
      expect(await store.readings(all, 10)).toEqual(same)
      expect(await store.latest({})).toEqual([same.at(-1)])
      expect(await store.sensors()).toMatchObject([{ readings: 6 }])
    })

    test('pages put together are the whole, through ties and whatever their size', async () => {
      const readings = untidyReadings(seed, 300)
      await write(...readings)
      const expected = readings.toSorted(order)
      for (const size of [1, 7, 100, 299, 300, 301]) {
        const found: StoredReading[] = []
        for (;;) {
          const page = await store.readings(all, size, found.at(-1))
          expect(page.length).toBeLessThanOrEqual(size)
          if (page.length === 0) break
          found.push(...page)
        }
        expect(found).toEqual(expected)
      }
    })

    test('pages backwards put together are the whole backwards, through ties and whatever their size', async () => {
      const readings = untidyReadings(seed + 7, 300)
      await write(...readings)
      const expected = readings.toSorted(order).reverse()
      for (const size of [1, 7, 100, 299, 300, 301]) {
        const found: StoredReading[] = []
        for (;;) {
          const page = await store.readings(all, size, found.at(-1), 'descending')
          expect(page.length).toBeLessThanOrEqual(size)
          if (page.length === 0) break
          found.push(...page)
        }
        expect(found).toEqual(expected)
      }
    })

    test('many sensors that speak in the same millisecond are paged through in order', async () => {
      const choir = Array.from({ length: 150 }, (_, at) =>
        reading({ station: `s${at % 50}`, sensor: `n${Math.floor(at / 50)}`, seq: at + 1 }),
      )
      await write(...choir)
      const found: StoredReading[] = []
      for (;;) {
        const page = await store.readings(all, 13, found.at(-1))
        if (page.length === 0) break
        found.push(...page)
      }
      expect(found).toEqual(choir.toSorted(order))
      expect(await store.readings(all, 150, undefined, 'descending')).toEqual(found.reverse())
    })

    test('from is inclusive and to is exclusive, to the millisecond', async () => {
      const times = [0, 1, 999, 1000, hour - 1, hour, hour + 1].map((offset) => startMs + offset)
      const readings = times.map((timeMs, at) => reading({ timeMs, seq: 3000 + at * 999 }))
      await write(...readings)
      for (const fromMs of times)
        for (const toMs of times) {
          const expected = readings.filter(({ timeMs }) => timeMs >= fromMs && timeMs < toMs)
          expect(await store.readings({ fromMs, toMs }, 10)).toEqual(expected)
        }
    })

    test('any selection gives what a plain filter gives', async () => {
      const readings = untidyReadings(seed + 1, 400)
      await write(...readings)
      await fc.assert(
        fc.asyncProperty(anySelection, fc.integer({ min: 1, max: 500 }), async (selection, limit) => {
          const expected = selected(readings, selection).slice(0, limit)
          expect(await store.readings(selection, limit)).toEqual(expected)
          const newest = selected(readings, selection).reverse().slice(0, limit)
          expect(await store.readings(selection, limit, undefined, 'descending')).toEqual(newest)
        }),
        { numRuns: 60, seed },
      )
    })

    test('any rollup gives what plain arithmetic gives, to the last digit', async () => {
      const readings = untidyReadings(seed + 2, 400)
      await write(...readings)
      await fc.assert(
        fc.asyncProperty(
          anySelection,
          fc.constantFrom(...everies),
          fc.constantFrom(...rollupFunctions),
          fc.constantFrom(1, 5, 50, 10_000),
          fc.constantFrom(undefined, undefined, 0, 0.25, 0.5004, 1),
          async (selection, everyMs, fn, limit, minScore) => {
            const asked = { ...selection, ...(minScore === undefined ? {} : { minScore }) }
            const expected = naiveRollup(readings, asked, everyMs, fn).slice(0, limit)
            expect(await store.rollup(asked, everyMs, fn, limit)).toEqual(expected)
          },
        ),
        { numRuns: 80, seed },
      )
    })

    test('a rollup of what is good leaves out what is scored below, to the thousandth, and empty buckets', async () => {
      const scores = [1, 0.9, 0.899, 0.9, 0]
      const readings = scores.map((score, at) =>
        reading({
          seq: at + 1,
          timeMs: startMs + at * hour,
          score,
          values: [{ quantity: temperature, scaled: 100 * (at + 1) }],
        }),
      )
      await write(...readings)
      const good = { ...all, minScore: 0.9 }
      expect(await store.rollup(good, hour, 'mean', 10)).toMatchObject(
        [0, 1, 3].map((at) => ({ timeMs: startMs + at * hour, value: at + 1, count: 1 })),
      )
      expect(await store.rollup(good, 24 * hour, 'count', 10)).toMatchObject([{ value: 3 }])
      expect(await store.rollup({ ...all, minScore: 1 }, 24 * hour, 'sum', 10)).toMatchObject([{ value: 1 }])
      // A newer score counts, and not the one that was there.
      await write({ ...readings[2]!, score: 1 }, { ...readings[0]!, score: 0.5 })
      expect(await store.rollup(good, hour, 'mean', 10)).toMatchObject([
        { value: 2 },
        { value: 3 },
        { value: 4 },
      ])
      for (const minScore of [-0.1, 1.1, Number.NaN])
        await expect(store.rollup({ ...all, minScore }, hour, 'mean', 10)).rejects.toThrow('minScore')
    })

    test('pages of buckets put together are the whole', async () => {
      const readings = untidyReadings(seed + 3, 200)
      await write(...readings)
      for (const asked of [{ ...all, minScore: 0.4 }, all]) {
        const found: Bucket[] = []
        for (;;) {
          const page = await store.rollup(asked, 420_000, 'mean', 23, found.at(-1))
          if (page.length === 0) break
          found.push(...page)
        }
        expect(found).toEqual(naiveRollup(readings, asked, 420_000, 'mean'))
      }
      const expected = naiveRollup(readings, all, 420_000, 'mean')
      const afterMs = expected[40]!.timeMs
      const later = expected.filter(({ timeMs }) => timeMs > afterMs)
      expect(await store.rollup(all, 420_000, 'mean', 10_000, afterMs)).toEqual(later)
    })

    test('readings that are years apart are found without a walk through the years between', async () => {
      const times = [0, startMs, Date.UTC(2031, 5, 1), Date.UTC(2199, 0, 1)]
      const readings = times.map((timeMs, at) => reading({ timeMs, seq: at + 1 }))
      await write(...readings)
      expect(await store.readings(all, 10)).toEqual(readings)
      expect(await store.readings(all, 10, undefined, 'descending')).toEqual(readings.toReversed())
      expect(await store.rollup(all, 60_000, 'max', 10)).toEqual(naiveRollup(readings, all, 60_000, 'max'))
    })

    test('latest gives the newest reading of each sensor, and of those that name a quantity', async () => {
      const readings = untidyReadings(seed + 4, 200)
      await write(...readings)
      for (const part of [
        {},
        { stations: ['station-a'] },
        { stations: ['station-b', '0f3c', 'nobody', '0f3c'] },
        { stations: [] },
        { sensor: 'yard' },
        { quantities: [pm25] },
        { stations: ['station-b', 'station-a'], sensor: 'yard', quantities: [humidity, temperature] },
        { quantities: [18] },
        { quantities: [] },
      ]) {
        const newest = new Map<string, StoredReading>()
        for (const one of selected(readings, { ...all, ...part }))
          newest.set(`${one.station}/${one.sensor}`, one)
        const expected = [...newest.values()].sort(
          (a, b) => byText(a.station, b.station) || byText(a.sensor, b.sensor),
        )
        expect(await store.latest(part)).toEqual(expected)
      }
    })

    test('sensors tells what is known of each', async () => {
      const readings = untidyReadings(seed + 5, 200)
      await write(...readings.slice(0, 120))
      await write(...readings.slice(80))
      const names = [...new Set(readings.map(({ station, sensor }) => `${station}/${sensor}`))].sort(byText)
      const expected = names.map((name) => {
        const own = readings.filter(({ station, sensor }) => `${station}/${sensor}` === name).sort(order)
        const { station, sensor, model, timeMs } = own.at(-1)!
        const codes = new Set(own.flatMap(({ values }) => values.map((value) => value.quantity)))
        return {
          station,
          sensor,
          model,
          quantities: [...codes].sort((a, b) => a - b),
          firstMs: own[0]!.timeMs,
          lastMs: timeMs,
          readings: own.length,
        }
      })
      expect(await store.sensors()).toEqual(expected)
      expect(await store.sensors('station-a')).toEqual(
        expected.filter(({ station }) => station === 'station-a'),
      )
      expect(await store.sensors('nobody')).toEqual([])
    })

    test('a quantity that was only ever absent is still known', async () => {
      await write(reading({ values: [{ quantity: humidity, scaled: null, absent: 'no-data' }] }))
      expect(await store.sensors()).toMatchObject([{ quantities: [humidity] }])
      expect(await store.latest({ quantities: [humidity] })).toHaveLength(1)
      expect(await store.rollup(all, hour, 'count', 10)).toEqual([])
    })

    test('late and out-of-order readings take their place', async () => {
      const readings = untidyReadings(seed + 6, 240)
      for (let at = 0; at < readings.length; at += 40) await write(...readings.slice(at, at + 40))
      expect(await store.readings(all, 1000)).toEqual(readings.toSorted(order))
      expect(await store.rollup(all, hour, 'sum', 1000)).toEqual(naiveRollup(readings, all, hour, 'sum'))
    })

    test('ten thousand readings in one write are all there', async () => {
      const readings = Array.from({ length: 10_000 }, (_, at) =>
        reading({
          sensor: `n${at % 20}`,
          timeMs: startMs + Math.floor(at / 20) * 10_000,
          seq: Math.floor(at / 50) + 1,
          place: at % 50,
          values: [{ quantity: temperature, scaled: at % 3000 }],
        }),
      )
      await write(...readings)
      expect(await store.readings(all, 20_000)).toEqual(readings.toSorted(order))
      const buckets = await store.rollup(all, hour, 'mean', 1000)
      expect(buckets).toEqual(naiveRollup(readings, all, hour, 'mean'))
    })

    test('the cursor is kept, can go back, and is cleared with the rest', async () => {
      await store.setCursor(41)
      await store.setCursor(9_007_199_254_740_991)
      expect(await store.cursor()).toBe(9_007_199_254_740_991)
      await store.setCursor(7)
      expect(await store.cursor()).toBe(7)
      await write(reading())
      await store.clear()
      expect(await store.cursor()).toBe(0)
      expect(await store.readings(all, 10)).toEqual([])
      expect(await store.sensors()).toEqual([])
      await write(reading())
      expect(await store.readings(all, 10)).toEqual([reading()])
    })

    test('a reading that could forge another or be no reading is refused, and nothing of its batch is kept', async () => {
      const forged = 'a\nreading,sensor=yard,station=victim temperature=99,seq=1i 1'
      const wrong: [string, Partial<StoredReading>][] = [
        ['station', { station: forged }],
        ['station', { station: '' }],
        ['station', { station: 'a,b' }],
        ['station', { station: 'a'.repeat(65) }],
        ['sensor', { sensor: forged }],
        ['sensor', { sensor: 'back\\' }],
        ['model', { model: 'x"y' }],
        ['rules', { rules: '1"\n' }],
        ['flag', { flags: ['ok', 'a"b'] }],
        ['flag', { flags: ['a,b'] }],
        ['time', { timeMs: -1 }],
        ['time', { timeMs: 1.5 }],
        ['time', { timeMs: Date.UTC(2262, 0, 1) }],
        ['seq', { seq: 2 ** 53 }],
        ['place', { place: -1 }],
        ['score', { score: Number.NaN }],
        ['score', { score: 1.001 }],
        ['quantity', { values: [{ quantity: 9999, scaled: 1 }] }],
        ['latitude is private', { values: [{ quantity: quantity('latitude').code, scaled: 1 }] }],
        ['value', { values: [{ quantity: temperature, scaled: 1.5 }] }],
        ['ascending', { values: [humidity, temperature].map((code) => ({ quantity: code, scaled: 1 })) }],
      ]
      for (const [what, some] of wrong) {
        const batch = [reading(), reading({ seq: 2, ...some })]
        await expect(store.write(batch), what).rejects.toThrow(new RegExp(`cannot be stored: .*${what}`))
      }
      expect(await store.readings(all, 10)).toEqual([])
    })

    test('ids out of form in a question match nothing, whatever they contain', async () => {
      await write(reading(), reading({ station: 'station-b', seq: 2 }))
      for (const hostile of [
        "x' OR 'a'='a",
        '" OR 1=1 --',
        'a\nb',
        '',
        '$sensor',
        '%',
        '/.*/',
        'a'.repeat(100),
      ]) {
        expect(await store.readings({ ...all, stations: [hostile] }, 10)).toEqual([])
        expect(await store.readings({ ...all, sensor: hostile }, 10)).toEqual([])
        expect(await store.rollup({ ...all, stations: [hostile] }, hour, 'mean', 10)).toEqual([])
        expect(await store.latest({ sensor: hostile })).toEqual([])
        expect(await store.sensors(hostile)).toEqual([])
        expect(await store.readings({ ...all, stations: [hostile, 'station-b'] }, 10)).toMatchObject([
          { station: 'station-b' },
        ])
      }
    })

    test('no stations are no readings, and not those of all', async () => {
      await write(reading(), reading({ station: 'station-b', seq: 2 }))
      const none = { ...all, stations: [] }
      expect(await store.readings(none, 10)).toEqual([])
      expect(await store.rollup(none, hour, 'mean', 10)).toEqual([])
      expect(await store.latest({ stations: [] })).toEqual([])
    })

    test('as many stations as may be asked for at once are answered, and one more is refused', async () => {
      const crowd = Array.from({ length: stationsMax + 1 }, (_, at) =>
        reading({ station: `${at}`.padStart(32, 'f'), seq: at + 1, timeMs: startMs + at }),
      )
      await write(...crowd)
      const stations = crowd.map(({ station }) => station)
      const most = stations.slice(1)
      expect(await store.readings({ ...all, stations: most }, 1000)).toEqual(crowd.slice(1))
      expect(await store.rollup({ ...all, stations: most }, hour, 'count', 1000)).toHaveLength(stationsMax)
      expect(await store.latest({ stations: most })).toHaveLength(stationsMax)
      await expect(store.readings({ ...all, stations }, 1000)).rejects.toThrow('at most 100 stations')
      await expect(store.rollup({ ...all, stations }, hour, 'count', 1000)).rejects.toThrow(
        'at most 100 stations',
      )
      await expect(store.latest({ stations })).rejects.toThrow('at most 100 stations')
    })

    test('limits and bucket lengths out of range are refused', async () => {
      for (const limit of [0, -1, 1.5, Number.NaN, 1e9])
        await expect(store.readings(all, limit)).rejects.toThrow('limit is a whole number')
      for (const everyMs of [0, -5, 0.5, Number.NaN, Infinity])
        await expect(store.rollup(all, everyMs, 'mean', 10)).rejects.toThrow('everyMs is a whole number')
      await expect(store.readings({ fromMs: Number.NaN, toMs: 1 }, 1)).rejects.toThrow('fromMs')
      expect(await store.readings({ fromMs: 10, toMs: 5 }, 1)).toEqual([])
      expect(await store.readings({ fromMs: -Infinity, toMs: Infinity }, 1)).toEqual([])
    })
  })
}
