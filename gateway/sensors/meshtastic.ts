/** Meshtastic radios, over serial or tcp://host:4403: telemetry and positions of the mesh's nodes, and their messages. */
import { z } from 'zod'
import { hex } from './bytes.ts'
import { fromRadioOf } from './meshtastic-packets.ts'
import { knownRadio, radioOf } from './p2p.ts'
import type { Cut, Decoder, Dialogue, Driver, Settings } from './sensors.ts'
import { checked } from './settings.ts'
import { uplinkSettings } from './uplink.ts'

const model = 'meshtastic'

// Meshtastic client API: 94 c3, length (two bytes, high first, at most 512), protobuf. Text of its log comes between.
const magic = [0x94, 0xc3] as const
const headBytes = 4
const maxPayload = 512
// To see whether a frame is torn, the one that may begin within it is waited for.
const maxBytes = 2 * (headBytes + maxPayload)

const framed = (payload: Uint8Array): Uint8Array =>
  Uint8Array.of(...magic, payload.length >> 8, payload.length & 0xff, ...payload)

// ToRadio: want_config_id is field 3 with a number of ours (0xabb9f50f), heartbeat is field 7, an empty message.
const wake = new Uint8Array(32).fill(magic[1])
const wantConfig = framed(hex('188feae7dd0a'))
const heartbeat = framed(hex('3a00'))

const wakeMs = 100
// While it tells its configuration it is never silent for so long.
const configMs = 10_000
// The API forgets a client that was silent for 15 minutes; a radio that was silent for so long may have forgotten us.
const heartbeatMs = 240_000
const forgottenMs = 900_000

/** Where the magic bytes are next, or the index of what may be their first half, or the end. */
const magicAt = (bytes: Uint8Array, from: number): number => {
  for (let at = bytes.indexOf(magic[0], from); at !== -1; at = bytes.indexOf(magic[0], at + 1))
    if (at + 1 === bytes.length || bytes[at + 1] === magic[1]) return at
  return bytes.length
}

/** End of the frame whose magic is at `at`; undefined for "not yet known", 0 for no frame. */
const frameEnd = (bytes: Uint8Array, at: number): number | undefined => {
  if (bytes.length < at + headBytes) return undefined
  const length = bytes[at + 2]! * 256 + bytes[at + 3]!
  return length <= maxPayload ? at + headBytes + length : 0
}

const messageIn = (bytes: Uint8Array, start: number, end: number) =>
  fromRadioOf(bytes.subarray(start + headBytes, end), {})

/**
 * Whether a frame that begins within `start`..`end` shows this one to be torn, so that the bytes of the other only look
 * like its content: one that is whole and runs past that end or, where the content is the radio's own and no stranger's,
 * one that is whole within. Content that begins like a frame is rare, and waits for what comes next.
 */
const isTorn = (bytes: Uint8Array, start: number, end: number, own: boolean): boolean | 'wait' => {
  for (let at = magicAt(bytes, start + 2); at < end; at = magicAt(bytes, at + 1)) {
    const innerEnd = frameEnd(bytes, at)
    if (innerEnd === undefined || innerEnd > bytes.length) return 'wait'
    const shows = innerEnd > end || (own && innerEnd > at + headBytes)
    if (shows && messageIn(bytes, at, innerEnd)) return true
  }
  return false
}

const cut = (bytes: Uint8Array, from: number): Cut => {
  const start = magicAt(bytes, from)
  if (start > from) return { kind: 'skip', to: start }
  const end = frameEnd(bytes, start)
  if (end === 0) return { kind: 'skip', to: start + 1 }
  if (end === undefined || end > bytes.length) return { kind: 'wait' }
  const message = messageIn(bytes, start, end)
  const torn = message && isTorn(bytes, start, end, message.kind !== 'packet')
  if (torn === 'wait') return { kind: 'wait' }
  if (torn === false) return { kind: 'frame', start, end }
  // Refused as far as the next beginning, so that nothing behind it is lost.
  return { kind: 'frame', start, end: Math.min(magicAt(bytes, start + 2), end) }
}

const schema = z.strictObject({
  ...uplinkSettings,
  radio: knownRadio.optional().describe('How its radio was set, to be told with each reading.'),
})

