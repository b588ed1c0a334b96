/** Every simulated device is read by its driver over a real link, dialogue included: what it meant arrives, and nothing else. */
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { readDevice } from '#gateway/device.ts'
import { linkNamed } from '#gateway/link/named.ts'
import { openHeard } from '#gateway/reading/heard.ts'
import type { Reading } from '#gateway/reading/reading.ts'
import { driverOf, drivers } from '#gateway/sensors/all.ts'
import { registerTables } from '#gateway/sensors/modbus-tables.ts'
import { toReadings } from '#gateway/sensors/read.ts'
import { textSettings } from '#gateway/sensors/text-lines.ts'
import { type KindName, kinds } from '#sim/devices/all.ts'
import { fleet } from '#sim/fleet.ts'
import { inProcess } from '#sim/outlets/in-process.ts'
import { generator } from '#sim/random.ts'
import { deviceOf, type Said, type SimulatedSensor, startStation } from '#sim/station.ts'
import { world } from '#sim/world.ts'
import { surroundings } from '#test/sensors/frames.ts'

const names = Object.keys(kinds) as KindName[]
const seedOfNoise = 20261121
const startMs = Date.UTC(2026, 10, 21, 6)

describe('twins', () => {
  const devices = names.flatMap((name) =>
    [1, 2, 3, 4, 5, 6, 7, 8].map((seed) => {
      const [plan] = fleet({ seed, stations: 1, first: [name] })
      return deviceOf(plan!.sensors[0]!, plan!.place, world(seed))
    }),
  )

  test('are there for every driver', () => {
    const models = new Set(devices.map(({ model }) => model))
    expect([...models].sort()).toEqual(drivers.map(({ model }) => model).sort())
  })

  test('are there for every table of registers that is shipped, and every way of printing lines', () => {
    const settings = JSON.stringify(devices.map((device) => device.settings))
    for (const table of Object.keys(registerTables)) expect(settings).toContain(`"table":"${table}"`)
    for (const profile of textSettings.shape.profile.unwrap().options)
      if (profile !== 'auto') expect(settings).toContain(`"profile":"${profile}"`)
  })
})

/** Time that runs so much faster than it does, for device and driver alike. */
const fastClock = (factor: number) => {
  const real = performance.now()
  const steadyMs = (): number => (performance.now() - real) * factor
  return {
    utcMs: () => Math.floor(startMs + steadyMs()),
    steadyMs,
    sleep: (ms: number, signal: AbortSignal) => delay(ms / factor, undefined, { signal }),
  }
}

/** Whatever bytes come from a gateway, and a power cut: neither may change what a device does from then on. */
const upset = async ({ opener, unplug, plug }: SimulatedSensor, signal: AbortSignal): Promise<void> => {
  const wire = await opener!.open(signal)
  wire.on('error', () => undefined).resume()
  const random = generator(seedOfNoise)
  for (let round = 0; round < 200; round += 1)
    wire.write(Uint8Array.from({ length: Math.floor(random() * 40) }, () => Math.floor(random() * 256)))
  // What is left of the noise is no part of the next command.
  await new Promise((resolve) => wire.write('\n', resolve))
  await unplug()
  await plug()
}

const key = ({ sensor, values }: Pick<Reading, 'sensor' | 'values'>): string =>
  `${sensor} ${JSON.stringify(values)}`

// A busy machine's milliseconds are twenty times as long here: one reading at the end of warming up may be taken for one
// of the other side, by whoever heard later.
const isWarm = (text: string): boolean => !text.includes('"warming-up"')

for (const seed of [1, 2])
  test.concurrent.for(names)(
    `%s (seed ${seed}${seed === 2 ? ', after noise and a power cut' : ''})`,
    async (name, { expect }) => {
      const stop = new AbortController()
      const clock = fastClock(20)
      const said: Said[] = []
      const [plan] = fleet({ seed, stations: 1, first: [name] })
      const station = await startStation(
        plan!,
        { world: world(seed), outlet: inProcess, clock, onSaid: (one) => void said.push(one) },
        stop.signal,
      )
      const [sensor] = station.sensors
      if (seed === 2 && sensor!.opener) await upset(sensor!, stop.signal)
      said.length = 0
      const kept: Reading[] = []
      let signed = 0
      const device = readDevice({
        device: {
          id: sensor!.sensor,
          model: sensor!.model,
          settings: sensor!.settings,
          baudRate: sensor!.baudRate,
          opener: sensor!.opener ?? linkNamed(sensor!.link, { baudRate: sensor!.baudRate }),
        },
        surroundings: surroundings(),
        clock,
        take: async (reading) => void kept.push(reading),
        takeFrame: async (frame) => {
          const opened = openHeard(frame)
          if (!opened.ok) return expect.fail(opened.detail)
          signed += 1
          kept.push(...opened.frame.readings)
        },
      })
      const running = device.run(stop.signal)
      const meant = (): string[] =>
        said
          .filter(({ taken }) => taken)
          .flatMap((one) =>
            toReadings(
              sensor!.model,
              one.sensor,
              one.meant.map((each) => ({ kind: 'reading', ...each }) as const),
              0,
            ).readings.map(key),
          )
      // A library that holds the conversation goes by the real time.
      const enough = driverOf(sensor!.model).framing.kind === 'messages' ? 5 : 45
      await expect.poll(() => kept.length, { timeout: 20_000, interval: 20 }).toBeGreaterThan(enough)
      const until = kept.length
      await expect.poll(() => meant().length >= until).toBe(true)
      const [read, wanted] = [kept.slice(0, until).map(key), meant().slice(0, until)]
      const across = read.findIndex((one, at) => one !== wanted[at] && isWarm(one) !== isWarm(wanted[at]!))
      expect(read.filter((_, at) => at !== across)).toEqual(wanted.filter((_, at) => at !== across))
      expect(device.status.refusals).toEqual({})
      expect(signed > 0, 'whether a node signed').toBe('signed' in sensor!.settings)
      expect(device.status.link.opens).toBe(1)
      stop.abort()
      await Promise.all([running, station.ended])
    },
  )
