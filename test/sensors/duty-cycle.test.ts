/** Sensors that are put to sleep: in time that is stepped, with commands that get lost. */
import { describe, expect, test } from 'vitest'
import { framer } from '#gateway/link/frame.ts'
import { driverOf } from '#gateway/sensors/all.ts'
import type { Outcome, Settings } from '#gateway/sensors/sensors.ts'
import type { Device } from '#sim/devices/device.ts'
import { nova } from '#sim/devices/nova.ts'
import { plantower } from '#sim/devices/plantower.ts'
import { generator } from '#sim/random.ts'
import { surroundings } from './frames.ts'

const stepMs = 250
const air = () => ({ temperature: 20, humidity: 50, pressure: 1000, pm1: 5, pm2_5: 8, pm10: 12 })

/** Driver and device in stepped time: what was read at which second, and what the device was told. */
const live = (device: Device, settings: Settings, seconds: number, lossChance = 0) => {
  const driver = driverOf(device.model)
  const decoder = driver.configure(settings, surroundings())
  const cutter = framer(driver.framing)
  const random = generator(7)
  const read: { readonly second: number; readonly outcome: Outcome }[] = []
  const told: string[] = []
  device.powerOn(0)
  const say = (bytes: Uint8Array, nowMs: number): void => {
    told.push(Buffer.from(bytes).toString('hex'))
    if (random() >= lossChance) for (const emission of device.hear(bytes, nowMs)) hear(emission.bytes, nowMs)
  }
  const hear = (bytes: Uint8Array, nowMs: number): void => {
    for (const frame of cutter.push(bytes))
      for (const outcome of decoder.decode(frame, nowMs)) read.push({ second: nowMs / 1000, outcome })
  }
  decoder.dialogue!.opened(0)
  let nextMs = 0
  for (let nowMs = 0; nowMs < seconds * 1000; nowMs += stepMs) {
    const before = read.length
    if (nowMs % 1000 === 0) {
      const emission = device.speak(nowMs)
      if (emission) hear(emission.bytes, nowMs)
    }
    if (nowMs < nextMs && read.length === before) continue
    const { send, againMs } = decoder.dialogue!.turn(nowMs)
    nextMs = nowMs + againMs
    if (send) say(send, nowMs)
  }
  const values = read.flatMap(({ second, outcome }) =>
    outcome.kind === 'reading' ? [{ second, value: outcome.measurements[0]!.value }] : [],
  )
  return { values, told, controls: read.filter(({ outcome }) => outcome.kind === 'control').length }
}

const devices: readonly (readonly [name: string, make: () => Device, wake: string, sleep: string])[] = [
  ['Plantower', () => plantower({ air }), '424de400010174', '424de400000173'],
  [
    'Nova',
    () => nova({ air }),
    'aab406010100000000000000000000ffff06ab',
    'aab406010000000000000000000000ffff05ab',
  ],
]

describe.each(devices)('%s', (_name, make, wake, sleep) => {
  const cycle = { dutyCycle: { everyS: 120, measureS: 10 } }

  test('gives values for ten seconds of every two minutes, once it is warm, and sleeps otherwise', () => {
    const { values, told } = live(make(), cycle, 600)
    const measured = values.filter(({ value }) => value !== null)
    const phases = new Set(measured.map(({ second }) => Math.floor((second % 120) / 10)))
    expect(phases).toEqual(new Set([3]))
    expect(measured.length).toBeGreaterThanOrEqual(5 * 9)
    // Warming up is told, and nothing is said in sleep.
    expect(values.some(({ value }) => value === null)).toBe(true)
    expect(values.filter(({ second }) => second % 120 > 41)).toEqual([])
    expect(told.filter((one) => one === sleep)).toHaveLength(5)
    expect(told.filter((one) => one === wake).length).toBeGreaterThanOrEqual(4)
  })

  test('whose commands get lost is told again', () => {
    const { values } = live(make(), cycle, 3600, 0.4)
    const measured = values.filter(({ value }) => value !== null)
    const cycles = new Set(measured.map(({ second }) => Math.floor(second / 120)))
    expect(cycles.size).toBe(30)
    expect(measured.every(({ second }) => second % 120 >= 30 && second % 120 < 40)).toBe(true)
  })

  test('needs time to rest', () => {
    const driver = driverOf(make().model)
    expect(() => driver.configure({ dutyCycle: { everyS: 45, measureS: 10 } }, surroundings())).toThrow(
      'expected everyS of at least 30 + measureS + 10 seconds',
    )
  })
})

describe('an SDS011 that remembers', () => {
  const ask = 'aab408000000000000000000000000ffff06ab'
  const five = 'aab408010500000000000000000000ffff0cab'

  test('is asked for its work period, told once where it differs, and left alone where it does not', () => {
    const device = nova({ air })
    const first = live(device, { workPeriodMin: 5 }, 30)
    expect(first.told.filter((one) => one === five)).toHaveLength(1)
    expect(first.told).toContain(ask)
    const second = live(device, { workPeriodMin: 5 }, 30)
    expect(second.told).toContain(ask)
    expect(second.told).not.toContain(five)
  })

  test('with a period says its values once in that time', () => {
    const { values } = live(nova({ air }), { workPeriodMin: 2 }, 1200)
    expect(values.length).toBeGreaterThanOrEqual(9)
    // And once a second until it was told.
    expect(values.length).toBeLessThanOrEqual(14)
  })

  test('in query mode speaks when it is asked, and no more', () => {
    const { values } = live(nova({ air }), { mode: 'query', intervalS: 60 }, 600)
    expect(values.length).toBeGreaterThanOrEqual(9)
    expect(values.length).toBeLessThanOrEqual(12)
  })

  test('that never answers is read all the same', () => {
    const silent = { ...nova({ air }), hear: () => [] }
    const { values, told } = live(silent, { workPeriodMin: 5 }, 60)
    expect(values.length).toBeGreaterThan(50)
    expect(told.length).toBeLessThanOrEqual(10)
  })
})
