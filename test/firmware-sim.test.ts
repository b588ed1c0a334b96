/** The simulated world is repeatable, its devices speak what drivers read, and faults do what they say. */
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { readDevice } from '#gateway/device.ts'
import { framer } from '#gateway/link/frame.ts'
import { linkNamed } from '#gateway/link/named.ts'
import type { LinkClock } from '#gateway/link/supervise.ts'
import { openHeard } from '#gateway/reading/heard.ts'
import { quantityNamed } from '#gateway/reading/quantity.ts'
import { type Reading, toValues } from '#gateway/reading/reading.ts'
import { driverOf } from '#gateway/sensors/all.ts'
import { decoderOf, toReadings } from '#gateway/sensors/read.ts'
import type { Outcome } from '#gateway/sensors/sensors.ts'
import type { Device, Emission, Meant } from '#sim/devices/device.ts'
import { gnss } from '#sim/devices/gnss.ts'
import { loraModem } from '#sim/devices/lora-modem.ts'
import { microcontroller } from '#sim/devices/microcontroller.ts'
import { nova } from '#sim/devices/nova.ts'
import { plantower } from '#sim/devices/plantower.ts'
import {
  drop,
  duplicate,
  type Fault,
  flipBits,
  noise,
  type SimClock,
  split,
  stall,
  unplug,
  type Wire,
} from '#sim/faults.ts'
import { fleet } from '#sim/fleet.ts'
import { inProcess } from '#sim/outlets/in-process.ts'
import type { OpenOutlet, Outlet } from '#sim/outlets/outlet.ts'
import { hasScript, pty } from '#sim/outlets/pty.ts'
import { tcp } from '#sim/outlets/tcp.ts'
import { generator } from '#sim/random.ts'
import { type Said, type SimulatedStation, type StationPlan, startStation } from '#sim/station.ts'
import { type Conditions, type Place, world } from '#sim/world.ts'
import { surroundings } from '#test/sensors/frames.ts'

const seed = 20261121
const startMs = Date.UTC(2026, 10, 21, 6)
const berlin: Place = { latitude: 52.52, longitude: 13.405, altitudeM: 40 }
const hourMs = 3_600_000

const aborts: AbortController[] = []
const signalOfTest = (): AbortController => {
  const controller = new AbortController()
  aborts.push(controller)
  return controller
}
afterEach(() => {
  for (const controller of aborts.splice(0)) controller.abort()
})

/** Time that stands still until it is moved; sleepers wake in order. */
const handClock = (nowMs: number) => {
  type Sleeper = { readonly atMs: number; readonly wake: () => void }
  const sleepers = new Set<Sleeper>()
  const clock: SimClock = {
    utcMs: () => nowMs,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        const sleeper = { atMs: nowMs + ms, wake: resolve }
        sleepers.add(sleeper)
        const stop = (): void => {
          sleepers.delete(sleeper)
          reject(signal.reason)
        }
        if (signal.aborted) stop()
        else signal.addEventListener('abort', stop, { once: true })
      }),
  }
  const advance = async (ms: number): Promise<void> => {
    const untilMs = nowMs + ms
    for (;;) {
      // Everything that is due may first be said, and heard.
      await new Promise((resolve) => setImmediate(resolve))
      const next = [...sleepers].sort((a, b) => a.atMs - b.atMs)[0]
      if (!next || next.atMs > untilMs) break
      nowMs = next.atMs
      sleepers.delete(next)
      next.wake()
    }
    nowMs = untilMs
  }
  return { clock, advance }
}

