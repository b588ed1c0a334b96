/** SenseAir S8 carbon dioxide sensors: Modbus RTU under the address that any of them answers. */
import { z } from 'zod'
import { hex } from './bytes.ts'
import { busDecoder } from './modbus-rtu.ts'
import { registerRow } from './modbus-tables.ts'
import type { Driver } from './sensors.ts'
import { checked } from './settings.ts'

const model = 'senseair-s8'

// SenseAir TDE2067: input register 1 (address 0) is the meter's status, register 4 (address 3) CO2 in ppm.
const anyUnit = 0xfe
const inputRegisters = 4 as const
const statusAt = 0
const co2At = 3
const rows = [registerRow.parse({ fc: inputRegisters, address: co2At, quantity: 'co2' })]
// All four in one request: a status that belongs to another measurement says nothing.
const alongside = [statusAt, 1, 2].map((address) => ({ fc: inputRegisters, address, type: 'u16' }) as const)

// Status bits: 0 fatal, 1 offset regulation, 2 algorithm, 3 output, 4 self-diagnostic, 5 out of range, 6 memory.
const outOfRange = 1 << 5
const broken = 0b101_1111

const range = 'expected 2000 or 10000'
const schema = z.strictObject({
  intervalS: z
    .number()
    .min(2)
    .max(3600)
    .default(4)
    .describe('Seconds between questions; the S8 measures every 2 s, the S8 LP every 4 s.'),
  rangePpm: z
    .union([z.literal(2000), z.literal(10_000)], range)
    .default(2000)
    .describe('Upper end of what its variant measures, in ppm.'),
})

/** Driver for the S8 and S8 LP, alone on their wire. */
export const senseairS8: Driver = {
  model,
  title: 'SenseAir S8, S8 LP (CO2)',
  source: 'SenseAir Modbus on S8 (TDE2067)',
  baudRate: 9600,
  silenceS: 60,
  framing: { kind: 'messages', maxBytes: 64 },
  greeting: () => [],
  configure: (settings) => {
    const { intervalS, rangePpm } = checked(model, schema, settings)
    return busDecoder(
      [{ unit: anyUnit, name: undefined, rows, alongside }],
      { intervalMs: intervalS * 1000, timeoutMs: 500 },
      ([co2], registerAt) => {
        const status = registerAt(inputRegisters, statusAt)
        if (co2!.value === null || status === undefined || (status & broken) !== 0)
          return [{ quantity: 'co2', value: null, absent: 'device-error' }]
        // Zero is what it says until it has measured once.
        if (co2!.value === 0) return [{ quantity: 'co2', value: null, absent: 'warming-up' }]
        return (status & outOfRange) !== 0 || co2!.value > rangePpm
          ? [{ quantity: 'co2', value: null, absent: 'out-of-range' }]
          : [co2!]
      },
    )
  },
  examples: [
    {
      title: 'status without a fault, 500 ppm',
      source: 'constructed after TDE2067',
      bytes: hex('0000000000' + '0000' + '0000' + '01f4'),
      outcomes: [{ kind: 'reading', measurements: [{ quantity: 'co2', value: 500 }] }],
    },
  ],
}
