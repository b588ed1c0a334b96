/** The outbox: envelopes wait here, on disk, until the hub's signed receipt says that it has them on its own. */
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Journal } from '../journal/journal.ts'
import { equalBytes, toHex } from '../reading/bytes.ts'
import { decodeEnvelope, envelopeHash, noPrevious } from '../reading/envelope.ts'
import type { Receipt } from '../reading/receipt.ts'
import { type Refusal, refusals } from '../reading/refusal.ts'
import { writeCursor } from './cursor.ts'
import { type DiskStatus, openLasting } from './lasting.ts'
import type { Place } from './places.ts'
import { createQueue } from './queue.ts'
import { resume } from './resume.ts'
import { createThinning } from './thinning.ts'

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
  /** How its own disk is. While that is not `ok`, readings wait unsigned in memory. */
  readonly disk: DiskStatus
  /** Unsigned readings that wait in memory for the disk. */
  readonly held: number
  /** Readings since the start that memory had no room for while the disk was away. */
  readonly lost: number
  /** Envelopes dropped since the start because the disk budget was used up; each is declared to the hub. */
  readonly dropped: number
  readonly bytesOnDisk: number
}

export type Outbox = AsyncDisposable & {
  /** The newest envelope ever appended: where the chain goes on. `withheld` is its count of those with private positions. */
  readonly head: { readonly seq: number; readonly hash: Uint8Array; readonly withheld: number }
  append(envelope: Uint8Array): void
  /** False while the disk does not take envelopes, or did not let itself be read yet: nothing may be signed then. */
  readonly writable: boolean
  /** Hands in what is to be done each time `writable` becomes true again. */
  whenWritable(run: () => void): void
  /** What the sealer holds, and lost, for want of the disk: for the status. */
  holding(held: number, lost: number): void
  /**
   * Resolves when all appended is on disk; only then is it offered by `next`. Where the disk fails it resolves too: the
   * envelopes stay in memory, byte for byte, and go to disk when it is back.
   */
  commit(): Promise<void>
  /** The next envelope to send: fresh ones first, the backlog after. Waits until there is one and room in flight. */
  next(signal: AbortSignal): Promise<OutboxEntry>
  /**
   * The bytes of an envelope that has no receipt, or is retained. Undefined where they are gone; null where the disk
   * cannot be read now.
   */
  get(seq: number): Promise<Uint8Array | undefined | null>
  /** What is signed after this number stays readable, settled or not, over a restart too; null ends that. */
  retain(after: number | null): void
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
  /**
   * Disk the envelopes may take, in bytes; without bounds unless told. When it is used up, every second of the oldest
   * envelopes goes, again and again. For a moment a segment or two more may be taken.
   */
  readonly maxBytes?: number
  /** Signs what was dropped as the chain's next envelope. Without it nothing is ever dropped. */
  readonly declare?: (
    head: {
      readonly seq: number
      readonly prev: Uint8Array
      readonly withheld: number
      readonly contentType: string
    },
    payload: Uint8Array,
  ) => Uint8Array
  readonly now?: () => number
  /** UTC in ms. */
  readonly utc?: () => number
  /** Longest pause between attempts to use a disk that failed; 60 s unless told. */
  readonly longestDiskBackoffMs?: number
}

/**
 * 96 MiB: seven days without a hub at one reading a second are some 121,000 envelopes of five readings, 38 MB with three
 * quantities each; segments that are being made come on top.
 */
export const defaultMaxBytes = 96 * 1024 * 1024

// Beyond this share of the budget, a commit waits for the thinning.
const patientFactor = 1.125

// Envelopes kept in memory too until they are sent, so that what goes out at once is not read back from the disk.
const keptUnsent = 16

// A disk that cannot be read now is asked again after this long.
const unreadableMs = 1_000

