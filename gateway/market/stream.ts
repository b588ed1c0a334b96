/** A stream of readings: events from a mark on, as readings are stored, paid one by one where data is sold. */
import type { Evidence } from '../evidence/evidence.ts'
import type { StoredReading } from '../store/store.ts'
import { eventText, heartbeatText, retryText } from './event-stream.ts'
import { before, isAfter, type Mark, markText } from './mark.ts'
import { type Fault, fault, problemBody } from './problem.ts'
import type { Proof } from './proof.ts'
import { readingRow } from './row.ts'
import type { OpenTab, Statement } from './tab.ts'
import type { Tail, TailEnvelope } from './tail.ts'
import { timeText } from './time.ts'

/** Which readings a stream is about; what is left out is not looked at. Quantities are codes. */
export type Subject = {
  readonly stations?: readonly string[]
  readonly sensor?: string
  readonly quantities?: readonly number[]
  /** Readings scored below this (0..1) are left out. */
  readonly minScore?: number
}

export type StreamDeps = {
  readonly tail: Tail
  readonly evidence: Pick<Evidence, 'committed' | 'read'>
  /** How far the proof of an envelope has come. */
  readonly proofOf: (station: string, seq: number) => Proof
  readonly nowMs: () => number
  /** What a reader is told of an error. */
  readonly faultOf: (error: Error) => Fault
  /** Aborts when the hub stops. */
  readonly stopping: AbortSignal
  /** How long a stream that has nothing to say is silent; usually `heartbeatMs`. */
  readonly silenceMs: number
}

/** Proxies and clients cut what is silent for a minute or half of it. */
export const heartbeatMs = 15_000

// How long a client waits before it connects again.
const reconnectMs = 3_000

// What a stream catches up with: a day, and so many envelopes of the whole hub. Longer spans are for queries.
const maxBehindMs = 24 * 3_600_000
const maxBehindEnvelopes = 50_000

// Envelopes looked through in one go: then others have their turn.
const pageEnvelopes = 100

const tooOld = (since: string): Fault =>
  fault('stream-behind', `what was received since ${since} is too much for a stream`)

/**
 * Why a stream cannot go on at a mark; undefined where it can. A day of evidence and 50,000 envelopes are caught up
 * with.
 */
export const faultAt = async (
  { evidence, nowMs }: Pick<StreamDeps, 'evidence' | 'nowMs'>,
  { index }: Mark,
): Promise<Fault | undefined> => {
  if (index > evidence.committed) {
    const detail = 'is of another hub, or from before this one began anew'
    return fault('invalid-query', `Last-Event-ID ${detail}`, { fields: [{ name: 'Last-Event-ID', detail }] })
  }
  for await (const { receivedMs } of evidence.read(index)) {
    const isOld = nowMs() - receivedMs > maxBehindMs
    return isOld || evidence.committed - index > maxBehindEnvelopes ? tooOld(timeText(receivedMs)) : undefined
  }
  return undefined
}

/** What was paid of a stream: everything of its subject from one mark to another. */
export type PaidSpan = { readonly from: Mark; readonly to: Mark }

/**
 * How a stream is paid. What it was paid for before, up to a mark, comes again for nothing; `delivered` hears of each
 * reading that is put on the tab.
 */
export type Purse = {
  readonly tab: OpenTab
  readonly paidTo: Mark | undefined
  readonly delivered: (mark: Mark) => void
}

const isWanted = ({ sensor, minScore = 0 }: Subject, reading: StoredReading): boolean =>
  (sensor === undefined || reading.sensor === sensor) && reading.score >= minScore

/** The text of a row that receipts are made of: `response` is SHA-256 over those of all rows of a segment. */
export const receiptText = (row: object): string => `${JSON.stringify(row)}\n`

/**
 * Events behind a mark: `start` at once, then `reading` for each, `account` where something was settled, and at last
 * `end` with a problem that says why. Ends by itself when the hub stops, when its reader cannot pay, or is too far
 * behind; `cancelled` ends it without a word.
 */
