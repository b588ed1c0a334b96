/** The outbox: envelopes wait here, on disk, until the hub's signed receipt says that it has them on its own. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Journal } from '../journal/journal.ts'
import { equalBytes, fromHex, toHex } from '../reading/bytes.ts'
import { decodeEnvelope, envelopeHash, noPrevious } from '../reading/envelope.ts'
import type { Receipt } from '../reading/receipt.ts'
import { type Refusal, refusals } from '../reading/refusal.ts'

export type OutboxEntry = { readonly seq: number; readonly bytes: Uint8Array; readonly backlog: boolean }

export type OutboxStatus = {
  /** Envelopes without a receipt, in flight included. */
  readonly pending: number
  readonly inFlight: number
  readonly accepted: number
  readonly refused: number
  readonly lastRefusal: { readonly seq: number; readonly reason: Refusal } | null
  /** The hub says it has an envelope under one of our numbers that is not ours: the key is in use twice. */
  readonly conflict: number | null
}

export type Outbox = AsyncDisposable & {
  /** The newest envelope ever appended: where the chain goes on. `withheld` is its count of those with private positions. */
  readonly head: { readonly seq: number; readonly hash: Uint8Array; readonly withheld: number }
  append(envelope: Uint8Array): void
  /** Resolves when all appended is on disk; only then is it offered by `next`. */
  commit(): Promise<void>
  /** The next envelope to send: fresh ones first, the backlog after. Waits until there is one and room in flight. */
  next(signal: AbortSignal): Promise<OutboxEntry>
  /** Takes note of the hub's receipt, whose signature has been checked. */
  settle(receipt: Receipt): Promise<void>
  /** The connection is gone: what was in flight or fresh becomes backlog. */
  requeue(): void
  readonly status: OutboxStatus
}

export type OutboxOptions = {
  readonly directory: string
  readonly openJournal: (directory: string) => Promise<Journal>
  /** Envelopes sent and not yet receipted, at most. */
  readonly maxInFlight?: number
  /** After this long without a receipt an envelope is sent again. */
  readonly receiptTimeoutMs?: number
  /** Backlog envelopes per second after an outage, so that the drain does not drown the link or the hub. */
  readonly backlogPerS?: number
  /** Between notes of how far receipts reach: each costs an SD card a few pages, a lost one only envelopes sent twice. */
  readonly cursorIntervalMs?: number
  readonly now?: () => number
}

type Pending = { readonly index: number; readonly hash: Uint8Array }

type Cursor = {
  readonly index: number
  readonly seq: number
  readonly hash: string
  readonly withheld: number
}

/** The cursor file only saves work: when it is old or gone, envelopes are sent again and the hub knows them. */
const readCursor = (path: string): Cursor | undefined => {
  try {
    const { index, seq, hash, withheld = 0 } = JSON.parse(readFileSync(path, 'utf8')) as Partial<Cursor>
    if (typeof hash !== 'string' || fromHex(hash)?.length !== 32) return undefined
    return Number.isSafeInteger(index) &&
      Number.isSafeInteger(seq) &&
      Number.isSafeInteger(withheld) &&
      withheld >= 0
      ? { index: index!, seq: seq!, hash, withheld }
      : undefined
  } catch {
    return undefined // first start, or a file torn by a power cut
  }
}

