/**
 * What modems without addresses of their own share: who sent a payload, and how their radio is set.
 *
 * LoRa between two modems ("P2P") carries bytes and nothing else. Where several nodes send, each begins its payload
 * with its number, and the owner says so in `address`: one byte, or two with the high one first. Node 7 is then
 * `lora-7`, and what follows is its payload. Without it all that is heard is of one node, `lora`.
 */
import { z } from 'zod'
import type { Outcome, Radio } from './sensors.ts'
import { uplinkSettings } from './uplink.ts'

const addressBytes = { none: 0, 'first-byte': 1, 'first-two-bytes': 2 } as const

/** Where the number of the node stands in a payload. */
export type Address = keyof typeof addressBytes

/** Settings of every such driver beside its own, those of `uplinkSettings` among them. */
export const p2pSettings = {
  ...uplinkSettings,
  address: z
    .enum(['none', 'first-byte', 'first-two-bytes'], 'expected none, first-byte or first-two-bytes')
    .default('none')
    .describe('Where the number of the node stands in a payload; with none, all is of one node.'),
}

const number = (expected: string, min: number, max: number) =>
  z.number(expected).min(min, expected).max(max, expected)

const frequencyMHz = number('expected a frequency in MHz from 137 to 1020', 137, 1020).describe(
  'Frequency in MHz, such as 868.1.',
)
const spreadingFactor = number('expected a spreading factor from 7 to 12', 7, 12)
  .int()
  .describe('Spreading factor, 7 (fast) to 12 (far).')

/**
 * How a modem's radio is to be set; nodes must be set alike. Without it the modem keeps what it has. The gateway only
 * listens: duty cycle and airtime (ETSI EN 300 220, FCC 15.247) bind the nodes.
 */
export const radioSettings = z.strictObject({
  frequencyMHz,
  spreadingFactor: spreadingFactor.default(7),
  bandwidthKHz: z
    .literal([125, 250, 500], 'expected 125, 250 or 500')
    .default(125)
    .describe('Bandwidth in kHz.'),
  codingRate: number('expected a coding rate from 5 (4/5) to 8 (4/8)', 5, 8)
    .int()
    .default(5)
    .describe('Coding rate: 5 is 4/5, 8 is 4/8.'),
  preamble: number('expected a preamble from 6 to 65535 symbols', 6, 65_535)
    .int()
    .default(8)
    .describe('Preamble in symbols.'),
})

export type RadioSettings = z.output<typeof radioSettings>

/** How a radio was set by other means: said with each reading, told to no modem. */
export const knownRadio = z.strictObject({
  frequencyMHz: frequencyMHz.optional(),
  spreadingFactor: spreadingFactor.optional(),
})

/** The same as it travels with an uplink. */
export const radioOf = (set: z.output<typeof knownRadio> | undefined): Radio => ({
  ...(set?.frequencyMHz === undefined ? {} : { frequency: set.frequencyMHz }),
  ...(set?.spreadingFactor === undefined ? {} : { spreadingFactor: set.spreadingFactor }),
})

/** Hertz, as modems want it. */
export const hertz = ({ frequencyMHz: megahertz }: RadioSettings): number => Math.round(megahertz * 1e6)

/** The uplink of a payload, its node named by `address`; refused where it is too short to hold that. */
export const p2pUplink = (address: Address, payload: Uint8Array, radio: Radio): Outcome => {
  const size = addressBytes[address]
  if (payload.length < size)
    return { kind: 'refused', reason: 'length', detail: `${payload.length} bytes cannot hold ${address}` }
  const node = payload.subarray(0, size).reduce((total, byte) => total * 256 + byte, 0)
  return {
    kind: 'uplink',
    node: size === 0 ? 'lora' : `lora-${node}`,
    payload: payload.slice(size),
    radio,
  }
}

/** The bytes of hexadecimal digits from a modem; undefined where they are none, or more than LoRa carries (255). */
export const payloadIn = (digits: string): Uint8Array | undefined =>
  digits.length % 2 === 0 && digits.length <= 510 && /^[0-9A-Fa-f]*$/.test(digits)
    ? new Uint8Array(Buffer.from(digits, 'hex'))
    : undefined
