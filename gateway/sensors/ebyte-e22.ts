/**
 * EBYTE E22 and E32 LoRa modules in transparent mode.
 *
 * The module gives the bytes that came over the air and nothing around them, so the nodes must say where a message
 * begins and ends. What a node sends to its module, in one write of at most 240 bytes:
 *
 *     00 | COBS( content | CRC-16 of content, high byte first ) | 00
 *
 * `content` is the payload, with the node's number before it where the setting `address` says so (see `p2p.ts`). The
 * CRC is CRC-16/IBM-3740: polynomial 0x1021, from 0xffff, nothing reflected or inverted; "123456789" gives 0x29b1. The
 * zero before lets a message be found after one whose end was lost. Modules that are told to (register 3, bit 7) put
 * one byte behind each message, its strength: dBm = byte - 256; say so with `rssi: true`.
 *
 * The module's own settings need its pins M0 and M1, which are no part of the serial link: the owner sets them, at
 * 9600 baud, and says here in `radio` what the nodes send on.
 */
import { z } from 'zod'
import { hex, utf8 } from './bytes.ts'
import { cobsDecode } from './cobs.ts'
import { knownRadio, p2pSettings, p2pUplink, radioOf } from './p2p.ts'
import type { Cut, Decoder, Driver, Framing, Settings } from './sensors.ts'
import { checked } from './settings.ts'

const model = 'ebyte-e22'

// E22 user manual: at most 240 bytes go over the air in one piece.
const maxPacket = 240
const maxBody = maxPacket - 2
const crcBytes = 2
const maxBytes = maxPacket + 1

/** CRC-16/IBM-3740 of the bytes. */
export const crc16 = (bytes: Uint8Array): number => {
  let crc = 0xffff
  for (const byte of bytes) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit += 1) crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff
  }
  return crc
}

/** The content of a COBS body whose CRC is right. */
const contentOf = (body: Uint8Array): Uint8Array | undefined => {
  const bytes = body.length <= maxBody ? cobsDecode(body) : undefined
  if (!bytes || bytes.length < crcBytes) return undefined
  const content = bytes.subarray(0, -crcBytes)
  return crc16(content) === bytes.at(-2)! * 256 + bytes.at(-1)! ? content : undefined
}

const firstOther = (bytes: Uint8Array, from: number): number => {
  let at = from
  while (bytes[at] === 0) at += 1
  return at
}

/** A frame is a body with the zero behind it and, where it is sent, the strength; a bad body comes alone. */
const cutter =
  (rssi: boolean) =>
  (bytes: Uint8Array, from: number): Cut => {
    const start = firstOther(bytes, from)
    if (start > from) return { kind: 'skip', to: start }
    const end = bytes.indexOf(0, start)
    const length = (end === -1 ? bytes.length : end) - start
    if (length > maxBody) return { kind: 'skip', to: start + length }
    if (end === -1) return { kind: 'wait' }
    if (!contentOf(bytes.subarray(start, end))) return { kind: 'frame', start, end }
    if (!rssi) return { kind: 'frame', start, end: end + 1 }
    // Where the strength was lost this is the zero before the next message, which can be found without it.
    return end + 1 < bytes.length ? { kind: 'frame', start, end: end + 2 } : { kind: 'wait' }
  }

const framingOf = (rssi: boolean): Framing => ({ kind: 'cut', maxBytes, cut: cutter(rssi) })

const schema = z.strictObject({
  ...p2pSettings,
  rssi: z
    .boolean('expected true or false')
    .default(false)
    .describe('Whether the module puts a byte of signal strength behind each message (REG3, bit 7).'),
  radio: knownRadio.optional().describe('How its radio was set, to be told with each reading.'),
})

const configure = (settings: Settings): Decoder => {
  const { address, rssi, radio } = checked(model, schema, settings)
  return {
    framing: framingOf(rssi),
    decode: (frame) => {
      const end = frame.indexOf(0)
      const content = end === -1 ? undefined : contentOf(frame.subarray(0, end))
      if (!content)
        return [
          {
            kind: 'refused',
            reason: 'checksum',
            detail: `${frame.length} bytes whose COBS or CRC-16 is not right`,
          },
        ]
      // Zero would be -256 dBm: no strength at all.
      const strength = rssi ? frame[end + 1] : undefined
      const heard = strength ? { rssi: strength - 256 } : {}
      return [p2pUplink(address, content, { ...heard, ...radioOf(radio) })]
    },
  }
}

/** Driver for E22 and E32 modules; the format of messages is above. Nothing is ever sent to the module. */
export const ebyteE22: Driver = {
  model,
  title: 'EBYTE E22 or E32 LoRa module and the nodes it hears (COBS and CRC-16 within)',
  source: 'EBYTE E22 user manual; the message format is this gateway’s own',
  baudRate: 9600,
  silenceS: 3600,
  framing: framingOf(false),
  greeting: () => [],
  configure,
  examples: [
    {
      title: 'a node’s text',
      source: 'constructed',
      bytes: hex('0009543d32312e3525ba00'),
      outcomes: [{ kind: 'uplink', node: 'lora', payload: utf8('T=21.5'), radio: {} }],
    },
    {
      title: 'the same of node 7, with how strong it was',
      source: 'constructed',
      settings: { address: 'first-two-bytes', rssi: true, radio: { frequencyMHz: 868.125 } },
      bytes: hex('00010a07543d32312e3503d000c3'),
      outcomes: [
        {
          kind: 'uplink',
          node: 'lora-7',
          payload: utf8('T=21.5'),
          radio: { rssi: -61, frequency: 868.125 },
        },
      ],
    },
  ],
}
