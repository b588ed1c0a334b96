/** Keeps a link open for ever, and gives the frames that come through it. */
import { AssertionError } from 'node:assert'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import type { Decoder, Dialogue, Framing } from '../sensors/sensors.ts'
import { chunksOf } from './chunks.ts'
import { framer } from './frame.ts'
import { LinkError, type LinkErrorCode, type Opener } from './link.ts'

/**
 * One frame and when its last byte was received: `receivedMs` UTC, milliseconds since 1970, and `atMs` by the clock
 * that never jumps.
 */
export type ReceivedFrame = { readonly bytes: Uint8Array; readonly receivedMs: number; readonly atMs: number }

/**
 * The frames that one piece of the stream completed, received together, to be read once and in order. Each is cut when
 * it is asked for: where it ends may depend on what the one before it said.
 */
export type Received = {
  readonly frames: Iterable<Uint8Array>
  readonly receivedMs: number
  readonly atMs: number
}

/** What a link has done so far. Counters start at zero when the process starts; times are UTC milliseconds. */
export type LinkStatus = {
  readonly name: string
  /** What its owner should know about an open wire; not there where there is nothing to be careful of. */
  readonly caution?: string
  readonly open: boolean
  readonly opens: number
  readonly failedOpens: number
  readonly closes: number
  readonly bytes: number
  readonly frames: number
  /** Bytes that belonged to no frame: noise, torn frames, lines too long. */
  readonly skippedBytes: number
  readonly lastError: string | null
  /** What kind of trouble that was; null where there was none, or since a frame came again. */
  readonly trouble: LinkErrorCode | null
  readonly lastFrameMs: number | null
}

/** Time as a link needs it: UTC for stamps, a clock that never jumps for waits, and a wait that a signal ends. */
export type LinkClock = {
  readonly utcMs: () => number
  readonly steadyMs: () => number
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>
}

const systemClock: LinkClock = {
  utcMs: () => Date.now(),
  steadyMs: () => performance.now(),
  sleep: (ms, signal) => delay(ms, undefined, { signal }),
}

export type SuperviseOptions = {
  readonly opener: Opener
  readonly framing: Framing
  /** Sent in order each time the link opens. */
  readonly greeting?: readonly Uint8Array[]
  /** A modem loses a command that comes before it has answered the one before. */
  readonly greetingGapMs?: number
  /** What is said after the greeting, while the link is open. */
  readonly dialogue?: Dialogue | undefined
  /** Holds the conversation in place of framing, greeting and dialogue. */
  readonly session?: Decoder['session'] | undefined
  /** Without a frame for so long, the link counts as stuck and is opened anew. */
  readonly silenceMs: number
  /** First and longest wait before opening again; it doubles in between. */
  readonly backoffMs?: readonly [first: number, longest: number]
  readonly clock?: LinkClock
  /** Called when the link was opened, or was lost. */
  readonly changed?: () => void
  /** 0 to 1; spreads the reopening of many links after one power cut. */
  readonly random?: () => number
}

/** A kept link: its frames, to be read once with `for await`, as they came or one by one, and what it has done so far. */
export type Supervised = {
  readonly status: LinkStatus
  readonly received: (signal: AbortSignal) => AsyncGenerator<Received, void, void>
  readonly frames: (signal: AbortSignal) => AsyncGenerator<ReceivedFrame, void, void>
}

const ended = (name: string): LinkError =>
  new LinkError('disconnected', `link ${name} was closed by the other side.\nIt is opened again by itself.`)

const silent = (name: string, silenceMs: number): LinkError =>
  new LinkError(
    'silent',
    `link ${name} carried no whole frame for ${Math.round(silenceMs / 1000)} s.\n` +
      'It is opened again; if this repeats, check the wiring, the baud rate and the sensor model.',
  )

// A driver that wants to be asked again at once, for ever, must not stop everything else.
const leastTurnMs = 1
// What a device does not take is not piled up: it will be asked again.
const maxUnsentBytes = 4096

const closed = async (stream: Duplex): Promise<void> => {
  if (stream.closed) return
  const { promise, resolve } = Promise.withResolvers<void>()
  stream.once('close', resolve).on('error', () => undefined)
  stream.destroy()
  await promise
}

/**
 * Keeps a link open: opens it, sends the greeting, gives frames, and on an error, a close or a silence opens it
 * again after a growing, jittered wait. The frames end, without an error, only when `signal` is aborted or the
 * reader stops; a reader that is slow slows the wire down. What a wire does is never thrown: it is in `status`.
 */
