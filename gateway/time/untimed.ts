/** Readings that wait on disk for their time: unsigned, with the moment they were received at and its boot. */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { readNote, writeNote } from '../journal/note.ts'
import type { Lasting } from '../outbox/lasting.ts'
import type { Outbox } from '../outbox/outbox.ts'
import { readingsOf } from '../reading/contents.ts'
import { decodeDropped, droppedContentType } from '../reading/dropped.ts'
import { decodeEnvelope } from '../reading/envelope.ts'
import { decodeUntimed, encodeUntimed, type Head, headOf, thinnedPair, without } from './record.ts'
import type { Unsigned } from './time.ts'

/**
 * What is to be done with a record: it was signed and is on disk, it is dropped, or it stays and so do all after it.
 * `unsure`: some of it may have been signed, and is not on disk.
 */
export type Verdict = 'signed' | 'dropped' | 'stays' | 'unsure'

/** The chain that records are signed into: after a crash it tells which of them had been. */
export type SignedChain = Pick<Outbox, 'head' | 'writable' | 'get' | 'retain'>

export type Untimed = AsyncDisposable & {
  /** Readings that wait. */
  readonly waiting: number
  /** Readings that were thinned out for want of room, since the disk was first used. */
  readonly thinned: number
  /** False while the disk takes nothing. */
  readonly writable: boolean
  /** The boots of waiting readings, each with the latest moment it is known to have lasted to. */
  readonly boots: ReadonlyMap<string, number>
  /**
   * True when they are on disk, or were handed to one that failed just then and get there when it is back. False where
   * the disk takes nothing: they are still the caller's.
   */
  put(boot: string, seen: readonly Unsigned[]): Promise<boolean>
  /**
   * Hands out what waits, oldest first, one record after the other, until nothing is left (then it answers true) or one
   * stays. Meanwhile nothing else that holds readings may be signed, and of each record, all in its order.
   */
  drain(take: (boot: string, seen: readonly Unsigned[]) => Promise<Verdict>): Promise<boolean>
}

/**
 * `from` is the record that comes next, of which the first `skip` readings are signed, and `signed` how many envelopes
 * there were then; null before the first is signed.
 */
