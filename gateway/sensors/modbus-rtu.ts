/** Devices on an RS-485 bus that speak Modbus RTU: whatever a table of registers describes, without code. */
import type { Duplex } from 'node:stream'
import { z } from 'zod'
import { idPattern, type Measurement } from '../reading/reading.ts'
import { hex } from './bytes.ts'
import { type Answer, askUnits, type Block } from './modbus-master.ts'
import {
  blocksOf,
  type Place,
  type Row,
  registerRow,
  registerTables,
  type TableName,
  writtenIn,
} from './modbus-tables.ts'
import type { Decoder, Driver, Outcome } from './sensors.ts'
import { checked } from './settings.ts'

const model = 'modbus-rtu'

const exceptions: Readonly<Record<number, string>> = {
  1: 'illegal function',
  2: 'illegal data address',
  3: 'illegal data value',
  4: 'device failure',
  5: 'acknowledged, and not ready',
  6: 'device busy',
  10: 'gateway path unavailable',
  11: 'gateway target did not respond',
}

/**
 * A device on the bus, with what is read of it. `name` is its node; undefined where it is alone on the wire.
 * `alongside` is read too, for `judge` to look at.
 */
export type BusDevice = {
  readonly unit: number
  readonly name: string | undefined
  readonly rows: readonly Row[]
  readonly alongside?: readonly Place[]
}

// A frame for `decode`: index of the device, then for each of its blocks how it was answered, the exception's code, and
// its registers (zero where there are none), 16 bit each, big-endian.
const kinds = ['registers', 'exception', 'no-answer'] as const satisfies readonly Answer['kind'][]

const frameOf = (index: number, blocks: readonly Block[], answers: readonly Answer[]): Uint8Array =>
  Uint8Array.of(
    index,
    ...blocks.flatMap(({ count }, at) => {
      const answer = answers[at]!
      const registers = answer.kind === 'registers' ? answer.registers : []
      return [
        kinds.indexOf(answer.kind),
        answer.kind === 'exception' ? answer.code & 0xff : 0,
        ...Array.from({ length: count }, (_, word) => registers[word] ?? 0).flatMap((word) => [
          word >> 8,
          word & 0xff,
        ]),
      ]
    }),
  )

const answersIn = (frame: Uint8Array, blocks: readonly Block[]): Answer[] | undefined => {
  const answers: Answer[] = []
  let at = 1
  for (const { count } of blocks) {
    const end = at + 2 + 2 * count
    const kind = kinds[frame[at] ?? kinds.length]
    if (kind === undefined || end > frame.length) return undefined
    const view = new DataView(frame.buffer, frame.byteOffset + at + 2, 2 * count)
    answers.push(
      kind === 'registers'
        ? { kind, registers: Array.from({ length: count }, (_, word) => view.getUint16(2 * word)) }
        : kind === 'exception'
          ? { kind, code: frame[at + 1]! }
          : { kind },
    )
    at = end
  }
  return at === frame.length ? answers : undefined
}

const measured = (row: Row, written: number | undefined): Measurement => {
  const { quantity, scale, offset, invalid } = row
  if (written === undefined) return { quantity, value: null, absent: 'device-error' }
  if (invalid.includes(written)) return { quantity, value: null, absent: 'no-data' }
  if (!Number.isFinite(written)) return { quantity, value: null, absent: 'not-a-number' }
  // Registers hold decimals as integers: 305 tenths are 30.5, and not 30.500000000000004.
  return { quantity, value: Number((written * scale + offset).toPrecision(12)) }
}