describe('the world', () => {
  const quantities = ['temperature', 'humidity', 'pressure', 'pm1', 'pm2_5', 'pm10'] as const
  const overHours = (place: Place, hours: number, worldSeed = seed): Conditions[] =>
    Array.from({ length: hours }, (_, hour) => world(worldSeed).at(place, startMs + hour * hourMs))

  const correlation = (a: readonly number[], b: readonly number[]): number => {
    const mean = (values: readonly number[]): number =>
      values.reduce((sum, value) => sum + value, 0) / values.length
    const [ma, mb] = [mean(a), mean(b)]
    const covariance = mean(a.map((value, index) => (value - ma) * (b[index]! - mb)))
    const deviation = (values: readonly number[], m: number): number =>
      Math.sqrt(mean(values.map((v) => (v - m) ** 2)))
    return covariance / (deviation(a, ma) * deviation(b, mb))
  }

  test('is the same for the same seed, place and time, and another for another seed', () => {
    expect(overHours(berlin, 48)).toEqual(overHours(berlin, 48))
    expect(overHours(berlin, 48)).not.toEqual(overHours(berlin, 48, seed + 1))
  })

  test('stays within what is plausible for every quantity, from the tropics to the pole, over a year', () => {
    const earth = world(seed)
    for (const latitude of [-75, -33, 0, 20, 52, 68])
      for (let day = 0; day < 365; day += 1) {
        const place = { latitude, longitude: latitude * 2, altitudeM: 200 }
        const conditions = earth.at(place, startMs + day * 24.7 * hourMs)
        for (const name of quantities) {
          const { min, max } = quantityNamed(name)!
          expect(conditions[name]).toBeGreaterThanOrEqual(min)
          expect(conditions[name]).toBeLessThanOrEqual(max)
        }
        expect(conditions.pm10).toBeGreaterThanOrEqual(conditions.pm2_5)
      }
  })

  test('is warmer at three in the afternoon than at three at night, on most days', () => {
    const earth = world(seed)
    const localMs = startMs - 6 * hourMs - (berlin.longitude / 15) * hourMs
    const warmer = Array.from({ length: 100 }, (_, day) => {
      const at = (hour: number): number => earth.at(berlin, localMs + (24 * day + hour) * hourMs).temperature
      return at(15) > at(3)
    }).filter(Boolean)
    expect(warmer.length).toBeGreaterThan(80)
  })

  test('neighbours see nearly the same, and a city 500 km away does not', () => {
    const neighbour = { ...berlin, latitude: berlin.latitude + 0.009 }
    const far = { latitude: 48.14, longitude: 11.58, altitudeM: 520 }
    const pm = (place: Place): number[] => overHours(place, 24 * 60).map(({ pm2_5 }) => pm2_5)
    expect(correlation(pm(berlin), pm(neighbour))).toBeGreaterThan(0.9)
    expect(correlation(pm(berlin), pm(far))).toBeLessThan(0.6)
  })

  test('has pollution episodes that pass', () => {
    const pm = overHours(berlin, 24 * 60).map(({ pm2_5 }) => pm2_5)
    expect(Math.max(...pm)).toBeGreaterThan(40)
    expect(pm.filter((value) => value > 40).length).toBeLessThan(pm.length / 5)
  })

  test('changes slowly: no step of a minute is a jump', () => {
    const earth = world(seed)
    for (let minute = 0; minute < 3000; minute += 1) {
      const before = earth.at(berlin, startMs + minute * 60_000)
      const after = earth.at(berlin, startMs + (minute + 1) * 60_000)
      expect(Math.abs(after.temperature - before.temperature)).toBeLessThan(0.5)
      expect(Math.abs(after.pressure - before.pressure)).toBeLessThan(0.5)
    }
  })
})

const air = (timeMs: number): Conditions => world(seed).at(berlin, timeMs)

/** What the gateway's driver makes of a device's bytes. */
const decoded = (device: Device, bytes: Uint8Array): readonly Outcome[] => {
  const driver = driverOf(device.model)
  const decoder = decoderOf(driver, device.settings, surroundings())
  return [...framer(driver.framing).push(bytes)].flatMap((frame) => decoder.decode(frame, 0))
}

/** Readings as they are carried: scaled to each quantity's decimals. */
const carried = ({ node, measurements }: Meant) => ({ node, values: toValues(measurements) })