const configure = (settings: Settings): Decoder => {
  const { nodes, radio } = checked(model, schema, settings)
  const own = radioOf(radio)
  const allowed = nodes && new Set(nodes)

  let step: 'wake' | 'ask' | 'told' = 'wake'
  let configured = false
  let heardMs = 0
  let spokeMs = 0

  const dialogue: Dialogue = {
    opened: (nowMs) => {
      step = 'wake'
      heardMs = nowMs
      spokeMs = nowMs
    },
    turn: (nowMs) => {
      if (step === 'wake') {
        step = 'ask'
        spokeMs = nowMs
        return { send: wake, againMs: wakeMs }
      }
      if (step === 'ask') {
        // A frame may have brought this turn early; the radio is still waking.
        if (nowMs < spokeMs + wakeMs) return { againMs: spokeMs + wakeMs - nowMs }
        step = 'told'
        configured = false
        heardMs = nowMs
        spokeMs = nowMs
        return { send: wantConfig, againMs: configMs }
      }
      const forgetMs = heardMs + (configured ? forgottenMs : configMs)
      if (nowMs >= forgetMs) {
        step = 'ask'
        spokeMs = nowMs
        return { send: wake, againMs: wakeMs }
      }
      if (nowMs < spokeMs + heartbeatMs) return { againMs: Math.min(forgetMs, spokeMs + heartbeatMs) - nowMs }
      spokeMs = nowMs
      return { send: heartbeat, againMs: Math.min(forgetMs - nowMs, heartbeatMs) }
    },
  }

  return {
    dialogue,
    decode: (frame, atMs) => {
      heardMs = atMs
      const whole = frame[0] === magic[0] && frame[1] === magic[1] && frameEnd(frame, 0) === frame.length
      const message = whole ? fromRadioOf(frame.subarray(headBytes), own) : undefined
      if (!message)
        return [
          {
            kind: 'refused',
            reason: 'layout',
            detail: `${frame.length} bytes are no whole message of the radio`,
          },
        ]
      const { kind, outcome } = message
      if (kind === 'configured') configured = true
      if (kind === 'rebooted') step = 'wake'
      if (outcome.kind === 'reading' && allowed && !allowed.has(outcome.node!))
        return [
          {
            kind: 'refused',
            reason: 'not-configured',
            detail: `node ${outcome.node} is not in setting "nodes"`,
          },
        ]
      return [outcome]
    },
  }
}

/**
 * Driver for Meshtastic radios. Each node is a sensor of its own, `mesh-` and its eight hexadecimal digits, the radio
 * itself included; telemetry and position become readings with RSSI and SNR of the last hop, texts and payloads of
 * private applications are read as uplinks. Packets that the radio cannot decrypt are counted. The gateway asks for the
 * configuration, which starts the flow, and sends nothing to the mesh.
 */
export const meshtastic: Driver = {
  model,
  title: 'Meshtastic radio (serial or tcp://host:4403) and the nodes of its mesh',
  source: 'Meshtastic client API; field numbers of meshtastic/protobufs',
  baudRate: 115_200,
  silenceS: 3600,
  framing: { kind: 'cut', maxBytes, cut },
  greeting: () => [],
  configure,
  examples: [
    {
      title: 'environment telemetry',
      source: 'constructed, checked with an independent decoder',
      settings: { radio: { frequencyMHz: 869.525, spreadingFactor: 11 } },
      bytes: hex(
        '94c3004d080512490da4f53b4315ffffffff22210843121d0d00b955691a160d0000ac4115000035421d00507d442500004a42382a354d3c2b1a3d01b95569450000c840480360d1ffffffffffffffff01',
      ),
      outcomes: [
        {
          kind: 'reading',
          node: 'mesh-433bf5a4',
          timeMs: 1_767_225_601_000,
          measurements: [
            { quantity: 'temperature', value: 21.5 },
            { quantity: 'humidity', value: 45.25 },
            { quantity: 'pressure', value: 1013.25 },
            { quantity: 'gas_resistance', value: 50_500 },
            { quantity: 'iaq', value: 42 },
            { quantity: 'rssi', value: -47 },
            { quantity: 'snr', value: 6.25 },
            { quantity: 'frequency', value: 869.525 },
            { quantity: 'spreading_factor', value: 11 },
          ],
        },
      ],
    },
  ],
}
