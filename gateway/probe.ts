/** What hangs on a wire: every driver listens, and those that may be asked are, until frames decode to readings. */
import { AssertionError } from 'node:assert'
import type { Duplex } from 'node:stream'
import { type Framer, framer } from './link/frame.ts'
import { LinkError, type LinkErrorCode, type Opener } from './link/link.ts'
import { supervise } from './link/supervise.ts'
import { decoderOf } from './sensors/read.ts'
import type { Decoder, Driver, Outcome } from './sensors/sensors.ts'
import { checkingSurroundings } from './surroundings.ts'

/**
 * Devices that keep silent until they are spoken to, and why speaking to them changes nothing that lasts. A driver that
 * is not in this table is only listened to: some greetings are kept by the device beyond a power cut, as the report
 * mode and work period of the SDS011 are.
 */
export const mayBeAsked: Readonly<Record<string, string>> = {
  // PMS5003 manual V2.3, appendix II: wake-up and active mode are the state after power-on.
  'plantower-pms': 'awake and active is how it starts',
  'sensirion-sps30': 'measuring ends with its power',
  'honeywell-hpma115': 'it sends by itself again when its power comes back',
  'winsen-mhz19': 'it is asked for a value, and told nothing',
  'gq-gmc': 'heartbeats are off until somebody wants them',
}

/** A device that was recognised; `frame` is the last of its frames that was a reading. */
export type Recognised = {
  readonly kind: 'recognised'
  readonly model: string
  readonly baudRate: number
  readonly quantities: readonly string[]
  readonly frame: Uint8Array
}

/** What a probe came to. `unknown`: bytes that no driver knows, with a readable line of them where there is one. */
export type Finding =
  | Recognised
  | { readonly kind: 'unknown'; readonly bytes: number; readonly line?: string }
  | { readonly kind: 'silent' }
  | { readonly kind: 'unusable'; readonly code: LinkErrorCode; readonly message: string }

export type ProbeOptions = {
  readonly openerAt: (baudRate: number) => Opener
  readonly drivers: readonly Driver[]
  /** Baud rates that make no difference, as behind tcp://, are tried once. */
  readonly hasBaudRate: boolean
  /** Models that may be spoken to. */
  readonly askable: ReadonlySet<string>
  /** Models to try first. */
  readonly likely: readonly string[]
  readonly listenMs: number
  readonly told: (what: string) => void
}

// Enough of a sentence to recognise one's own sketch by.
const longestLine = 80
// A second reading makes sure; the first may be chance where a checksum is one byte.
const sureReadings = 2

type Ear = {
  readonly driver: Driver
  readonly decoder: Decoder
  readonly framer: Framer
  good: number
  bad: number
  quantities: ReadonlySet<string>
  frame: Uint8Array
}

const earOf = (driver: Driver): Ear | undefined => {
  try {
    const decoder = decoderOf(driver, {}, checkingSurroundings)
    if (decoder.session) return undefined // holds the whole wire, and must be told whom to ask
    const heard = { good: 0, bad: 0, quantities: new Set<string>(), frame: new Uint8Array() }
    return { driver, decoder, framer: framer(decoder.framing ?? driver.framing), ...heard }
  } catch {
    return undefined // cannot be tried without its owner's settings
  }
}

// A gateway's messages are known for what they are, also where no device that it hears is listed yet.
const isKnown = (outcome: Outcome, { framing }: Driver): boolean =>
  framing.kind === 'messages' &&
  (outcome.kind === 'control' || (outcome.kind === 'refused' && outcome.reason === 'not-configured'))

const isGood = (outcome: Outcome, driver: Driver): boolean =>
  outcome.kind === 'uplink' ||
  (outcome.kind === 'reading' && outcome.measurements.length > 0) ||
  isKnown(outcome, driver)

const hear = (ear: Ear, frame: Uint8Array, atMs: number): void => {
  for (const outcome of ear.decoder.decode(frame, atMs)) {
    const good = isGood(outcome, ear.driver)
    if (outcome.kind === 'refused' && !good) ear.bad += 1
    if (!good) continue
    ear.good += 1
    ear.frame = frame
    if (outcome.kind === 'reading')
      ear.quantities = new Set([
        ...ear.quantities,
        ...outcome.measurements.map(({ quantity }) => String(quantity)),
      ])
  }
}

/** The ear that understood: checked frames before free text, then whoever understood most. */
const understood = (ears: readonly Ear[]): Ear | undefined =>
  ears
    .filter(({ good, bad }) => good > 0 && good >= bad)
    .sort(
      (a, b) =>
        Number(a.driver.framing.kind === 'lines') - Number(b.driver.framing.kind === 'lines') ||
        b.good - b.bad - (a.good - a.bad),
    )[0]