const readingsIn = (outcomes: readonly Outcome[]) =>
  outcomes.flatMap((outcome) => (outcome.kind === 'reading' ? [carried(outcome)] : []))

const nodes = [
  { address: 11, air, payload: 'text' as const },
  { address: 12, air, payload: 'cbor' as const },
]
const makers: Record<string, () => Device> = {
  PMS5003: () => plantower({ air }),
  PMS5003T: () => plantower({ air, variant: 'pms5003t' }),
  'PMS5003 warming up': () => plantower({ air, warmUpMs: 30_000 }),
  SDS011: () => nova({ air }),
  'SDS011 warming up': () => nova({ air, warmUpMs: 30_000 }),
  'name=value': () => microcontroller({ air }),
  CSV: () => microcontroller({ air, style: 'csv' }),
  JSON: () => microcontroller({ air, style: 'json', failEvery: 3 }),
  GNSS: () => gnss({ seed, place: berlin }),
  'GNSS in the south-west': () =>
    gnss({ seed, place: { latitude: -33.4, longitude: -70.6, altitudeM: 520 } }),
  'GNSS that searches': () => gnss({ seed, place: berlin, searchMs: 30_000 }),
  RYLR998: () => loraModem({ seed, nodes }),
}

describe('devices', () => {
  test.each(Object.keys(makers))('%s: the gateway’s driver reads what the device meant', (name) => {
    const device = makers[name]!()
    for (const { bytes } of device.powerOn(startMs)) expect(readingsIn(decoded(device, bytes))).toEqual([])
    for (let second = 0; second < 60; second += 1) {
      const emission = device.speak(startMs + second * 1000 + 130)!
      expect(emission.meant.length).toBeGreaterThan(0)
      expect(readingsIn(decoded(device, emission.bytes))).toEqual(emission.meant.map(carried))
    }
  })

  test('what they mean is the air around them, as finely as each device says it', () => {
    const steps: Record<string, readonly (readonly [quantity: keyof Conditions, halfStep: number])[]> = {
      PMS5003: [
        ['pm1', 0.5],
        ['pm2_5', 0.5],
        ['pm10', 0.5],
      ],
      SDS011: [
        ['pm2_5', 0.05],
        ['pm10', 0.05],
      ],
      CSV: [
        ['temperature', 0.005],
        ['humidity', 0.005],
        ['pressure', 0.005],
      ],
      RYLR998: [
        ['temperature', 0.005],
        ['humidity', 0.005],
        ['pressure', 0.005],
      ],
    }
    for (const [name, quantities] of Object.entries(steps)) {
      const device = makers[name]!()
      for (let minute = 0; minute < 60; minute += 1) {
        const timeMs = startMs + minute * 60_000
        const measured = device.speak(timeMs)!.meant.flatMap(({ measurements }) => measurements)
        for (const [quantity, halfStep] of quantities) {
          const value = measured.find((one) => one.quantity === quantity)?.value
          expect(Math.abs(value! - air(timeMs)[quantity])).toBeLessThanOrEqual(halfStep + 1e-9)
        }
      }
    }
  })

  const frames = new URL('../../shared/frames/', import.meta.url)
  const haveFrames = existsSync(frames)
  if (!haveFrames) console.warn('Published commands are skipped: there is no ../shared/frames.')

  test.skipIf(!haveFrames)('the published commands of particle sensors are obeyed and acknowledged', () => {
    const command = (file: string, device: string): Uint8Array => {
      const entries = JSON.parse(readFileSync(new URL(`${file}.json`, frames), 'utf8')) as {
        device: string
        hex: string
      }[]
      return new Uint8Array(Buffer.from(entries.find((entry) => entry.device === device)!.hex, 'hex'))
    }
    const hexOf = (emissions: readonly Emission[]): string[] =>
      emissions.map(({ bytes }) => Buffer.from(bytes).toString('hex'))

    const pms = plantower({ air })
    expect(hexOf(pms.hear(command('plantower-pms5003', 'PMSx003 cmd passive mode'), startMs))).toEqual([
      '424d0004e1000174',
    ])
    expect(pms.speak(startMs)).toBeUndefined()
    const answers = pms.hear(command('plantower-pms5003', 'PMSx003 cmd read (passive)'), startMs)
    expect(answers[0]!.bytes).toHaveLength(32)
    expect(hexOf(pms.hear(command('plantower-pms5003', 'PMSx003 cmd sleep'), startMs))).toEqual([
      '424d0004e4000177',
    ])
    expect(pms.hear(command('plantower-pms5003', 'PMSx003 cmd read (passive)'), startMs)).toEqual([])
    pms.hear(command('plantower-pms5003', 'PMSx003 cmd wake'), startMs)
    pms.hear(command('plantower-pms5003', 'PMSx003 cmd active mode'), startMs)
    expect(pms.speak(startMs)).toBeDefined()

    const sds = nova({ air })
    sds.hear(command('nova-sds011', 'SDS011 cmd set passive (query) mode'), startMs)
    expect(sds.speak(startMs)).toBeUndefined()
    expect(sds.hear(command('nova-sds011', 'SDS011 cmd query data'), startMs)[0]!.meant).toHaveLength(1)
    sds.hear(command('nova-sds011', 'SDS011 cmd sleep'), startMs)
    expect(sds.hear(command('nova-sds011', 'SDS011 cmd query data'), startMs)).toEqual([])
    sds.hear(command('nova-sds011', 'SDS011 cmd wake'), startMs)
    expect(sds.hear(command('nova-sds011', 'SDS011 cmd query data'), startMs)).toHaveLength(1)
  })

  test('the modem answers as the guide says', () => {
    const modem = makers.RYLR998!()
    const said = (text: string): string =>
      modem
        .hear(new Uint8Array(Buffer.from(text)), startMs)
        .map(({ bytes }) => Buffer.from(bytes).toString())
        .join('')
    expect(said('AT\r\n')).toBe('+OK\r\n')
    expect(said('AT+ADDR')).toBe('')
    expect(said('ESS=50\r\nAT+ADDRESS?\r\n')).toBe('+OK\r\n+ADDRESS=50\r\n')
    expect(said('AT+NONSENSE\r\n')).toBe('+ERR=4\r\n')
  })
})

