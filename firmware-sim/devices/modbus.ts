/** Devices on an RS-485 bus: they answer Modbus RTU requests to their own address, and say nothing else. */
import type { QuantityName } from '../../gateway/reading/quantity.ts'
import type { Settings } from '../../gateway/sensors/sensors.ts'
import { chanceAt } from '../random.ts'
import type { Conditions } from '../world.ts'
import { answer, commandReader, type Device, type Emission, type Kind, rounded } from './device.ts'

// Modbus application protocol V1.1b3; over serial line V1.02.
const requestBytes = 8
const illegalFunction = 1
const illegalAddress = 2

const crc16 = (bytes: Iterable<number>): number => {
  let crc = 0xffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >> 1) ^ 0xa001 : crc >> 1
  }
  return crc
}

const withCrc = (bytes: readonly number[]): Uint8Array => {
  const crc = crc16(bytes)
  return Uint8Array.of(...bytes, crc & 0xff, crc >> 8)
}

const takeRequest = (bytes: Uint8Array) => {
  if (bytes.length < requestBytes) return { drop: 0 }
  const request = bytes.slice(0, requestBytes)
  return crc16(request) === 0 ? { drop: requestBytes, command: request } : { drop: 1 }
}

/** Something that is in a register: the value as the gateway should read it, and what is written for it. */
type Register = { readonly quantity?: QuantityName; readonly value?: number; readonly written: number }

/** One device: its address, the function code it answers, and its registers from the first on. */
export type Slave = {
  readonly unit: number
  readonly fc: 3 | 4
  readonly node?: string
  readonly firstAddress: number
  readonly registers: (timeMs: number) => readonly Register[]
}

/** A bus of such devices, as the one device that its wire is. */
export const modbusBus = ({
  slaves,
  ...about
}: {
  readonly slaves: readonly Slave[]
  readonly model: string
  readonly settings: Settings
  readonly intervalMs: number
}): Device => {
  const requests = commandReader(takeRequest)

  const obey = (request: Uint8Array, timeMs: number): readonly Emission[] => {
    const [unit, fc] = request as unknown as [number, number]
    const slave = slaves.find((one) => one.unit === unit)
    if (!slave) return []
    const refuse = (code: number): readonly Emission[] => [answer(withCrc([unit, fc | 0x80, code]))]
    if (fc !== slave.fc) return refuse(illegalFunction)
    const view = new DataView(request.buffer, request.byteOffset)
    const first = view.getUint16(2) - slave.firstAddress
    const asked = slave.registers(timeMs).slice(Math.max(0, first), first + view.getUint16(4))
    if (first < 0 || asked.length !== view.getUint16(4)) return refuse(illegalAddress)
    const words = asked.flatMap(({ written }) => [(written >> 8) & 0xff, written & 0xff])
    const measurements = asked.flatMap(({ quantity, value }) =>
      quantity === undefined || value === undefined ? [] : [{ quantity, value }],
    )
    return [
      {
        bytes: withCrc([unit, fc, words.length, ...words]),
        meant: [{ measurements, ...(slave.node === undefined ? {} : { node: slave.node }) }],
      },
    ]
  }

  return {
    ...about,
    baudRate: 9600,
    speak: () => undefined,
    hear: (bytes, timeMs) => requests(bytes).flatMap((request) => obey(request, timeMs)),
    powerOn: () => [],
  }
}

const tenths = (quantity: QuantityName, value: number): Register => {
  const written = Math.round(value * 10)
  return { quantity, value: rounded(written / 10, 1), written: written & 0xffff }
}

type Air = (timeMs: number) => Conditions

/** An XY-MD02 (SHT20): temperature and humidity in input registers 1 and 2. */
const xyMd02 = (unit: number, node: string, air: Air): Slave => ({
  unit,
  node,
  fc: 4,
  firstAddress: 1,
  registers: (timeMs) => {
    const { temperature, humidity } = air(timeMs)
    return [tenths('temperature', temperature), tenths('humidity', humidity)]
  },
})

/** A soil probe: moisture and temperature in holding registers 0 and 1. */
const soilProbe = (unit: number, node: string, air: Air): Slave => ({
  unit,
  node,
  fc: 3,
  firstAddress: 0,
  registers: (timeMs) => {
    const { temperature, humidity } = air(timeMs)
    return [tenths('soil_moisture', humidity / 3), tenths('soil_temperature', temperature / 2)]
  },
})

/** A noise transmitter: decibels in holding register 0. */
const soundMeter = (unit: number, node: string, air: Air): Slave => ({
  unit,
  node,
  fc: 3,
  firstAddress: 0,
  // Where there is traffic there are particles and noise.
  registers: (timeMs) => [tenths('noise', Math.min(120, 38 + air(timeMs).pm2_5 / 2))],
})

/** A bus with a thermometer, a soil probe and a noise transmitter: one for each table that drivers ship. */
export const modbusKind: Kind = {
  sensor: 'bus',
  make: ({ place, airAt, intervalMs }) => {
    const air = airAt(place)
    return modbusBus({
      slaves: [xyMd02(1, 'attic', air), soilProbe(2, 'bed', air), soundMeter(3, 'street', air)],
      model: 'modbus-rtu',
      settings: {
        intervalS: Math.max(0.2, intervalMs / 1000),
        devices: [
          { unit: 1, name: 'attic', table: 'xy-md02' },
          { unit: 2, name: 'bed', table: 'soil' },
          { unit: 3, name: 'street', table: 'noise' },
        ],
      },
      intervalMs,
    })
  },
}

/** A SenseAir S8, which answers under any address: status, alarm, output and CO2 in input registers 1 to 4. */
export const senseairKind: Kind = {
  sensor: 's8',
  make: ({ seed, place, airAt, intervalMs }) => {
    const air = airAt(place)
    const registers = (timeMs: number): readonly Register[] => {
      const ppm = Math.round(415 + 4 * air(timeMs).pm2_5 + 5 * chanceAt(seed, Math.floor(timeMs / 1000)))
      return [{ written: 0 }, { written: 0 }, { written: 0 }, { quantity: 'co2', value: ppm, written: ppm }]
    }
    return modbusBus({
      slaves: [{ unit: 0xfe, fc: 4, firstAddress: 0, registers }],
      model: 'senseair-s8',
      settings: { intervalS: Math.max(2, intervalMs / 1000) },
      intervalMs,
    })
  },
}