type Cursor = {
  readonly generation: number
  readonly from: number
  readonly skip: number
  readonly signed: number | null
  readonly thinned: number
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

const readCursor = (path: string): Cursor => {
  const { generation, from, skip, signed, thinned } = (readNote(path) ?? {}) as Record<string, unknown>
  return isCount(generation) && isCount(from) && isCount(thinned)
    ? { generation, from, skip: isCount(skip) ? skip : 0, signed: isCount(signed) ? signed : null, thinned }
    : { generation: 0, from: 0, skip: 0, signed: null, thinned: 0 }
}

// A note on disk for each so many records: what was signed since is known by counting the readings in envelopes.
const groupRecords = 20

/**
 * How many readings each envelope of the chain after `signed` holds, in order; those that were dropped meanwhile are
 * known from their declaration. What cannot be read at all counts as none: signed again, it is stored once. Null while
 * the disk cannot be read.
 */
const signedSince = async (chain: SignedChain, signed: number): Promise<number[] | null> => {
  const counts = new Map<number, number>()
  for (let seq = signed + 1; seq <= chain.head.seq; seq++) {
    const bytes = await chain.get(seq)
    if (bytes === null) return null
    const decoded = bytes && decodeEnvelope(bytes)
    if (!decoded?.ok) continue
    const { envelope } = decoded
    if (envelope.contentType === droppedContentType) {
      const declared = decodeDropped(envelope.payload, seq)
      if (declared.ok) for (const one of declared.dropped.envelopes) counts.set(one.seq, one.readings)
      continue
    }
    const contents = readingsOf(envelope)
    if (contents.ok) counts.set(seq, contents.readings.length)
  }
  return [...counts].flatMap(([seq, count]) => (seq > signed ? [count] : []))
}

/**
 * Opens what waits in a directory. Nothing is made there before the first reading has to wait, and when the last one
 * is signed all of it goes. At most `maxBytes` of disk: then every second reading of the older half goes, and again.
 */
export const openUntimed = async ({
  directory,
  openLog,
  maxBytes,
  chain,
  log,
}: {
  readonly directory: string
  readonly openLog: (directory: string) => Promise<Lasting>
  readonly maxBytes: number
  readonly chain: SignedChain
  readonly log: (message: string) => void
}): Promise<Untimed> => {
  const cursorPath = join(directory, 'cursor.json')
  let cursor = readCursor(cursorPath)
  const boots = new Map<string, number>()
  let waiting = 0
  let notedFrom: number | undefined
  let journal: Lasting | undefined
  // One thing at a time: putting, draining and thinning each want the journal for themselves.
  let turn: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const done = turn.then(work)
    turn = done.catch(() => undefined)
    return done
  }

  const isWritable = (held: Lasting): boolean => held.opened && held.disk.state === 'ok'

  const home = (generation: number): string => join(directory, `readings-${generation}`)

  const note = ({ boot, count, lastMs }: Head): void => {
    waiting += count
    boots.set(boot, Math.max(boots.get(boot) ?? 0, lastMs))
  }

  const opened = async (): Promise<Lasting> => {
    journal ??= await openLog(home(cursor.generation))
    return journal
  }

  // A process that was killed had signed more than it could note; until that is known, nothing more is signed.
  let isCaughtUp = true
  const recount = async (held: Lasting): Promise<void> => {
    waiting = -cursor.skip
    for (let at = Math.max(held.first, cursor.from); at < held.committed; at++) {
      const head = headOf((await held.get(at)) ?? new Uint8Array())
      if (head) note(head)
    }
  }
  const catchUp = async (held: Lasting): Promise<boolean> => {
    if (isCaughtUp) return true
    if (!chain.writable || !held.opened) return false
    const counts = cursor.signed === null ? [] : await signedSince(chain, cursor.signed)
    if (counts === null) return false
    let from = Math.max(held.first, cursor.from)
    let skip = counts.reduce((sum, count) => sum + count, from === cursor.from ? cursor.skip : 0)
    while (from < held.committed) {
      const record = await held.get(from)
      if (record === null) return false
      const count = (record && headOf(record)?.count) ?? 0
      if (count > skip) break
      // What holds nothing of ours is for the next drain.
      if (skip === 0) break
      skip -= count
      from++
    }
    cursor = { ...cursor, from, skip: from < held.committed ? skip : 0 }
    await recount(held)
    isCaughtUp = true
    return true
  }

  const there = await readdir(directory).catch(() => [] as string[])
  for (const name of there)
    if (name.startsWith('readings-') && join(directory, name) !== home(cursor.generation))
      await rm(join(directory, name), { recursive: true, force: true })
  if (there.includes(`readings-${cursor.generation}`)) {
    const held = await opened()
    chain.retain(cursor.signed)
    isCaughtUp = false
    if (!(await catchUp(held))) await recount(held)
  }

  /** All that is kept from now on is in another place, and the old one goes. */
  const change = async (next: Cursor, fresh: Lasting | undefined): Promise<void> => {
    writeNote(cursorPath, next)
    const old = cursor.generation
    const before = journal
    cursor = next
    journal = fresh
    await before?.[Symbol.asyncDispose]()
    await rm(home(old), { recursive: true, force: true })
  }

  // What a disk refuses now is tried again with the next reading, or the next try to sign.
  let isTold = false
  const refused = (error: unknown): false => {
    if (!isTold) log(`readings that wait for their time: ${(error as Error).message}`)
    isTold = true
    return false
  }

  const thin = async (held: Lasting): Promise<void> => {
    if (!isCaughtUp) return
    const next = {
      generation: cursor.generation + 1,
      from: 0,
      skip: 0,
      signed: null,
      thinned: cursor.thinned,
    }
    await rm(home(next.generation), { recursive: true, force: true })
    const fresh = await openLog(home(next.generation))
    const from = Math.max(held.first, cursor.from)
    const half = from + ((held.committed - from) >> 1)
    let lost = 0
    const recordAt = async (at: number): Promise<Uint8Array | undefined> => {
      const record = (await held.get(at)) ?? undefined
      const decoded = record && at === from && cursor.skip > 0 ? decodeUntimed(record) : undefined
      return decoded ? encodeUntimed(decoded.boot, without(decoded.seen, cursor.skip))[0] : record
    }
    for (let at = from; at < held.committed; at++) {
      const record = await recordAt(at)
      if (!record) continue
      if (at >= half) fresh.append(record)
      else {
        const second = at + 1 < half ? ((await held.get(++at)) ?? undefined) : undefined
        const pair = thinnedPair(record, second)
        lost += pair.lost
        for (const one of pair.records) fresh.append(one)
      }
      if (at % 256 === 0) await fresh.commit()
    }
    await fresh.commit()
    if (fresh.disk.state !== 'ok') {
      // No room even for the copy: what there is stays, and the newest is what goes.
      await fresh[Symbol.asyncDispose]()
      await rm(home(next.generation), { recursive: true, force: true })
      return
    }
    waiting -= lost
    await change({ ...next, thinned: next.thinned + lost }, fresh)
    log(`${lost} readings that wait for their time were thinned out: ${maxBytes} bytes are full`)
  }

  const drain: Untimed['drain'] = async (take) => {
    const held = await opened()
    if (!(await catchUp(held))) return false
    let at = Math.max(held.first, cursor.from)
    const noteCursor = (): void => {
      const { seq } = chain.head
      if (cursor.from !== at) cursor = { ...cursor, from: at, skip: 0 }
      if (cursor.signed === seq && notedFrom === at) return
      cursor = { ...cursor, signed: seq }
      writeNote(cursorPath, cursor)
      notedFrom = at
      chain.retain(seq)
    }
    noteCursor()
    for (let since = 0; at < held.committed; ) {
      const record = await held.get(at)
      if (record === null) return false // the disk cannot be read now
      const decoded = record && decodeUntimed(record)
      const rest = decoded ? without(decoded.seen, cursor.skip) : []
      const verdict = decoded && rest.length > 0 ? await take(decoded.boot, rest) : 'dropped'
      if (verdict === 'unsure') {
        isCaughtUp = false
        return false
      }
      if (verdict === 'stays') break
      waiting -= ((record && headOf(record)?.count) ?? 0) - cursor.skip
      at++
      cursor = { ...cursor, from: at, skip: 0 }
      since++
      // Readings in envelopes are counted against records: one without an envelope ends a group.
      if (since < groupRecords && verdict === 'signed') continue
      since = 0
      noteCursor()
    }
    noteCursor()
    if (at < held.next) return false
    await change({ ...cursor, generation: cursor.generation + 1, from: 0, skip: 0, signed: null }, undefined)
    chain.retain(null)
    waiting = 0
    boots.clear()
    return true
  }

  return {
    get waiting() {
      return waiting
    },
    get thinned() {
      return cursor.thinned
    },
    get writable() {
      return journal === undefined || isWritable(journal)
    },
    boots,
    put: (boot, seen) =>
      inTurn(async () => {
        const held = await opened()
        if (!isWritable(held)) return false
        for (const record of encodeUntimed(boot, seen)) {
          held.append(record)
          note(headOf(record)!)
        }
        await held.commit()
        if (held.bytesOnDisk > maxBytes && isWritable(held)) await thin(held).catch(refused)
        return true
      }),
    drain: (take) => inTurn(() => drain(take).catch(refused)),
    [Symbol.asyncDispose]: () =>
      inTurn(async () => {
        await journal?.[Symbol.asyncDispose]()
      }),
  }
}
