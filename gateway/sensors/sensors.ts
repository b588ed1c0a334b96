/** The port every device driver satisfies: bytes are cut into frames, a frame becomes measurements or a refusal. */
import type { Duplex } from 'node:stream'
import type { Measurement } from '../reading/reading.ts'

/**
 * What to do at `from` in a buffer of received bytes:
 * `frame`: bytes `start`..`end` are one whole frame, go on at `end`;
 * `skip`: nothing here, drop everything before `to` (always > from) and look again;
 * `wait`: what is here may become a frame, more bytes are needed.
 */
export type Cut =
  | { readonly kind: 'frame'; readonly start: number; readonly end: number }
  | { readonly kind: 'skip'; readonly to: number }
  | { readonly kind: 'wait' }

/**
 * How a device's bytes become frames. `lines`: text ended by LF or CRLF, without its ending, at most `maxBytes`.
 * `messages`: the link itself keeps messages apart (datagrams, WebSocket); longer ones are dropped and counted.
 * `cut`: a function for everything else; a frame is at most `maxBytes`, so a bad length byte cannot swallow more.
 */
export type Framing =
  | { readonly kind: 'lines'; readonly maxBytes: number }
  | { readonly kind: 'messages'; readonly maxBytes: number }
  | {
      readonly kind: 'cut'
      readonly maxBytes: number
      readonly cut: (bytes: Uint8Array, from: number) => Cut
    }

/**
 * How a transmission was heard: strength in dBm, signal-to-noise ratio in dB, centre frequency in MHz, LoRa
 * spreading factor 5 to 12. What the modem does not say, and the owner has not set, is not there.
 */
export type Radio = {
  readonly rssi?: number
  readonly snr?: number
  readonly frequency?: number
  readonly spreadingFactor?: number
}

/**
 * A payload that a radio node sent: who, what, how it was heard. `port` is LoRaWAN's FPort. What the payload means is
 * for `uplink.ts`, the same for every modem.
 */
export type Uplink = {
  readonly kind: 'uplink'
  readonly node: string
  readonly payload: Uint8Array
  readonly radio: Radio
  readonly port?: number
}

/** A frame that a node signed itself, verified and put together as its COSE_Sign1 (reading/node-frame.ts). */
export type SignedFrame = {
  readonly kind: 'signed'
  readonly node: string
  readonly publicKey: Uint8Array
  readonly sign1: Uint8Array
  readonly radio: Radio
}

/**
 * What one frame said. `reading`: measurements, of the device itself or of the `node` behind it (a bus or a network
 * carries several); `timeMs` only where the device itself knows UTC, `backlog` where it keeps what it cannot send and an
 * old time is no mistake. `uplink`: what a modem heard from a node; `signed`: what a node signed.
 * `control`: an answer or banner that is no reading. `refused`: bad data, counted and kept with its reason.
 */
export type Outcome =
  | {
      readonly kind: 'reading'
      readonly measurements: readonly Measurement[]
      readonly node?: string
      readonly timeMs?: number
      readonly backlog?: boolean
    }
  | Uplink
  | SignedFrame
  | { readonly kind: 'control'; readonly what: string }
  | { readonly kind: 'refused'; readonly reason: RefusalReason; readonly detail: string }

export type RefusalReason =
  | 'checksum'
  | 'length'
  | 'layout'
  | 'unknown'
  | 'not-configured'
  | 'device-error'
  | 'signature'
  /** A message that was taken before, or an older one: somebody has sent it again. */
  | 'replay'
  /** Without a signature, and under the name of a node that signs. */
  | 'unsigned'

/** What the owner said about one device: driver-specific, checked by the driver's own schema in `configure`. */
export type Settings = Readonly<Record<string, unknown>>

/** What a driver wants now: bytes to be sent, if any, and in how many milliseconds to be asked again at the latest. */
export type Turn = { readonly send?: Uint8Array; readonly againMs: number }

/**
 * The talking side of a device that speaks only when asked, or must be told things in the course of its day. Times are
 * of a clock that never jumps, in milliseconds. No input and no waiting of its own: the link asks, and sends.
 */
export type Dialogue = {
  /** The wire has just been opened, for the first time or again: whatever was under way is over. */
  readonly opened: (nowMs: number) => void
  /** Asked after opening, after every frame that was decoded, and when the time it named has passed. */
  readonly turn: (nowMs: number) => Turn
}

/**
 * A driver, configured for one device. It may hold state (a modem pairs lines), so one per link.
 * `decode` takes a whole frame and when its last byte came (`atMs`, the clock of `Dialogue`); it never throws.
 */
export type Decoder = {
  readonly decode: (frame: Uint8Array, atMs: number) => readonly Outcome[]
  readonly dialogue?: Dialogue
  /** Where frames can be told apart only by knowing what was asked: in place of the driver's. */
  readonly framing?: Framing
  /** Where the settings change how long silence is normal: in place of the driver's. */
  readonly silenceS?: number
  /**
   * Where a protocol library holds the conversation: it gets the open wire and gives whole answers as frames, until
   * the signal aborts or the wire ends. In place of framing and dialogue.
   */
  readonly session?: (wire: Duplex, signal: AbortSignal) => AsyncIterable<Uint8Array>
  /** What the owner said about the payloads of single nodes, where they are not the same for all; see `uplink.ts`. */
  readonly nodeSettings?: ReadonlyMap<string, Settings>
}

/** Numbers kept on disk under a name, for counters that must not go back (LoRaWAN frame counters). */
export type Counters = {
  readonly get: (name: string) => number | undefined
  readonly set: (name: string, value: number) => void
}

/** What the gateway hands to a driver beside its settings. */
export type Surroundings = {
  /** What nodes sign for; readings of another network are none here. */
  readonly network: string
  readonly counters: Counters
  /** The text of a file that only its owner may read; throws an Error naming the file, never its content. */
  readonly secret: (path: string) => string
}

/** A captured or published frame and what it must decode to; every driver carries some, tests and docs read them. */
export type Example = {
  readonly title: string
  readonly source: string
  readonly bytes: Uint8Array
  readonly settings?: Settings
  readonly outcomes: readonly Outcome[]
}

/** One kind of device: data plus a decoder. Adding a device is one file here and one line in `all.ts`. */
export type Driver = {
  /** Name used in configuration and signed as `model`: lower-case letters, digits and hyphens. */
  readonly model: string
  readonly title: string
  /** Document or public source the layout was taken from. */
  readonly source: string
  readonly baudRate: number
  /** Longest silence in seconds before the link counts as stuck and is reopened. */
  readonly silenceS: number
  readonly framing: Framing
  /** Bytes sent each time the port opens (wake-up, mode, modem set-up), in order. */
  readonly greeting: (settings: Settings) => readonly Uint8Array[]
  /** Throws an Error naming the setting, what was expected and what came. */
  readonly configure: (settings: Settings, surroundings: Surroundings) => Decoder
  readonly examples: readonly Example[]
}