describe('faults', () => {
  const recorder = () => {
    const written: number[][] = []
    const cable: string[] = []
    const wire: Wire = {
      write: (bytes) => {
        written.push([...bytes])
        return true
      },
      unplug: () => void cable.push('out'),
      plug: () => void cable.push('in'),
    }
    return { written, cable, wire }
  }
  const message = Uint8Array.of(1, 2, 3, 4)
  const through = (fault: Fault, times = 1): number[][] => {
    const { written, wire } = recorder()
    const worse = fault(wire)
    for (let sent = 0; sent < times; sent += 1) worse.write(message)
    return written
  }
  const never = (): number => 0.999
  const always = (): number => 0

  test('do nothing where their chance does not come', () => {
    for (const fault of [drop, duplicate, flipBits, split])
      expect(through(fault(0.5, never))).toEqual([[1, 2, 3, 4]])
    expect(through(noise(0.5, 4, never))).toEqual([[1, 2, 3, 4]])
  })

  test('drop, duplicate, flip, split and add noise where it does', () => {
    expect(through(drop(0.5, always))).toEqual([])
    expect(through(duplicate(0.5, always))).toEqual([
      [1, 2, 3, 4],
      [1, 2, 3, 4],
    ])
    expect(through(flipBits(0.5, always))).toEqual([[0, 3, 2, 5]])
    expect(through(split(0.5, always))).toEqual([[1], [2, 3, 4]])
    expect(through(noise(0.5, 4, always))).toEqual([[0], [1, 2, 3, 4]])
  })

  test('come as often as their chance says, the same for the same seed', () => {
    const run = (): number => through(drop(0.3, generator(seed)), 1000).length
    expect(run()).toBe(run())
    expect(Math.abs(run() - 700)).toBeLessThan(60)
  })

  test('stall holds bytes back and loses none; unplug pulls the cable and puts it back', async () => {
    const { clock, advance } = handClock(startMs)
    const { signal } = signalOfTest()
    const held = recorder()
    const stalled = stall(0.5, 100, always, clock, signal)(held.wire)
    stalled.write(Uint8Array.of(1))
    stalled.write(Uint8Array.of(2))
    expect(held.written).toEqual([])
    await advance(100)
    expect(held.written).toEqual([[1], [2]])

    const pulled = recorder()
    const unplugged = unplug(0.5, 100, always, clock, signal)(pulled.wire)
    expect(unplugged.write(message)).toBe(false)
    expect(pulled).toMatchObject({ written: [], cable: ['out'] })
    await advance(100)
    expect(pulled.cable).toEqual(['out', 'in'])
  })
})

