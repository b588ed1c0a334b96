/** Modbus RTU: published answers, the library's own server as a peer, and a bus as buses are. */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import modbusSerial from 'modbus-serial'
import { describe, expect, onTestFinished, test } from 'vitest'
import { readDevice } from '#gateway/device.ts'
import { linkNamed } from '#gateway/link/named.ts'
import { fromScaled, quantityCoded } from '#gateway/reading/quantity.ts'
import type { Reading } from '#gateway/reading/reading.ts'
import { driverOf } from '#gateway/sensors/all.ts'
import { blocksOf, registerRow } from '#gateway/sensors/modbus-tables.ts'
import type { Refusal } from '#gateway/sensors/read.ts'
import type { Settings } from '#gateway/sensors/sensors.ts'
import { hasScript, pty } from '#sim/outlets/pty.ts'
import { bytesIn, framesFile, haveFrames, hex, surroundings } from './frames.ts'

/** A driver on a link, until the test ends: what it read and refused. */
const reading = (model: string, settings: Settings, link: string) => {
  const stop = new AbortController()
  const readings: Reading[] = []
  const refusals: Refusal[] = []
  const device = readDevice({
    device: { id: 'bus', model, settings, baudRate: 9600, opener: linkNamed(link, { baudRate: 9600 }) },
    surroundings: surroundings(),
    take: async (one) => void readings.push(one),
    refused: (one) => void refusals.push(one),
  })
  const running = device.run(stop.signal)
  onTestFinished(async () => {
    stop.abort()
    await running
  })
  return { readings, refusals, status: device.status }
}

const valuesOf = ({ values }: Reading): Record<string, number | string> =>
  Object.fromEntries(
    values.map((value) => {
      const known = quantityCoded(value.quantity)!
      return [known.name, value.scaled === null ? value.absent : fromScaled(known, value.scaled)]
    }),
  )

/** A device on a TCP port that answers each request as `reply` says. */
const bus = async (reply: (request: Buffer, socket: Socket) => void): Promise<string> => {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined).on('data', (request: Buffer) => reply(request, socket))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const attic = { intervalS: 0.2, timeoutMs: 150, devices: [{ unit: 1, name: 'attic', table: 'xy-md02' }] }
const both = hex('010404013102222ace')

describe.skipIf(!haveFrames)('published frames', () => {
  const entries = (name: string) => (haveFrames ? framesFile(name) : [])
  const request = (device: string): string =>
    entries('modbus-sht20').find((one) => one.decoded.command === device)!.hex!

  test('an XY-MD02 is asked for both registers at once, as its manual does, and its answer is read', async () => {
    const asked: string[] = []
    const link = await bus((bytes, socket) => {
      asked.push(bytes.toString('hex'))
      socket.write(both)
    })
    const { readings } = reading('modbus-rtu', attic, link)
    await expect.poll(() => readings.length).toBeGreaterThan(1)
    expect(asked[0]).toBe(request('read both'))
    expect(readings[0]).toMatchObject({ sensor: 'bus-attic' })
    expect(valuesOf(readings[0]!)).toEqual({ temperature: 30.5, humidity: 54.6 })
  })

  const rows = [
    ...entries('modbus-sht20').map((entry) => ['modbus-sht20', entry] as const),
    ...entries('modbus-soil').map((entry) => ['modbus-soil', entry] as const),
    ...entries('modbus-noise').map((entry) => ['modbus-noise', entry] as const),
  ].filter(([, { direction }]) => direction === undefined)

  test.each(rows)('%s $hex', async (_file, entry) => {
    const frame = bytesIn(entry)
    const fc = (frame[1]! & 0x7f) as 3 | 4
    const words = frame[1]! & 0x80 ? 1 : frame[2]! / 2
    const names = {
      temperatureC: 'temperature',
      humidityPct: 'humidity',
      moisturePct: 'soil_moisture',
      LAdB: 'noise',
    } as const
    const wanted = Object.entries(entry.decoded).filter(([name]) => name in names)
    // The values in the order in which the frame holds them: as many rows, from any address on.
    const table = Array.from({ length: words }, (_, at) => ({
      fc,
      address: 7 + at,
      scale: 0.1,
      quantity: wanted[at] ? names[wanted[at]![0] as keyof typeof names] : 'noise',
    }))
    const link = await bus((_request, socket) => void socket.write(frame))
    const settings = { ...attic, devices: [{ unit: frame[0]!, name: 'x', table }] }
    const { readings, refusals } = reading('modbus-rtu', settings, link)
    await expect.poll(() => readings.length).toBeGreaterThan(0)
    if (entry.decoded.exceptionCode) {
      expect(refusals[0]!.detail).toBe('unit 1 (x): exception 2, illegal data address')
      expect(Object.values(valuesOf(readings[0]!))).toEqual(['device-error'])
    } else
      expect(Object.values(valuesOf(readings[0]!)).sort()).toEqual(wanted.map(([, value]) => value).sort())
  })

  test('a SenseAir S8 is asked for status to CO2 in one request, under the address of any', async () => {
    const [asked, reply] = ['SenseAir S8 request', 'SenseAir S8 response IR1..IR4'].map((device) =>
      entries('senseair-s8').findLast((entry) => entry.device === device),
    )
    let request = ''
    const link = await bus((bytes, socket) => {
      request = bytes.toString('hex')
      socket.write(bytesIn(reply!))
    })
    const { readings } = reading('senseair-s8', { intervalS: 2 }, link)
    await expect.poll(() => readings.length).toBe(1)
    expect(request).toBe(asked!.hex)
    expect(valuesOf(readings[0]!)).toEqual({ co2: 500 })
  })

  test('the other answers of an S8 are of requests that are not made, and have the right CRC', () => {
    for (const entry of entries('senseair-s8').filter(({ direction }) => direction === undefined)) {
      const bytes = bytesIn(entry)
      expect([0x04, 0x84]).toContain(bytes[1])
      expect(bytes.length).toBe(5 + bytes[2]!)
    }
  })
})