export const supervise = ({
  opener,
  framing,
  greeting = [],
  greetingGapMs = 150,
  dialogue,
  session,
  silenceMs,
  backoffMs: [firstMs, longestMs] = [250, 30_000],
  clock = systemClock,
  changed = () => undefined,
  random = Math.random,
}: SuperviseOptions): Supervised => {
  const status = {
    name: opener.name,
    ...(opener.caution === undefined ? {} : { caution: opener.caution }),
    open: false,
    opens: 0,
    failedOpens: 0,
    closes: 0,
    bytes: 0,
    frames: 0,
    skippedBytes: 0,
    lastError: null as string | null,
    trouble: null as LinkErrorCode | null,
    lastFrameMs: null as number | null,
  }

  const greet = async (stream: Duplex, signal: AbortSignal): Promise<void> => {
    for (const [index, bytes] of greeting.entries()) {
      if (index > 0) await clock.sleep(greetingGapMs, signal)
      if (stream.destroyed) return
      stream.write(bytes)
    }
  }

  /** Says what the driver wants said; `heard.now` ends a pause early, for the driver may have an answer to give. */
  const converse = async (stream: Duplex, heard: { now: () => void }, signal: AbortSignal): Promise<void> => {
    await greet(stream, signal)
    if (!dialogue) return
    dialogue.opened(clock.steadyMs())
    for (;;) {
      const pause = new AbortController()
      heard.now = () => pause.abort()
      const { send, againMs } = dialogue.turn(clock.steadyMs())
      if (stream.destroyed) return
      if (send && stream.writableLength < maxUnsentBytes) stream.write(send)
      const either = AbortSignal.any([signal, pause.signal])
      await clock.sleep(Math.max(againMs, leastTurnMs), either).catch(() => signal.throwIfAborted())
    }
  }

  // Time in which the reader is busy elsewhere is not the sensor's silence.
  type Quiet = { sinceMs: number; readerBusy: boolean }

  const watch = async (stream: Duplex, quiet: Quiet, signal: AbortSignal): Promise<void> => {
    for (;;) {
      const leftMs = quiet.readerBusy ? silenceMs : quiet.sinceMs + silenceMs - clock.steadyMs()
      if (leftMs <= 0) return void stream.destroy(silent(opener.name, silenceMs))
      await clock.sleep(leftMs, signal)
    }
  }

  let failures = 0

  const receivedOf = async function* (stream: Duplex): AsyncGenerator<Received, void, void> {
    const quiet: Quiet = { sinceMs: clock.steadyMs(), readerBusy: false }
    const heard = { now: (): void => undefined }
    const done = new AbortController()

    // A framing's own mistake is told where those of the wire are, not to who reads the frames.
    let mistake: { readonly error: unknown } | undefined
    const counted = function* (cut: Iterable<Uint8Array>, receivedMs: number): Generator<Uint8Array> {
      try {
        for (const bytes of cut) {
          failures = 0
          status.trouble = null
          status.frames += 1
          status.lastFrameMs = receivedMs
          yield bytes
          quiet.sinceMs = clock.steadyMs()
          heard.now()
        }
      } catch (error) {
        mistake = { error }
      }
    }
    const giving = (cut: Iterable<Uint8Array>, receivedMs: number, atMs: number): Received => {
      quiet.readerBusy = true
      return { frames: counted(cut, receivedMs), receivedMs, atMs }
    }
    const given = (): void => {
      quiet.readerBusy = false
      if (mistake !== undefined) throw mistake.error
    }

    // A driver's own mistake is no trouble of the wire: it ends the link, and is told as what it is.
    const failed = (error: unknown): void => {
      if (!done.signal.aborted) stream.destroy(error instanceof Error ? error : new Error(String(error)))
    }
    watch(stream, quiet, done.signal).catch(failed)
    try {
      if (session) {
        for await (const bytes of session(stream, done.signal)) {
          status.bytes += bytes.length
          yield giving([bytes], clock.utcMs(), clock.steadyMs())
          given()
        }
        return
      }
      const cutter = framer(framing)
      const skippedBefore = status.skippedBytes
      const chunks = chunksOf(stream)
      converse(stream, heard, done.signal).catch(failed)
      for (let chunk = await chunks.next(); chunk !== undefined; chunk = await chunks.next()) {
        status.bytes += chunk.length
        yield giving(cutter.push(chunk), clock.utcMs(), clock.steadyMs())
        status.skippedBytes = skippedBefore + cutter.skippedBytes()
        given()
      }
    } finally {
      done.abort()
    }
  }

  const received = async function* (signal: AbortSignal): AsyncGenerator<Received, void, void> {
    for (failures = 0; !signal.aborted; failures += 1) {
      let stream: Duplex | undefined
      const onAbort = (): void => void stream?.destroy()
      try {
        stream = await opener.open(signal)
        status.opens += 1
        status.open = true
        changed()
        signal.addEventListener('abort', onAbort, { once: true })
        if (signal.aborted) return
        for await (const some of receivedOf(stream)) yield some
        if (!signal.aborted) throw ended(opener.name)
      } catch (error) {
        if (signal.aborted) return
        if (error instanceof AssertionError) throw error
        status.lastError = error instanceof Error ? error.message : String(error)
        const trouble = error instanceof LinkError ? error.code : 'failed'
        const told = trouble === status.trouble
        status.trouble = trouble
        // A port that stays away is tried for ever; that is told once.
        if (!told) changed()
        if (!stream) status.failedOpens += 1
      } finally {
        signal.removeEventListener('abort', onAbort)
        if (stream) {
          status.open = false
          status.closes += 1
          await closed(stream)
        }
      }
      const waitMs = Math.min(longestMs, firstMs * 2 ** Math.min(failures, 20))
      // Half fixed, half random: never at once, never all together.
      await clock.sleep(waitMs * (0.5 + random() / 2), signal).catch(() => undefined)
    }
  }

  const frames = async function* (signal: AbortSignal): AsyncGenerator<ReceivedFrame, void, void> {
    for await (const { frames: some, receivedMs, atMs } of received(signal))
      for (const bytes of some) yield { bytes, receivedMs, atMs }
  }

  return { status, received, frames }
}