describe('fleets', () => {
  test('are the same for the same seed, and a larger one begins with the smaller', () => {
    expect(fleet({ seed, stations: 20 }).slice(0, 5)).toEqual(fleet({ seed, stations: 5 }))
    expect(fleet({ seed, stations: 5 })).not.toEqual(fleet({ seed: seed + 1, stations: 5 }))
  })

  test('have every kind of device on the first station, and ids that are ids', () => {
    const plans = fleet({ seed, stations: 30 })
    expect(plans[0]!.sensors.map(({ kind }) => kind).sort()).toEqual([
      'gnss',
      'lora',
      'microcontroller',
      'nova',
      'plantower',
    ])
    for (const { name, sensors } of plans) {
      expect(name).toMatch(/^[A-Za-z0-9_-]{1,64}$/)
      expect(new Set(sensors.map(({ sensor }) => sensor)).size).toBe(sensors.length)
    }
    expect(new Set(plans.map(({ sensors }) => sensors.map(({ kind }) => kind).join())).size).toBeGreaterThan(
      4,
    )
  })
})

type Kept = { readonly reading: Reading; readonly model: string }

// A wait looks again when it ends: shortened, it changes nothing but how long a link takes to be opened again.
const impatient: LinkClock = {
  utcMs: () => Date.now(),
  steadyMs: () => performance.now(),
  sleep: (ms, signal) => delay(Math.min(ms, 20), undefined, { signal }),
}

/** The gateway's half: reads every sensor of a station as a station does until aborted, and keeps what it read. */
const readAll = (station: SimulatedStation, signal: AbortSignal) => {
  const kept: Kept[] = []
  const refusals: string[] = []
  const devices = station.sensors.map(({ sensor, model, settings, baudRate, opener, link }) =>
    readDevice({
      device: { id: sensor, model, settings, baudRate, opener: opener ?? linkNamed(link, { baudRate }) },
      surroundings: surroundings(),
      clock: impatient,
      take: async (reading) => void kept.push({ reading, model }),
      takeFrame: async (frame) => {
        const opened = openHeard(frame)
        if (!opened.ok) throw new Error(opened.detail)
        for (const reading of opened.frame.readings) kept.push({ reading, model })
      },
      refused: ({ reason }) => void refusals.push(reason),
    }),
  )
  return {
    kept,
    refusals,
    links: devices.map(({ status }) => status.link),
    ended: Promise.all(devices.map((device) => device.run(signal))),
  }
}

const outletKinds: readonly (readonly [kind: string, make: () => Promise<OpenOutlet>, skip: boolean])[] = [
  ['in process', async () => inProcess, false],
  ['over tcp://', async () => tcp, false],
  [
    'on pseudo-terminals through serialport',
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'groundtruth-sim-'))
      onTestFinished(() => rm(folder, { recursive: true, force: true }))
      return pty(folder)
    },
    !(await hasScript()),
  ],
]