/** A decoder that asks these devices once an interval; `judge` may change what one of them is taken to have said. */
export const busDecoder = (
  devices: readonly BusDevice[],
  timing: { readonly intervalMs: number; readonly timeoutMs: number },
  judge: (
    measurements: Measurement[],
    registersAt: (fc: number, address: number) => number | undefined,
  ) => Measurement[] = (measurements) => measurements,
): Decoder => {
  const units = devices.map(({ unit, rows, alongside = [] }) => ({
    unit,
    blocks: blocksOf([...rows, ...alongside]),
  }))

  const decode = (frame: Uint8Array): readonly Outcome[] => {
    const device = devices[frame[0] ?? devices.length]
    const blocks = units[frame[0] ?? devices.length]?.blocks
    const answers = blocks && answersIn(frame, blocks)
    if (!device || !blocks || !answers)
      return [
        {
          kind: 'refused',
          reason: 'layout',
          detail: `${frame.length} bytes that no device on this bus gave`,
        },
      ]
    const about = `unit ${device.unit}${device.name === undefined ? '' : ` (${device.name})`}`
    const outcomes: Outcome[] = answers.flatMap((answer): Outcome[] =>
      answer.kind === 'exception'
        ? [
            {
              kind: 'refused',
              reason: 'device-error',
              detail: `${about}: exception ${answer.code}, ${exceptions[answer.code] ?? 'not in the protocol'}`,
            },
          ]
        : [],
    )
    if (answers.every(({ kind }) => kind === 'no-answer'))
      return [{ kind: 'refused', reason: 'device-error', detail: `${about} does not answer` }]
    const registersAt = (
      fc: number,
      address: number,
    ): { registers: readonly number[]; at: number } | undefined => {
      const index = blocks.findIndex(
        (block) => block.fc === fc && address >= block.address && address < block.address + block.count,
      )
      const answer = answers[index]
      return answer?.kind === 'registers'
        ? { registers: answer.registers, at: address - blocks[index]!.address }
        : undefined
    }
    const measurements = device.rows.map((row) => {
      const place = registersAt(row.fc, row.address)
      return measured(row, place && writtenIn(place.registers, place.at, row))
    })
    const raw = (fc: number, address: number): number | undefined => {
      const place = registersAt(fc, address)
      return place?.registers[place.at]
    }
    return [
      ...outcomes,
      {
        kind: 'reading',
        measurements: judge(measurements, raw),
        ...(device.name === undefined ? {} : { node: device.name }),
      },
    ]
  }

  const session = async function* (
    wire: Duplex,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, void> {
    for await (const [index, answers] of askUnits(wire, units, timing, signal))
      yield frameOf(index, units[index]!.blocks, answers)
  }

  return { decode, session, silenceS: Math.max(60, (3 * timing.intervalMs) / 1000) }
}

const tableNames = Object.keys(registerTables) as TableName[]
const schema = z.strictObject({
  intervalS: z.number().min(0.2).max(3600).default(10).describe('Seconds between rounds of questions.'),
  timeoutMs: z.int().min(20).max(10_000).default(500).describe('Milliseconds that an answer may take.'),
  devices: z
    .array(
      z.strictObject({
        unit: z.int('expected a unit from 1 to 247').min(1).max(247).describe('Its address on the bus.'),
        name: z
          .string()
          .regex(idPattern, 'expected letters, digits, _ and -')
          .max(40)
          .describe('Its name, behind that of the bus.'),
        table: z
          .union(
            [z.enum(tableNames), z.array(registerRow).min(1).max(32)],
            `expected ${tableNames.join(', ')}, or a list of registers`,
          )
          .describe(
            'What is in its registers: a table that is known, or a list of { fc, address, quantity, ... }.',
          ),
      }),
      'expected a list of devices',
    )
    .min(1)
    .max(64)
    .refine(
      (devices) => new Set(devices.map(({ name }) => name)).size === devices.length,
      'expected names that are there once',
    )
    .describe('The devices on the bus.'),
})

const exampleSettings = { devices: [{ unit: 1, name: 'attic', table: 'xy-md02' }] } as const

/** Driver for a bus of Modbus RTU devices; each is a sensor of its own, by its name. */
export const modbusRtu: Driver = {
  model,
  title: 'Modbus RTU devices on RS-485 (XY-MD02, soil probes, noise transmitters, your own tables)',
  source:
    'Modbus application protocol V1.1b3, Modbus over serial line V1.02; device manuals in modbus-tables.ts',
  baudRate: 9600,
  silenceS: 60,
  framing: { kind: 'messages', maxBytes: 4096 },
  greeting: () => [],
  configure: (settings) => {
    const { devices, intervalS, timeoutMs } = checked(model, schema, settings)
    return busDecoder(
      devices.map(({ unit, name, table }) => ({
        unit,
        name,
        rows: typeof table === 'string' ? registerTables[table] : table,
      })),
      { intervalMs: intervalS * 1000, timeoutMs },
    )
  },
  examples: [
    {
      title: 'an XY-MD02 that answered both registers',
      source: 'XY-MD02 manual, its example of both registers',
      settings: exampleSettings,
      bytes: hex('00000001310222'),
      outcomes: [
        {
          kind: 'reading',
          node: 'attic',
          measurements: [
            { quantity: 'temperature', value: 30.5 },
            { quantity: 'humidity', value: 54.6 },
          ],
        },
      ],
    },
    {
      title: 'one that does not answer',
      source: 'constructed',
      settings: exampleSettings,
      bytes: hex('00020000000000'),
      outcomes: [{ kind: 'refused', reason: 'device-error', detail: 'unit 1 (attic) does not answer' }],
    },
  ],
}
