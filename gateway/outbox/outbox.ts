/** The outbox: envelopes wait here, on disk, until the hub's signed receipt says that it has them on its own. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Journal } from '../journal/journal.ts'
import { equalBytes, fromHex, toHex } from '../reading/bytes.ts'
import { decodeDropped, droppedContentType, encodeDropped } from '../reading/dropped.ts'
import { decodeEnvelope, envelopeHash, noPrevious } from '../reading/envelope.ts'
import type { Receipt } from '../reading/receipt.ts'
import { type Refusal, refusals } from '../reading/refusal.ts'
import { type DiskStatus, openLasting } from './lasting.ts'
import { declarationOf, leastThinned, stepOf, type Waiting } from './thin.ts'

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

type Pending = { index: number; readonly hash: Uint8Array }

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

/**
 * 96 MiB: seven days without a hub at one reading a second are some 121,000 envelopes of five readings, 38 MB with three
 * quantities each; segments that are being made come on top.
 */
export const defaultMaxBytes = 96 * 1024 * 1024

// Beyond this share of the budget, a commit waits for the thinning.
const patientFactor = 1.125

// A disk that cannot be read now is asked again after this long.
const unreadableMs = 1_000

/** Opens the outbox in a directory; what had no receipt when it was last closed, or killed, is backlog. */
export const openOutbox = async (options: OutboxOptions): Promise<Outbox> => {
  const maxInFlight = options.maxInFlight ?? 64
  const receiptTimeoutMs = options.receiptTimeoutMs ?? 20_000
  const cursorIntervalMs = options.cursorIntervalMs ?? 10_000
  const backlogIntervalMs = 1000 / (options.backlogPerS ?? 50)
  const now = options.now ?? (() => performance.now())
  const utc = options.utc ?? Date.now
  const cursorPath = join(options.directory, 'cursor.json')

  // In order of seq and journal index alike, because a Map keeps the order of insertion.
  const pending = new Map<number, Pending>()
  const flying = new Map<number, { readonly sentMs: number }>()
  const fresh = new Set<number>()
  const backlog = new Set<number>()
  const uncommitted: number[] = []
  let head: Outbox['head'] = { seq: 0, hash: noPrevious, withheld: 0 }
  let held = 0
  let lost = 0
  const writers: (() => void)[] = []
  let dropped = 0
  let thinnedTo = 0
  let thinning: Promise<void> | undefined
  /** Whether `pending` is in order of journal index as well: not where a failing disk had one written again. */
  let inIndexOrder = true
  let accepted = 0
  let refusedCount = 0
  let lastRefusal: OutboxStatus['lastRefusal'] = null
  let conflict: number | null = null
  let nextBacklogMs = 0
  let wake: (() => void) | undefined

  // Settled, and not to be trimmed yet.
  const retained = new Map<number, Pending>()
  let retainAfter: number | null = null

  const drop = (seq: number): void => {
    const entry = pending.get(seq)
    if (entry !== undefined && retainAfter !== null && seq > retainAfter) retained.set(seq, entry)
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

  let cursorIndex = 0
  const oldestIndex = (): number => {
    let least = journal.committed
    for (const { index } of retained.values()) least = Math.min(least, index)
    if (inIndexOrder) return Math.min(least, pending.values().next().value?.index ?? least)
    for (const { index } of pending.values()) least = Math.min(least, index)
    return least
  }
  let cursorSavedMs = Number.NEGATIVE_INFINITY
  const saveCursor = async (): Promise<void> => {
    if (journal.disk.state !== 'ok') return
    if (now() - cursorSavedMs < cursorIntervalMs) return
    const index = oldestIndex()
    if (index === cursorIndex) return
    cursorIndex = index
    cursorSavedMs = now()
    const cursor: Cursor = { index, seq: head.seq, hash: toHex(head.hash), withheld: head.withheld }
    try {
      writeFileSync(`${cursorPath}.new`, JSON.stringify(cursor), { mode: 0o600 })
      renameSync(`${cursorPath}.new`, cursorPath)
    } catch {
      // It only saves work. On a full disk the trim below makes room for the next one.
    }
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

  /** Reads what waits on disk: once, before the first envelope is appended. */
  const load = async (from: Journal): Promise<void> => {
    const stored = readCursor(cursorPath)
    pending.clear()
    backlog.clear()
    head = { seq: 0, hash: noPrevious, withheld: 0 }
    if (stored !== undefined)
      head = { seq: stored.seq, hash: fromHex(stored.hash)!, withheld: stored.withheld }
    cursorIndex = stored?.index ?? 0
    const found = new Map<number, Pending>()
    let [ordered, newest] = [true, 0]
    // A cursor past the end is from before the disk lost its newest records: it says nothing about what comes now.
    const start = stored !== undefined && stored.index <= from.next ? stored.index : 0
    for await (const { index, record } of from.read(Math.max(from.first, start))) {
      const decoded = decodeEnvelope(record)
      if (!decoded.ok) continue // damage that a checksum did not see: nobody could verify it either
      const { seq, withheld } = decoded.envelope
      const hash = envelopeHash(record)
      found.set(seq, { index, hash })
      if (decoded.envelope.contentType === droppedContentType) {
        const declared = decodeDropped(decoded.envelope.payload, seq)
        if (declared.ok) for (const one of declared.dropped.envelopes) found.delete(one.seq)
      }
      if (seq < newest) ordered = false
      newest = Math.max(newest, seq)
      if (seq >= head.seq) head = { seq, hash, withheld }
    }
    inIndexOrder = ordered
    const entries = ordered ? found : [...found].sort(([a], [b]) => a - b)
    for (const [seq, entry] of entries) {
      pending.set(seq, entry)
      backlog.add(seq)
    }
  }

  const put = (envelope: Uint8Array): void => {
    const decoded = decodeEnvelope(envelope)
    if (!decoded.ok || decoded.envelope.seq !== head.seq + 1)
      throw new Error('only the next envelope of the chain goes into the outbox')
    const { seq, withheld } = decoded.envelope
    const hash = envelopeHash(envelope)
    pending.set(seq, { index: journal.append(envelope), hash })
    uncommitted.push(seq)
    head = { seq, hash, withheld }
  }

  /** The bytes of envelopes that wait on disk and are not on their way. */
  const waitingOf = async (seqs: readonly number[]): Promise<Waiting[]> => {
    const found: Waiting[] = []
    for (const seq of seqs) {
      const entry = pending.get(seq)
      if (entry === undefined || flying.has(seq)) continue
      const bytes = await journal.get(entry.index)
      if (bytes && equalBytes(envelopeHash(bytes), entry.hash)) found.push({ seq, hash: entry.hash, bytes })
    }
    return found
  }

  /** The next of the older half: one pass after the other goes over it, so the oldest have been halved most often. */
  const nextOldest = (): number[] => {
    const oldest: number[] = []
    if (pending.size < leastThinned) return oldest
    const most = stepOf(pending.size)
    for (let passes = 0; passes < 2 && oldest.length === 0; passes++) {
      let place = pending.size >> 1
      for (const seq of pending.keys()) {
        if (place-- <= 0 || oldest.length >= most) break
        if (seq > thinnedTo) oldest.push(seq)
      }
      thinnedTo = oldest.at(-1) ?? 0
    }
    return oldest
  }

  /** All that wait, by their place in the journal, from its end to its beginning. */
  const newestFirst = (): number[] =>
    [...pending].sort(([, a], [, b]) => b.index - a.index).map(([seq]) => seq)

  /**
   * Drops every second of the oldest, and writes what stands first in the journal once more at its end, so that whole
   * segments get free. A copy, then the declaration, go to disk in this order before anything is trimmed: a power cut
   * leaves at worst both copies, and what a declaration on disk lists is not read again.
   */
  const thinOnce = async (order: number[]): Promise<boolean> => {
    const declare = options.declare!
    const oldest = nextOldest()
    const declaration = declarationOf(await waitingOf(oldest), utc(), 'budget')
    if (declaration === undefined) return false
    const gone = new Set(declaration.envelopes.map(({ seq }) => seq))
    const front: number[] = []
    const most = stepOf(pending.size)
    while (front.length < most && order.length > 0) {
      const seq = order.pop()!
      if (!gone.has(seq)) front.push(seq)
    }
    const moved: [seq: number, index: number][] = []
    for (const { seq, bytes } of await waitingOf(front)) moved.push([seq, journal.append(bytes)])
    const { seq, hash: prev, withheld } = head
    put(
      declare({ seq: seq + 1, prev, withheld, contentType: droppedContentType }, encodeDropped(declaration)),
    )
    await journal.commit()
    offerCommitted()
    if (journal.disk.state !== 'ok') return false
    for (const [each, index] of moved) {
      const entry = pending.get(each)
      if (entry !== undefined) entry.index = index
    }
    inIndexOrder = false
    for (const each of gone) {
      if (!pending.has(each) || flying.has(each)) continue
      drop(each)
      dropped++
    }
    cursorSavedMs = Number.NEGATIVE_INFINITY
    await saveCursor()
    return true
  }

  const thin = async (): Promise<void> => {
    const { maxBytes } = options
    let order: number[] = []
    while (maxBytes !== undefined && journal.bytesOnDisk > maxBytes && journal.disk.state === 'ok') {
      if (order.length === 0) order = newestFirst()
      if (!(await thinOnce(order))) return
    }
  }

  const thinSoon = (): void => {
    if (options.maxBytes === undefined || options.declare === undefined) return
    if (journal.bytesOnDisk <= options.maxBytes || thinning !== undefined) return
    thinning = thin()
      .catch(() => {}) // closed in the middle; the disk's own troubles are in its status
      .finally(() => {
        thinning = undefined
      })
  }

  /** What is on disk now may be sent. */
  const offerCommitted = (): void => {
    while (uncommitted.length > 0) {
      const entry = pending.get(uncommitted[0]!)
      if (entry !== undefined && entry.index >= journal.committed) break
      fresh.add(uncommitted.shift()!)
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
    opened: load,
    moved: (from, to) => {
      for (const entries of [pending, retained])
        for (const entry of entries.values()) if (entry.index === from) entry.index = to
      inIndexOrder = false
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
      thinSoon()
      // Who writes faster than the past can be thinned waits here, so that the budget holds.
      if (journal.bytesOnDisk > patientFactor * (options.maxBytes ?? Number.POSITIVE_INFINITY)) await thinning
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
        if (bytes === null) {
          flying.delete(seq)
          backlog.add(seq)
          nextBacklogMs = now() + unreadableMs
          continue
        }
        if (bytes !== undefined && equalBytes(envelopeHash(bytes), entry.hash))
          return { seq, bytes, backlog: late }
        drop(seq) // damaged on disk since: the journal reports it, the hub sees the gap
      }
    },
    get: async (seq) => {
      const entry = pending.get(seq) ?? retained.get(seq)
      const bytes = entry && (await journal.get(entry.index))
      return bytes && !equalBytes(envelopeHash(bytes), entry!.hash) ? undefined : bytes
    },
    retain: (after) => {
      retainAfter = after
      for (const seq of retained.keys()) if (after === null || seq <= after) retained.delete(seq)
    },
    settle: async (receipt) => {
      // Before it was read from disk, nobody knows what this receipt is about; the next one says it all again.
      if (!journal.opened) return
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
        // While it cannot be put aside it stays where it is, and is refused once more later.
        if (bytes === null || refusedJournal.disk.state !== 'ok') continue
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
      const counts = {
        pending: pending.size,
        inFlight: size,
        accepted,
        refused: refusedCount,
        held,
        lost,
        dropped,
      }
      return { ...counts, lastRefusal, conflict, bytesOnDisk: journal.bytesOnDisk, disk: journal.disk }
    },
    [Symbol.asyncDispose]: async () => {
      await thinning
      cursorSavedMs = Number.NEGATIVE_INFINITY
      await saveCursor()
      await journal[Symbol.asyncDispose]()
      await refusedJournal[Symbol.asyncDispose]()
    },
  }
}