/** Opens the outbox in a directory; what had no receipt when it was last closed, or killed, is backlog. */
export const openOutbox = async (options: OutboxOptions): Promise<Outbox> => {
  const maxInFlight = options.maxInFlight ?? 64
  const receiptTimeoutMs = options.receiptTimeoutMs ?? 20_000
  const cursorIntervalMs = options.cursorIntervalMs ?? 10_000
  const backlogIntervalMs = 1000 / (options.backlogPerS ?? 50)
  const now = options.now ?? (() => performance.now())
  mkdirSync(options.directory, { recursive: true, mode: 0o700 })
  const cursorPath = join(options.directory, 'cursor.json')
  const journal = await options.openJournal(join(options.directory, 'envelopes'))
  const refusedJournal = await options.openJournal(join(options.directory, 'refused'))

  // In order of seq and journal index alike, because a Map keeps the order of insertion.
  const pending = new Map<number, Pending>()
  const flying = new Map<number, { readonly sentMs: number }>()
  const fresh = new Set<number>()
  const backlog = new Set<number>()
  const uncommitted: number[] = []
  const stored = readCursor(cursorPath)
  let head: Outbox['head'] =
    stored === undefined
      ? { seq: 0, hash: noPrevious, withheld: 0 }
      : { seq: stored.seq, hash: fromHex(stored.hash)!, withheld: stored.withheld }
  let accepted = 0
  let refusedCount = 0
  let lastRefusal: OutboxStatus['lastRefusal'] = null
  let conflict: number | null = null
  let nextBacklogMs = 0
  let wake: (() => void) | undefined

  // A cursor past the end is from before the disk lost its newest records: it says nothing about what comes now.
  const from = stored !== undefined && stored.index <= journal.next ? stored.index : 0
  for await (const { index, record } of journal.read(Math.max(journal.first, from))) {
    const decoded = decodeEnvelope(record)
    if (!decoded.ok) continue // damage that a checksum did not see: nobody could verify it either
    const { seq, withheld } = decoded.envelope
    const hash = envelopeHash(record)
    pending.set(seq, { index, hash })
    backlog.add(seq)
    if (seq >= head.seq) head = { seq, hash, withheld }
  }

  const drop = (seq: number): void => {
    pending.delete(seq)
    flying.delete(seq)
    fresh.delete(seq)
    backlog.delete(seq)
  }

  const requeueLate = (): void => {
    const late = now() - receiptTimeoutMs
    for (const [seq, { sentMs }] of flying) {
      if (sentMs > late) break
      flying.delete(seq)
      backlog.add(seq)
    }
  }

  let cursorIndex = stored?.index ?? 0
  let cursorSavedMs = Number.NEGATIVE_INFINITY
  const saveCursor = async (): Promise<void> => {
    const index = pending.values().next().value?.index ?? journal.committed
    if (index === cursorIndex || now() - cursorSavedMs < cursorIntervalMs) return
    cursorIndex = index
    cursorSavedMs = now()
    const cursor: Cursor = { index, seq: head.seq, hash: toHex(head.hash), withheld: head.withheld }
    writeFileSync(`${cursorPath}.new`, JSON.stringify(cursor), { mode: 0o600 })
    renameSync(`${cursorPath}.new`, cursorPath)
    await journal.trim(index)
  }

  /** The seq to send now, or how long to wait for one. */
  const candidate = (): { seq: number; late: boolean } | { waitMs: number } => {
    if (flying.size >= maxInFlight) return { waitMs: receiptTimeoutMs }
    const [newest] = fresh
    if (newest !== undefined) return { seq: newest, late: false }
    const [oldest] = backlog
    if (oldest === undefined) return { waitMs: receiptTimeoutMs }
    const waitMs = nextBacklogMs - now()
    return waitMs > 0 ? { waitMs } : { seq: oldest, late: true }
  }

  const waitFor = (ms: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        wake = undefined
        resolve()
      }
      const timer = setTimeout(done, ms)
      signal.addEventListener('abort', done, { once: true })
      wake = done
    })

  return {
    get head() {
      return head
    },
    append: (envelope) => {
      const decoded = decodeEnvelope(envelope)
      if (!decoded.ok || decoded.envelope.seq !== head.seq + 1)
        throw new Error('only the next envelope of the chain goes into the outbox')
      const { seq, withheld } = decoded.envelope
      const hash = envelopeHash(envelope)
      pending.set(seq, { index: journal.append(envelope), hash })
      uncommitted.push(seq)
      head = { seq, hash, withheld }
    },
    commit: async () => {
      await journal.commit()
      while (uncommitted.length > 0) {
        const entry = pending.get(uncommitted[0]!)
        if (entry !== undefined && entry.index >= journal.committed) break
        fresh.add(uncommitted.shift()!)
      }
      wake?.()
    },
    next: async (signal) => {
      for (;;) {
        signal.throwIfAborted()
        requeueLate()
        const found = candidate()
        if ('waitMs' in found) {
          await waitFor(Math.min(found.waitMs, receiptTimeoutMs / 4), signal)
          continue
        }
        const { seq, late } = found
        fresh.delete(seq)
        backlog.delete(seq)
        const entry = pending.get(seq)
        if (entry === undefined) continue
        flying.set(seq, { sentMs: now() })
        if (late) nextBacklogMs = now() + backlogIntervalMs
        const bytes = await journal.get(entry.index)
        if (bytes !== undefined) return { seq, bytes, backlog: late }
        drop(seq) // damaged on disk since: the journal reports it, the hub sees the gap
      }
    },
    settle: async (receipt) => {
      for (const { first, last, head: hash, withheld } of receipt.accepted) {
        const mine = last === head.seq ? head.hash : pending.get(last)?.hash
        if (mine !== undefined && !equalBytes(mine, hash)) {
          conflict = last
          continue
        }
        // A disk restored from an older copy: the hub knows envelopes that this outbox has forgotten.
        if (last > head.seq) head = { seq: last, hash, withheld: Math.max(withheld, head.withheld) }
        for (const seq of pending.keys()) {
          if (seq > last) break
          if (seq < first) continue
          drop(seq)
          accepted++
        }
      }
      for (const { seq, reason, hash } of receipt.refused) {
        const entry = pending.get(seq)
        if (entry === undefined || !equalBytes(entry.hash, hash)) continue
        lastRefusal = { seq, reason }
        if (refusals[reason].again) continue // stays in flight until its time-out brings it back
        const bytes = await journal.get(entry.index)
        if (bytes) refusedJournal.append(bytes)
        await refusedJournal.commit()
        drop(seq)
        refusedCount++
      }
      await saveCursor()
      wake?.()
    },
    requeue: () => {
      const again = [...flying.keys(), ...fresh, ...backlog].sort((a, b) => a - b)
      flying.clear()
      fresh.clear()
      backlog.clear()
      for (const seq of again) backlog.add(seq)
    },
    get status() {
      const { size } = flying
      return { pending: pending.size, inFlight: size, accepted, refused: refusedCount, lastRefusal, conflict }
    },
    [Symbol.asyncDispose]: async () => {
      cursorSavedMs = Number.NEGATIVE_INFINITY
      await saveCursor()
      await journal.close()
      await refusedJournal.close()
    },
  }
}