describe('a SenseAir S8', () => {
  const answered = (status: number, co2: number): Record<string, number | string> => {
    const decoder = driverOf('senseair-s8').configure({}, surroundings())
    const frame = hex(
      `000000${[status, 0, 0, co2].map((word) => word.toString(16).padStart(4, '0')).join('')}`,
    )
    const [outcome] = decoder.decode(frame, 0)
    if (outcome?.kind !== 'reading') return {}
    return Object.fromEntries(
      outcome.measurements.map((one) => [one.quantity, one.value === null ? one.absent : one.value]),
    )
  }

  test('that reports a fault, or is out of its range, or has not measured yet, gives no value', () => {
    expect(answered(0, 612)).toEqual({ co2: 612 })
    for (const bit of [0, 1, 2, 3, 4, 6]) expect(answered(1 << bit, 612)).toEqual({ co2: 'device-error' })
    expect(answered(1 << 5, 612)).toEqual({ co2: 'out-of-range' })
    expect(answered(0, 2001)).toEqual({ co2: 'out-of-range' })
    expect(answered(0, 0)).toEqual({ co2: 'warming-up' })
  })
})

describe('a bus', () => {
  test('goes on although one device is missing, and says which', async () => {
    const link = await bus((request, socket) => {
      if (request[0] === 1) socket.write(both)
    })
    const settings = {
      ...attic,
      devices: [{ unit: 9, name: 'gone', table: 'soil' }, ...attic.devices],
    }
    const { readings, refusals } = reading('modbus-rtu', settings, link)
    await expect.poll(() => readings.length).toBeGreaterThan(2)
    expect(new Set(readings.map(({ sensor }) => sensor))).toEqual(new Set(['bus-attic']))
    expect(new Set(refusals.map(({ detail }) => detail))).toEqual(new Set(['unit 9 (gone) does not answer']))
  })

  test('with an echo, a banner, an answer of somebody else and one that comes in pieces is read all the same', async () => {
    const link = await bus((request, socket) => {
      socket.write(request) // many adapters hear themselves
      socket.write('LCTECH relay V1.0\r\n')
      socket.write(hex('0204020131bcc4'))
      for (const byte of both) socket.write(Uint8Array.of(byte))
    })
    const { readings, refusals } = reading('modbus-rtu', attic, link)
    await expect.poll(() => readings.length).toBeGreaterThan(2)
    for (const one of readings) expect(valuesOf(one)).toEqual({ temperature: 30.5, humidity: 54.6 })
    expect(refusals).toEqual([])
  })

  test('an answer with a wrong CRC, and one that comes too late, are no answers', async () => {
    let asked = 0
    const link = await bus((_request, socket) => {
      asked += 1
      const spoilt = both.slice()
      spoilt[4]! ^= 1
      if (asked === 1) socket.write(spoilt)
      else if (asked === 2) setTimeout(() => socket.write(hex('010404ffff0222')), 100)
      else socket.write(both)
    })
    const { readings, refusals } = reading('modbus-rtu', attic, link)
    await expect.poll(() => readings.length).toBeGreaterThan(0)
    expect(valuesOf(readings[0]!)).toEqual({ temperature: 30.5, humidity: 54.6 })
    expect(refusals.map(({ reason }) => reason)).toEqual(['device-error', 'device-error'])
  })

  test('full of noise stays small, and is read again once the noise ends', { timeout: 20_000 }, async () => {
    let quiet = false
    const noise = Buffer.alloc(64 * 1024, 0x01)
    const link = await bus((_request, socket) => {
      if (quiet) socket.write(both)
      else for (let times = 0; times < 20; times += 1) socket.write(noise)
    })
    const before = process.memoryUsage().rss
    const { readings, refusals, status } = reading('modbus-rtu', attic, link)
    await expect.poll(() => refusals.length, { timeout: 15_000 }).toBeGreaterThan(2)
    expect(process.memoryUsage().rss - before).toBeLessThan(100_000_000)
    quiet = true
    await expect.poll(() => readings.length, { timeout: 10_000 }).toBeGreaterThan(0)
    expect(status.link.opens).toBe(1)
  })

  test('registers in a row are one request, others are not', () => {
    const row = (fc: 3 | 4, address: number, type: 'u16' | 'f32' = 'u16') =>
      registerRow.parse({ fc, address, type, quantity: 'noise' })
    expect(blocksOf([row(3, 5), row(3, 0, 'f32'), row(3, 2), row(4, 3), row(3, 6)])).toEqual([
      { fc: 3, address: 0, count: 3 },
      { fc: 3, address: 5, count: 2 },
      { fc: 4, address: 3, count: 1 },
    ])
  })
})

