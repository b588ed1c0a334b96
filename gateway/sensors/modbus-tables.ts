/** What is in the registers of Modbus RTU devices: shipped tables, and the shape of an owner's own. */
import { z } from 'zod'
import { type QuantityName, quantityNamed } from '../reading/quantity.ts'
import type { Block } from './modbus-master.ts'

const quantity = z
  .string()
  .refine(
    (name): name is QuantityName => quantityNamed(name) !== undefined,
    'expected the name of a quantity',
  )

/** One value: where it stands, how it is written, and what it means; value = written * scale + offset. */
export const registerRow = z.strictObject({
  fc: z
    .union([z.literal(3), z.literal(4)], 'expected 3 (holding) or 4 (input registers)')
    .describe('Function code: 3 for holding, 4 for input registers.'),
  address: z
    .int('expected an address from 0')
    .min(0)
    .max(65_535)
    .describe('Address of the first register, from 0.'),
  type: z
    .enum(['i16', 'u16', 'i32', 'u32', 'f32'], 'expected i16, u16, i32, u32 or f32')
    .default('i16')
    .describe('How the value is written; 32 bits take two registers.'),
  wordOrder: z
    .enum(['high-first', 'low-first'], 'expected high-first or low-first')
    .default('high-first')
    .describe('Which of two registers comes first.'),
  scale: z.number().default(1).describe('What the written value is multiplied with.'),
  offset: z.number().default(0).describe('What is added then, in the unit of the quantity.'),
  quantity: quantity.describe('Name of a quantity.'),
  invalid: z.array(z.number()).max(16).default([]).describe('Written values that mean that there is none.'),
})

export type Row = z.output<typeof registerRow>

/** Where something stands, whatever it means. */
export type Place = Pick<Row, 'fc' | 'address' | 'type'>

const row = (given: z.input<typeof registerRow>): Row => registerRow.parse(given)

/** Tables by name, each from the document that is named. */
export const registerTables = {
  // XY-MD02 manual: input registers 1 and 2. Its example of humidity is printed with a wrong CRC.
  'xy-md02': [
    row({ fc: 4, address: 1, quantity: 'temperature', scale: 0.1 }),
    row({ fc: 4, address: 2, type: 'u16', quantity: 'humidity', scale: 0.1 }),
  ],
  // JXBS and ComWinTop soil probes, manual from memory.
  soil: [
    row({ fc: 3, address: 0, type: 'u16', quantity: 'soil_moisture', scale: 0.1 }),
    row({ fc: 3, address: 1, quantity: 'soil_temperature', scale: 0.1 }),
  ],
  // RS-ZS noise transmitters: the register map was not confirmed on a device.
  noise: [row({ fc: 3, address: 0, type: 'u16', quantity: 'noise', scale: 0.1 })],
} as const satisfies Readonly<Record<string, readonly Row[]>>

export type TableName = keyof typeof registerTables

/** How many registers a value takes. */
export const wordsOf = ({ type }: Place): number => (type.endsWith('16') ? 1 : 2)

// A request answers at most 125 registers (Modbus application protocol V1.1b3 s6.3); small devices know far fewer.
const maxCount = 32

/** The fewest requests that read all rows, each of registers in a row: devices refuse addresses that they do not have. */
export const blocksOf = (rows: readonly Place[]): Block[] => {
  const blocks: { fc: 3 | 4; address: number; count: number }[] = []
  for (const one of rows.toSorted((a, b) => a.fc - b.fc || a.address - b.address)) {
    const last = blocks.at(-1)
    const end = one.address + wordsOf(one)
    const fits =
      last?.fc === one.fc && one.address <= last.address + last.count && end - last.address <= maxCount
    if (fits) last.count = Math.max(last.count, end - last.address)
    else blocks.push({ fc: one.fc, address: one.address, count: wordsOf(one) })
  }
  return blocks
}

/** The number that is written in a row's registers, `at` being the first of them; undefined where they are not there. */
export const writtenIn = (
  registers: readonly number[],
  at: number,
  { type, wordOrder }: Row,
): number | undefined => {
  const first = registers[at]
  if (first === undefined) return undefined
  if (type === 'u16') return first
  if (type === 'i16') return (first << 16) >> 16
  const second = registers[at + 1]
  if (second === undefined) return undefined
  const view = new DataView(new ArrayBuffer(4))
  view.setUint16(wordOrder === 'high-first' ? 0 : 2, first)
  view.setUint16(wordOrder === 'high-first' ? 2 : 0, second)
  return type === 'f32' ? view.getFloat32(0) : type === 'i32' ? view.getInt32(0) : view.getUint32(0)
}