const recognised = ({ driver, quantities, frame }: Ear, baudRate: number): Recognised => ({
  kind: 'recognised',
  model: driver.model,
  baudRate,
  quantities: [...quantities],
  frame,
})

const closed = (wire: Duplex): Promise<void> =>
  new Promise((resolve) => {
    if (wire.closed) return resolve()
    wire.once('close', () => resolve()).destroy()
  })

type Heard = { readonly bytes: number; readonly line: string | undefined }

/** Listens for so long, or until one ear is sure. */
const listen = async (
  opener: Opener,
  ears: readonly Ear[],
  ms: number,
  isSure: () => boolean,
  signal: AbortSignal,
): Promise<Heard> => {
  const wire = await opener.open(signal)
  wire.on('error', () => undefined)
  const over = AbortSignal.any([signal, AbortSignal.timeout(ms)])
  const end = (): void => void wire.destroy()
  over.addEventListener('abort', end, { once: true })
  let bytes = 0
  let text = ''
  try {
    for await (const chunk of wire as AsyncIterable<Uint8Array>) {
      bytes += chunk.length
      text = (text + Buffer.from(chunk).toString('latin1')).slice(-4 * longestLine)
      const atMs = performance.now()
      for (const ear of ears) for (const frame of ear.framer.push(chunk)) hear(ear, frame, atMs)
      if (isSure()) break
    }
  } catch (error) {
    if (error instanceof AssertionError) throw error // a driver's own mistake
    // The end of the time, or of the wire: what was heard until then counts.
  } finally {
    over.removeEventListener('abort', end)
    await closed(wire)
  }
  const line = text
    .split(/\r?\n/)
    .slice(1, -1)
    .find((one) => /^[\x20-\x7e]{3,}$/.test(one))
  return { bytes, line: line?.slice(0, longestLine) }
}

/** Speaks to one device as its driver would, until it gives a reading or the time is over. */
const ask = async (
  driver: Driver,
  options: ProbeOptions,
  signal: AbortSignal,
): Promise<Recognised | undefined> => {
  const ear = earOf(driver)
  if (!ear) return undefined
  const link = supervise({
    opener: options.openerAt(driver.baudRate),
    framing: ear.decoder.framing ?? driver.framing,
    greeting: driver.greeting({}),
    dialogue: ear.decoder.dialogue,
    silenceMs: options.listenMs * 2,
  })
  const over = AbortSignal.any([signal, AbortSignal.timeout(options.listenMs)])
  for await (const { bytes, atMs } of link.frames(over)) {
    hear(ear, bytes, atMs)
    if (ear.good > 0) break
  }
  return understood([ear]) && recognised(ear, driver.baudRate)
}

/**
 * Listens at each baud rate with every driver at once, then asks what may be asked. Nothing is ever sent that a device
 * keeps beyond a power cut. Rejects only when the signal aborts.
 */
export const probe = async (options: ProbeOptions, signal: AbortSignal): Promise<Finding> => {
  const { openerAt, told, likely, listenMs } = options
  const rank = ({ model }: Driver): number => (likely.includes(model) ? likely.indexOf(model) : likely.length)
  const drivers = [...options.drivers].sort((a, b) => rank(a) - rank(b))
  const bauds = options.hasBaudRate ? [...new Set(drivers.map(({ baudRate }) => baudRate))] : [0]
  let best: { readonly finding: Recognised; readonly good: number } | undefined
  let bytes = 0
  let line: string | undefined
  try {
    for (const baudRate of bauds) {
      told(options.hasBaudRate ? `listening at ${baudRate} baud` : 'listening')
      const ears = drivers.map(earOf).filter((ear) => ear !== undefined)
      const own = ears.filter(({ driver }) => baudRate === 0 || driver.baudRate === baudRate)
      const isSure = (): boolean => (understood(own)?.good ?? 0) >= sureReadings
      const heard = await listen(openerAt(baudRate || 9600), ears, listenMs, isSure, signal)
      signal.throwIfAborted()
      bytes += heard.bytes
      line ??= heard.line
      const usual = understood(own)
      if (usual) return recognised(usual, baudRate || usual.driver.baudRate)
      // A device set to an unusual rate, or a wire without one: kept, unless a driver's own rate does better.
      const unusual = understood(ears)
      if (unusual && unusual.good > (best?.good ?? 0))
        best = { finding: recognised(unusual, baudRate), good: unusual.good }
    }
    if (best) return best.finding
    for (const driver of drivers.filter(({ model }) => options.askable.has(model))) {
      told(`asking for ${driver.model}`)
      const answered = await ask(driver, options, signal)
      signal.throwIfAborted()
      if (answered) return answered
    }
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof LinkError)) throw error
    return { kind: 'unusable', code: error.code, message: error.message }
  }
  if (bytes === 0) return { kind: 'silent' }
  return { kind: 'unknown', bytes, ...(line === undefined ? {} : { line }) }
}
