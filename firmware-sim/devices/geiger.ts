/** A GQ GMC-500+ or GMC-300E: answers without any framing, as long as each counter's are. */
import { chanceAt } from '../random.ts'
import { answer, commandReader, type Device, type Emission, type Kind } from './device.ts'

// GQ-RFC1201 and GQ-RFC1801.
const longest = 16
const versions = { wide: 'GMC-500+Re 2.24', narrow: 'GMC-300Re V3.20' } as const
const uSvPerCpm = 0.0065

const takeCommand = (bytes: Uint8Array) => {
  if (bytes[0] !== 0x3c) return { drop: 1 }
  const text = Buffer.from(bytes).toString('latin1')
  const end = text.indexOf('>>')
  if (end === -1) return { drop: text.length > longest ? 1 : 0 }
  return { drop: end + 2, command: bytes.slice(0, end + 2) }
}

export type GeigerOptions = { readonly seed: number; readonly wide: boolean; readonly intervalMs?: number }

/** A simulated counter in the background radiation of a house. */
export const geiger = ({ seed, wide, intervalMs = 60_000 }: GeigerOptions): Device => {
  const commands = commandReader(takeCommand)

  const counts = (timeMs: number): Emission => {
    const cpm = 14 + Math.floor(18 * chanceAt(seed, Math.floor(timeMs / 1000)))
    const bytes = Buffer.alloc(wide ? 4 : 2)
    if (wide) bytes.writeUInt32BE(cpm)
    // The upper two bits mean nothing: a real one sets them now and then.
    else bytes.writeUInt16BE(cpm | (cpm % 2 === 0 ? 0x8000 : 0))
    return {
      bytes: new Uint8Array(bytes),
      meant: [
        {
          measurements: [
            { quantity: 'count_rate', value: cpm },
            { quantity: 'radiation', value: cpm * uSvPerCpm },
          ],
        },
      ],
    }
  }

  return {
    model: 'gq-gmc',
    settings: { tube: 'M4011', intervalS: Math.max(1, intervalMs / 1000) },
    baudRate: 115_200,
    intervalMs,
    speak: () => undefined,
    hear: (bytes, timeMs) =>
      commands(bytes).flatMap((command) => {
        const text = Buffer.from(command).toString('latin1')
        if (text === '<GETCPM>>') return [counts(timeMs)]
        return text === '<GETVER>>'
          ? [answer(new Uint8Array(Buffer.from(wide ? versions.wide : versions.narrow)))]
          : []
      }),
    powerOn: () => [],
  }
}

/** A GMC-500+, or a GMC-300E in every second station. */
export const geigerKind: Kind = {
  sensor: 'geiger',
  make: ({ seed, intervalMs }) => geiger({ seed, wide: chanceAt(seed, 3) < 0.5, intervalMs }),
}
