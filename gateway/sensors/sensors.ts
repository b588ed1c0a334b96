/** The port every device driver satisfies: bytes are cut into frames, a frame becomes measurements or a refusal. */
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
 * `cut`: a function for everything else; a frame is at most `maxBytes`, so a bad length byte cannot swallow more.
 */
export type Framing =
  | { readonly kind: 'lines'; readonly maxBytes: number }
  | {
      readonly kind: 'cut'
      readonly maxBytes: number
      readonly cut: (bytes: Uint8Array, from: number) => Cut
    }

/**
 * What one frame said. `reading`: measurements, of the device itself or of the `node` behind it (a LoRa modem
 * carries several); `timeMs` only where the device itself knows UTC. `control`: an answer or banner that is no reading.
 * `refused`: bad data, counted and kept with its reason.
 */
export type Outcome =
  | {
      readonly kind: 'reading'
      readonly measurements: readonly Measurement[]
      readonly node?: string
      readonly timeMs?: number
    }
  | { readonly kind: 'control'; readonly what: string }
  | { readonly kind: 'refused'; readonly reason: RefusalReason; readonly detail: string }

export type RefusalReason = 'checksum' | 'length' | 'layout' | 'unknown' | 'not-configured' | 'device-error'

/** What the owner said about one device: driver-specific, checked by the driver's own schema in `configure`. */
export type Settings = Readonly<Record<string, unknown>>

/** A driver, configured for one device. It may hold state (a modem pairs lines), so one per open link. */
export type Decoder = { readonly decode: (frame: Uint8Array) => readonly Outcome[] }

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
  readonly configure: (settings: Settings) => Decoder
  readonly examples: readonly Example[]
}