describe('a station', () => {
  const plan: StationPlan = fleet({ seed, stations: 1 })[0]!

  for (const [kind, make, skip] of outletKinds) {
    if (skip)
      console.warn(`A station ${kind} is SKIPPED: script(1) is missing. Install it (Debian: bsdutils).`)

    test.skipIf(skip)(
      `with all five devices is read ${kind}: every reading that was taken arrives`,
      async () => {
        const { clock, advance } = handClock(startMs)
        const controller = signalOfTest()
        const said: Said[] = []
        const outlet = await make()
        const station = await startStation(
          plan,
          { world: world(seed), outlet, clock, onSaid: (one) => void said.push(one) },
          controller.signal,
        )
        const gateway = readAll(station, controller.signal)
        await expect.poll(() => gateway.links.every(({ open }) => open), { timeout: 10_000 }).toBe(true)
        const meant = (): Said[] => said.filter((one) => one.taken && one.meant.length > 0)
        for (let step = 0; step < 20; step += 1) await advance(500)
        const expected = (): number => meant().reduce((total, one) => total + one.meant.length, 0)
        await expect.poll(() => gateway.kept.length, { timeout: 10_000 }).toBe(expected())
        expect(expected()).toBeGreaterThan(50)
        expect(gateway.refusals).toEqual([])

        const modelsRead = new Set(gateway.kept.map(({ model }) => model))
        expect(modelsRead).toEqual(new Set(station.sensors.map(({ model }) => model)))
        for (const one of meant()) {
          const sensors = one.meant.map(({ node }) =>
            node === undefined ? one.sensor : `${one.sensor}-${node}`,
          )
          for (const sensor of sensors)
            expect(gateway.kept.some(({ reading }) => reading.sensor === sensor)).toBe(true)
        }
        controller.abort()
        await Promise.all([station.ended, gateway.ended])
      },
    )

    test.skipIf(skip)(`is read again ${kind} after a cable was pulled and put back`, async () => {
      const { clock, advance } = handClock(startMs)
      const controller = signalOfTest()
      const oneSensor = { ...plan, sensors: plan.sensors.filter((sensor) => sensor.kind === 'plantower') }
      const station = await startStation(
        oneSensor,
        { world: world(seed), outlet: await make(), clock },
        controller.signal,
      )
      const gateway = readAll(station, controller.signal)
      const [sensor] = station.sensors
      const link = gateway.links[0]!
      const nextReading = async (): Promise<void> => {
        const before = gateway.kept.length
        await expect
          .poll(
            async () => {
              await advance(1000)
              return gateway.kept.length
            },
            { timeout: 10_000 },
          )
          .toBeGreaterThan(before)
      }
      await nextReading()
      await sensor!.unplug()
      await expect.poll(() => link.closes, { timeout: 10_000 }).toBe(1)
      await sensor!.plug()
      await nextReading()
      expect(link.opens).toBe(2)
      controller.abort()
      await Promise.all([station.ended, gateway.ended])
    })
  }

  test('with a bad cable gives no reading that no device meant', async () => {
    const { clock, advance } = handClock(startMs)
    const controller = signalOfTest()
    const said: Said[] = []
    const random = generator(seed)
    const checked = plan.sensors.filter(({ kind }) => kind === 'plantower' || kind === 'gnss')
    const station = await startStation(
      { ...plan, sensors: checked },
      {
        world: world(seed),
        outlet: inProcess,
        clock,
        onSaid: (one) => void said.push(one),
        faults: () => [
          drop(0.05, random),
          duplicate(0.05, random),
          noise(0.1, 40, random),
          flipBits(0.0005, random),
          split(0.5, random),
          stall(0.02, 3000, random, clock, controller.signal),
          unplug(0.01, 2000, random, clock, controller.signal),
        ],
      },
      controller.signal,
    )
    const gateway = readAll(station, controller.signal)
    await expect.poll(() => gateway.links.every(({ open }) => open)).toBe(true)
    // The gateway reconnects in its own time: the simulated one goes on in short steps until it has.
    for (let step = 0; step < 120; step += 1) {
      await advance(5000)
      await expect
        .poll(
          async () => {
            await advance(100)
            return gateway.links.every(({ open }) => open)
          },
          { timeout: 10_000, interval: 5 },
        )
        .toBe(true)
    }
    const key = (sensor: string, measurements: unknown): string => `${sensor} ${JSON.stringify(measurements)}`
    const meant = new Set(
      said.flatMap((one) =>
        one.meant.flatMap(({ measurements }) =>
          toReadings('m', one.sensor, [{ kind: 'reading', measurements }], 0).readings.map(
            ({ sensor, values }) => key(sensor, values),
          ),
        ),
      ),
    )
    expect(gateway.kept.length).toBeGreaterThan(800)
    expect(gateway.refusals.length).toBeGreaterThan(10)
    for (const { reading } of gateway.kept) expect(meant.has(key(reading.sensor, reading.values))).toBe(true)
    controller.abort()
    await Promise.all([station.ended, gateway.ended])
  })

  test('counts what it said and what was taken, and an outlet without a listener takes nothing', async () => {
    const { clock, advance } = handClock(startMs)
    const controller = signalOfTest()
    const station = await startStation(
      plan,
      { world: world(seed), outlet: inProcess, clock },
      controller.signal,
    )
    await advance(10_000)
    for (const { counts } of station.sensors) {
      expect(counts.spoken).toBeGreaterThanOrEqual(10)
      expect(counts.taken).toBe(0)
    }
    controller.abort()
    await station.ended
  })

  test('two hundred stations run in one process', async () => {
    const { clock, advance } = handClock(startMs)
    const controller = signalOfTest()
    const plans = fleet({ seed, stations: 200 })
    const stations = await Promise.all(
      plans.map((one) =>
        startStation(one, { world: world(seed), outlet: inProcess, clock }, controller.signal),
      ),
    )
    const gateways = stations.map((station) => readAll(station, controller.signal))
    const links = gateways.flatMap((gateway) => gateway.links)
    await expect.poll(() => links.every(({ open }) => open), { timeout: 10_000 }).toBe(true)
    await advance(3000)
    const taken = stations
      .flatMap(({ sensors }) => sensors)
      .reduce((total, { counts }) => total + counts.taken, 0)
    const frames = (): number => links.reduce((total, { frames: count }) => total + count, 0)
    expect(taken).toBeGreaterThan(1000)
    await expect.poll(frames, { timeout: 10_000 }).toBeGreaterThanOrEqual(taken)
    controller.abort()
    await Promise.all([...stations, ...gateways].map(({ ended }) => ended))
  })
})

describe('outlets', () => {
  test.each(outletKinds.slice(0, 2))('%s: there is one listener at a time', async (_kind, make) => {
    const heard: string[] = []
    const outlet: Outlet = await (await make())(
      'one',
      (bytes) => void heard.push(Buffer.from(bytes).toString()),
    )
    onTestFinished(() => outlet.unplug())
    const { signal } = signalOfTest()
    const opener = outlet.opener ?? linkNamed(outlet.link, { baudRate: 9600 })
    const first = await opener.open(signal)
    first.on('error', () => undefined)
    first.write('hello')
    await expect.poll(() => heard.join('')).toBe('hello')
    await outlet.unplug()
    await outlet.unplug()
    first.resume()
    await expect.poll(() => first.destroyed || first.readableEnded).toBe(true)
    await expect(opener.open(signal)).rejects.toThrow(/\n/)
    await outlet.plug()
    const second = await opener.open(signal)
    second.on('error', () => undefined).destroy()
  })
})