/** Opens the outbox in a directory; what had no receipt when it was last closed, or killed, is backlog. */
export const openOutbox = async (options: OutboxOptions): Promise<Outbox> => {
  const maxInFlight = options.maxInFlight ?? 64
  const receiptTimeoutMs = options.receiptTimeoutMs ?? 20_000
  const cursorIntervalMs = options.cursorIntervalMs ?? 10_000
  const now = options.now ?? (() => performance.now())
  const utc = options.utc ?? Date.now
  const cursorPath = join(options.directory, 'cursor.json')

  const queue = createQueue({
    maxInFlight,
    receiptTimeoutMs,
    backlogIntervalMs: 1000 / (options.backlogPerS ?? 50),
    now,
  })
  const declarations = new Map<number, number>()
  const uncommitted: number[] = []
  const unsent = new Map<number, Uint8Array>()
  let head: Outbox['head'] = { seq: 0, hash: noPrevious, withheld: 0 }
  let held = 0
  let lost = 0
  const writers: (() => void)[] = []
  let accepted = 0
  let refusedCount = 0
  let lastRefusal: OutboxStatus['lastRefusal'] = null
  let conflict: number | null = null
  let wake: (() => void) | undefined

  // Settled, and not to be trimmed yet.
  const retained = new Map<number, Place>()
  let retainAfter: number | null = null

  const settled = (seq: number): void => {
    const place = queue.get(seq)
    if (place !== undefined && retainAfter !== null && seq > retainAfter) retained.set(seq, place)
    queue.drop(seq)
    unsent.delete(seq)
  }

  const oldestIndex = (): number => {
    let least = queue.oldestIndex ?? journal.committed
    for (const { index } of retained.values()) least = Math.min(least, index)
    return least
  }

  let cursorIndex = 0
  let cursorSavedMs = Number.NEGATIVE_INFINITY
  const saveCursor = async (): Promise<void> => {
    if (journal.disk.state !== 'ok') return
    if (now() - cursorSavedMs < cursorIntervalMs) return
    const index = oldestIndex()
    if (index === cursorIndex) return
    cursorIndex = index
    cursorSavedMs = now()
    try {
      writeCursor(cursorPath, { index, seq: head.seq, hash: toHex(head.hash), withheld: head.withheld })
    } catch {
      // It only saves work. On a full disk the trim below makes room for the next one.
    }
    await journal.trim(index)
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

  const put = (envelope: Uint8Array): void => {
    const decoded = decodeEnvelope(envelope)
    if (!decoded.ok || decoded.envelope.seq !== head.seq + 1)
      throw new Error('only the next envelope of the chain goes into the outbox')
    const { seq, withheld } = decoded.envelope
    const hash = envelopeHash(envelope)
    queue.add(seq, { index: journal.append(envelope), hash })
    uncommitted.push(seq)
    if (unsent.size >= keptUnsent) unsent.delete(unsent.keys().next().value!)
    unsent.set(seq, envelope)
    head = { seq, hash, withheld }
  }

  /** What is on disk now may be sent. */
  const offerCommitted = (): void => {
    while (uncommitted.length > 0) {
      const place = queue.get(uncommitted[0]!)
      if (place !== undefined && place.index >= journal.committed) break
      queue.offer(uncommitted.shift()!)
    }
    wake?.()
  }

  const patience = {
    now,
    ...(options.longestDiskBackoffMs === undefined ? {} : { longestBackoffMs: options.longestDiskBackoffMs }),
  }
  const probePath = join(options.directory, 'probe.new')
  const probe = async (): Promise<void> => {
    await mkdir(options.directory, { recursive: true, mode: 0o700 })
    await writeFile(probePath, 'x', { mode: 0o600 })
    await rm(probePath)
  }
  const journal = await openLasting({
    ...patience,
    open: () => options.openJournal(join(options.directory, 'envelopes')),
    probe,
    // Once, before the first envelope is appended.
    opened: async (from) => {
      const resumed = await resume(from, cursorPath, queue, declarations)
      head = resumed.head
      cursorIndex = resumed.cursorIndex
    },
    moved: (from, to) => {
      queue.moveFrom(from, to)
      for (const [seq, place] of retained)
        if (place.index === from) retained.set(seq, { ...place, index: to })
    },
    recovered: () => {
      offerCommitted()
      for (const run of writers) run()
    },
  })
  const refusedJournal = await openLasting({
    ...patience,
    open: () => options.openJournal(join(options.directory, 'refused')),
    probe,
  })

  const { declare, maxBytes } = options
  const thinning =
    declare === undefined || maxBytes === undefined
      ? undefined
      : createThinning({
          queue,
          journal,
          declarations,
          maxBytes,
          utc,
          declare: (contentType, payload) => {
            const { seq, hash: prev, withheld } = head
            put(declare({ seq: seq + 1, prev, withheld, contentType }, payload))
            return seq + 1
          },
          commit: async () => {
            await journal.commit()
            offerCommitted()
          },
          mergedUpTo: () => retainAfter ?? Number.MAX_SAFE_INTEGER,
          free: async () => {
            cursorSavedMs = Number.NEGATIVE_INFINITY
            await saveCursor()
          },
        })

  return {
    get head() {
      return head
    },
    append: put,
    get writable() {
      return journal.opened && journal.disk.state === 'ok'
    },
    whenWritable: (run) => {
      writers.push(run)
    },
    holding: (nowHeld, nowLost) => {
      held = nowHeld
      lost = nowLost
    },
    commit: async () => {
      await journal.commit()
      offerCommitted()
      thinning?.start()
      // Who writes faster than the past can be thinned waits here, so that the budget holds.
      if (journal.bytesOnDisk > patientFactor * (options.maxBytes ?? Number.POSITIVE_INFINITY))
        await thinning?.done
    },
    next: async (signal) => {
      for (;;) {
        signal.throwIfAborted()
        const found = queue.take()
        if ('waitMs' in found) {
          await waitFor(Math.min(found.waitMs, receiptTimeoutMs / 4), signal)
          continue
        }
        const { seq, late } = found
        const { index, hash } = queue.get(seq)!
        const kept = unsent.get(seq)
        unsent.delete(seq)
        if (kept !== undefined) return { seq, bytes: kept, backlog: late }
        const bytes = await journal.get(index)
        if (bytes === null) {
          queue.putBack(seq, unreadableMs)
          continue
        }
        if (bytes !== undefined && equalBytes(envelopeHash(bytes), hash)) return { seq, bytes, backlog: late }
        queue.drop(seq) // damaged on disk since: the journal reports it, the hub sees the gap
      }
    },
    get: async (seq) => {
      const place = queue.get(seq) ?? retained.get(seq)
      const bytes = place && (await journal.get(place.index))
      return bytes && !equalBytes(envelopeHash(bytes), place!.hash) ? undefined : bytes
    },
    retain: (after) => {
      retainAfter = after
      for (const seq of retained.keys()) if (after === null || seq <= after) retained.delete(seq)
    },
    settle: async (receipt) => {
      // Before it was read from disk, nobody knows what this receipt is about; the next one says it all again.
      if (!journal.opened) return
      for (const { first, last, head: hash, withheld } of receipt.accepted) {
        const mine = last === head.seq ? head.hash : queue.get(last)?.hash
        if (mine !== undefined && !equalBytes(mine, hash)) {
          conflict = last
          continue
        }
        // A disk restored from an older copy: the hub knows envelopes that this outbox has forgotten.
        if (last > head.seq) head = { seq: last, hash, withheld: Math.max(withheld, head.withheld) }
        for (const seq of queue.seqs(first - 1)) {
          if (seq > last) break
          settled(seq)
          accepted++
        }
      }
      for (const { seq, reason, hash } of receipt.refused) {
        const place = queue.get(seq)
        if (place === undefined || !equalBytes(place.hash, hash)) continue
        lastRefusal = { seq, reason }
        if (refusals[reason].again) continue // stays in flight until its time-out brings it back
        const bytes = await journal.get(place.index)
        // While it cannot be put aside it stays where it is, and is refused once more later.
        if (bytes === null || refusedJournal.disk.state !== 'ok') continue
        if (bytes) refusedJournal.append(bytes)
        await refusedJournal.commit()
        settled(seq)
        refusedCount++
      }
      await saveCursor()
      wake?.()
    },
    requeue: () => {
      unsent.clear()
      queue.requeue()
    },
    get status() {
      const counts = {
        pending: queue.size,
        inFlight: queue.inFlight,
        accepted,
        refused: refusedCount,
        held,
        lost,
        dropped: thinning?.dropped ?? 0,
      }
      return { ...counts, lastRefusal, conflict, bytesOnDisk: journal.bytesOnDisk, disk: journal.disk }
    },
    [Symbol.asyncDispose]: async () => {
      await thinning?.done
      cursorSavedMs = Number.NEGATIVE_INFINITY
      await saveCursor()
      await journal[Symbol.asyncDispose]()
      await refusedJournal[Symbol.asyncDispose]()
    },
  }
}