const withPty = await hasScript()
if (!withPty)
  console.warn('The peer on a pseudo-terminal is SKIPPED: script(1) is missing (Debian: bsdutils).')

describe.skipIf(!withPty)('the server of modbus-serial', () => {
  test('is read over a real serial port, floats and word order included', { timeout: 30_000 }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'groundtruth-modbus-'))
    onTestFinished(() => rm(folder, { recursive: true, force: true }))
    // Two terminals, joined: one for the server's own serialport, one for ours.
    let toServer: ((bytes: Uint8Array) => boolean) | undefined
    const open = pty(folder)
    const ours = await open('ours', (bytes) => void toServer?.(bytes))
    const theirs = await open('theirs', (bytes) => void ours.write(bytes))
    toServer = theirs.write
    onTestFinished(async () => {
      await ours.unplug()
      await theirs.unplug()
    })
    const words = new DataView(new ArrayBuffer(4))
    words.setFloat32(0, 21.5)
    const registers = [words.getUint16(0), words.getUint16(2), words.getUint16(2), words.getUint16(0), 0xfff6]
    const server = new modbusSerial.ServerSerial(
      { getInputRegister: (address: number) => registers[address] ?? 0, getHoldingRegister: () => 0x8000 },
      { path: theirs.link, baudRate: 9600, unitID: 17 },
    )
    await once(server, 'initialized')
    onTestFinished(
      () =>
        new Promise<void>((resolve) => {
          server.close(() => resolve())
        }),
    )
    const table = [
      { fc: 4, address: 0, type: 'f32', quantity: 'temperature' },
      { fc: 4, address: 2, type: 'f32', wordOrder: 'low-first', quantity: 'dew_point' },
      { fc: 4, address: 4, quantity: 'soil_temperature' },
      { fc: 3, address: 0, type: 'u16', quantity: 'noise', invalid: [0x8000] },
    ]
    const settings = { intervalS: 0.5, timeoutMs: 1000, devices: [{ unit: 17, name: 'peer', table }] }
    const { readings } = reading('modbus-rtu', settings, ours.link)
    await expect.poll(() => readings.length, { timeout: 15_000 }).toBeGreaterThan(1)
    expect(valuesOf(readings[1]!)).toEqual({
      temperature: 21.5,
      dew_point: 21.5,
      soil_temperature: -10,
      noise: 'no-data',
    })
  })
})