export async function* streamEvents(
  deps: StreamDeps,
  subject: Subject,
  from: Mark,
  purse: Purse | undefined,
  cancelled: AbortSignal,
): AsyncGenerator<string> {
  const { tail, proofOf, nowMs, stopping, silenceMs } = deps
  const stations = subject.stations && new Set(subject.stations)
  const codes = subject.quantities && new Set(subject.quantities)
  const over = AbortSignal.any([stopping, cancelled])
  let mark = from
  // Rows that come again and were paid before.
  let again = 0

  const account = (statement: Statement | undefined): string =>
    statement === undefined ? '' : eventText('account', markText(mark), statement)

  const end = (why: Fault): string => {
    const settled = account(purse?.tab.close())
    return `${settled}${eventText('end', markText(mark), problemBody(why))}`
  }

  const hasPaid = (place: Mark): boolean => purse?.paidTo !== undefined && !isAfter(place, purse.paidTo)

  /** Tells where the rows end that were paid before. */
  const endOfAgain = (): string => {
    if (purse === undefined || again === 0) return ''
    const rows = again
    again = 0
    return account(purse.tab.standing(rows))
  }

  async function* eventsOf(kept: TailEnvelope): AsyncGenerator<string, Fault | undefined> {
    const proof = proofOf(kept.station, kept.seq)
    for (const reading of await kept.rows()) {
      const next = { index: kept.index, place: reading.place }
      if (!isAfter(next, mark) || !isWanted(subject, reading)) continue
      const row = readingRow(reading, codes, proof)
      if (row === undefined) continue
      if (purse !== undefined && hasPaid(next)) again++
      else if (purse !== undefined) {
        const told = endOfAgain()
        if (told !== '') yield told
        const paid = purse.tab.deliver([row], receiptText(row))
        if (paid.statement !== undefined) yield account(paid.statement)
        if (!paid.ok) return paid.fault
        purse.delivered(next)
      }
      mark = next
      yield eventText('reading', markText(mark), row)
      if (over.aborted) return undefined
    }
    return undefined
  }

  const page = async (): Promise<TailEnvelope[]> => {
    const found: TailEnvelope[] = []
    for await (const kept of tail.read(mark.index)) {
      found.push(kept)
      if (found.length === pageEnvelopes) break
    }
    return found
  }

  yield `${retryText(reconnectMs)}${eventText('start', markText(mark), { time: timeText(nowMs()) })}`
  try {
    let saidMs = nowMs()
    while (!over.aborted) {
      const { reached } = tail
      const found = await page()
      for (const kept of found) {
        if (nowMs() - kept.receivedMs > maxBehindMs) {
          yield end(tooOld(timeText(kept.receivedMs)))
          return
        }
        if (kept.readings > 0 && stations?.has(kept.station) !== false) {
          const events = eventsOf(kept)
          let event = await events.next()
          for (; !event.done; event = await events.next()) {
            saidMs = nowMs()
            yield event.value
          }
          if (event.value !== undefined) {
            yield end(event.value)
            return
          }
        }
        if (over.aborted) break
        mark = before(kept.index + 1)
      }
      if (over.aborted) break
      // Behind the last envelope there may be such as are not handed out.
      if (found.length < pageEnvelopes && reached > mark.index) mark = before(reached)
      if (purse?.paidTo !== undefined && isAfter(mark, purse.paidTo)) {
        const told = endOfAgain()
        if (told !== '') yield told
      }
      if (nowMs() - saidMs >= silenceMs) {
        // Looks at the key, too, and settles what has been on the tab for long enough.
        const paid = purse?.tab.deliver([], '')
        if (paid?.ok === false) {
          yield `${account(paid.statement)}${end(paid.fault)}`
          return
        }
        saidMs = nowMs()
        yield `${account(paid?.statement)}${heartbeatText(markText(mark))}`
      }
      await tail.grown(mark.index, Math.max(1, silenceMs - (nowMs() - saidMs)), over)
    }
    if (!cancelled.aborted) yield end(fault('hub-stopping', 'the hub stops'))
  } catch (error) {
    yield end(deps.faultOf(error as Error))
  }
}
