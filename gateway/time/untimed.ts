/** Readings that wait on disk for their time: unsigned, with the moment they were received at and its boot. */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { readNote, writeNote } from '../journal/note.ts'
import type { Lasting } from '../outbox/lasting.ts'
import { decodeReadings, encodeReadings } from '../reading/payload.ts'
import type { Reading } from '../reading/reading.ts'
import type { Seen } from './time.ts'

/**
 * A record: 1 byte version; 16 bytes boot id; u16 count; f64 latest moment; u16 length, and so many bytes of readings
 * payload whose times are moments; then, where any has a time of its device's, an f64 of it for each, NaN for none,
 * negative where the device keeps a backlog. Big endian.
 */
const version = 1
const headBytes = 29
/** One record becomes one envelope: it must fit with header and signature. */
const maxPayloadBytes = 6 * 1024

const bootBytes = (boot: string): Buffer => {
  const bytes = Buffer.from(boot.replaceAll('-', ''), 'hex')
  if (bytes.length !== 16) throw new Error(`a boot is named by a UUID, not ${boot}`)
  return bytes
}

const bootName = (bytes: Uint8Array): string =>
  Buffer.from(bytes)
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')

const seriesOf = ({ sensor, model, values }: Reading): string =>
  `${sensor} ${model} ${values.map(({ quantity }) => quantity).join()}`

/** Records of readings received in one boot, each with as many as fit. */
export const encodeUntimed = (boot: string, all: readonly Seen[]): Uint8Array[] => {
  if (all.length === 0) return []
  // The payload has its readings by series; their own times must stand in the same order.
  const series = Map.groupBy(all, ({ reading }) => seriesOf(reading))
  const seen = [...series.values()].flat()
  const payload = encodeReadings(seen.map(({ reading, atMs }) => ({ ...reading, timeMs: Math.round(atMs) })))
  if (payload.length > maxPayloadBytes && all.length > 1) {
    const half = all.length >> 1
    return [...encodeUntimed(boot, all.slice(0, half)), ...encodeUntimed(boot, all.slice(half))]
  }
  const hasOwn = seen.some(({ ownMs }) => ownMs !== undefined)
  const record = Buffer.alloc(headBytes + payload.length + (hasOwn ? 8 * seen.length : 0))
  record.writeUInt8(version, 0)
  bootBytes(boot).copy(record, 1)
  record.writeUInt16BE(seen.length, 17)
  record.writeDoubleBE(Math.max(...seen.map(({ atMs }) => atMs)), 19)
  record.writeUInt16BE(payload.length, 27)
  record.set(payload, headBytes)
  if (hasOwn)
    for (const [at, { ownMs = Number.NaN, backlog }] of seen.entries())
      record.writeDoubleBE(backlog ? -ownMs : ownMs, headBytes + payload.length + 8 * at)
  return [record]
}

type Head = { readonly boot: string; readonly count: number; readonly lastMs: number }

const headOf = (record: Uint8Array): Head | undefined => {
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength)
  if (bytes.length < headBytes || bytes[0] !== version) return undefined
  return {
    boot: bootName(bytes.subarray(1, 17)),
    count: bytes.readUInt16BE(17),
    lastMs: bytes.readDoubleBE(19),
  }
}

/** The readings of a record, in the order they were received; undefined where it is not one of ours. */
export const decodeUntimed = (
  record: Uint8Array,
): { readonly boot: string; readonly seen: readonly Seen[] } | undefined => {
  const head = headOf(record)
  if (head === undefined) return undefined
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength)
  const end = headBytes + bytes.readUInt16BE(27)
  const decoded = decodeReadings(bytes.subarray(headBytes, end))
  if (!decoded.ok || decoded.readings.length !== head.count) return undefined
  const hasOwn = bytes.length > end
  if (bytes.length !== end + (hasOwn ? 8 * head.count : 0)) return undefined
  const seen = decoded.readings.map((reading, at): Seen => {
    const own = hasOwn ? bytes.readDoubleBE(end + 8 * at) : Number.NaN
    return {
      reading,
      atMs: reading.timeMs,
      ...(Number.isNaN(own) ? {} : { ownMs: Math.abs(own), backlog: own < 0 }),
    }
  })
  return { boot: head.boot, seen: seen.sort((a, b) => a.atMs - b.atMs) }
}

/** What is to be done with a record: it was signed, it is dropped, or it stays and so do all after it. */
export type Verdict = 'signed' | 'dropped' | 'stays'

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
  put(boot: string, seen: readonly Seen[]): Promise<boolean>
  /**
   * Hands out what waits, oldest first, one record after the other, until nothing is left (then it answers true) or one
   * stays. Each record that is signed must be one envelope.
   */
  drain(take: (boot: string, seen: readonly Seen[]) => Promise<Verdict>): Promise<boolean>
}

/** `from` is the record that comes next, and `signed` how many envelopes there were then; null before the first is signed. */
type Cursor = {
  readonly generation: number
  readonly from: number
  readonly signed: number | null
  readonly thinned: number
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

const readCursor = (path: string): Cursor => {
  const { generation, from, signed, thinned } = (readNote(path) ?? {}) as Record<string, unknown>
  return isCount(generation) && isCount(from) && isCount(thinned)
    ? { generation, from, signed: isCount(signed) ? signed : null, thinned }
    : { generation: 0, from: 0, signed: null, thinned: 0 }
}

// A note on disk for each so many records: what was signed since is known by counting envelopes.
const groupRecords = 20

/** A record of every second reading; what is left of two neighbours of one boot makes one. */
const thinnedPair = (a: Uint8Array, b: Uint8Array | undefined): { records: Uint8Array[]; lost: number } => {
  const [first, second] = [decodeUntimed(a), b && decodeUntimed(b)]
  if (first === undefined) return { records: b ? [b] : [], lost: headOf(a)?.count ?? 0 }
  if (second === undefined || second.boot !== first.boot) {
    const kept = first.seen.filter((_, at) => at % 2 === 0)
    return {
      records: [...encodeUntimed(first.boot, kept), ...(b ? [b] : [])],
      lost: first.seen.length - kept.length,
    }
  }
  const both = [...first.seen, ...second.seen]
  const kept = both.filter((_, at) => at % 2 === 0)
  return { records: encodeUntimed(first.boot, kept), lost: both.length - kept.length }
}

/**
 * Opens what waits in a directory. Nothing is made there before the first reading has to wait, and when the last one
 * is signed all of it goes. At most `maxBytes` of disk: then every second reading of the older half goes, and again.
 */
export const openUntimed = async ({
  directory,
  openLog,
  maxBytes,
  signed,
  log,
}: {
  readonly directory: string
  readonly openLog: (directory: string) => Promise<Lasting>
  readonly maxBytes: number
  /** How many envelopes this station has signed in its life: after a crash it tells which records had been signed. */
  readonly signed: () => number
  readonly log: (message: string) => void
}): Promise<Untimed> => {
  const cursorPath = join(directory, 'cursor.json')
  let cursor = readCursor(cursorPath)
  const boots = new Map<string, number>()
  let waiting = 0
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

  const there = await readdir(directory).catch(() => [] as string[])
  for (const name of there)
    if (name.startsWith('readings-') && join(directory, name) !== home(cursor.generation))
      await rm(join(directory, name), { recursive: true, force: true })
  if (there.includes(`readings-${cursor.generation}`)) {
    const held = await opened()
    // A process that was killed had signed so many records more than it could note.
    const ahead = cursor.signed === null ? 0 : signed() - cursor.signed
    const from = Math.max(held.first, cursor.from) + Math.max(0, Math.min(ahead, groupRecords))
    cursor = { ...cursor, from: Math.min(from, held.committed) }
    for (let at = cursor.from; at < held.committed; at++) {
      const head = headOf((await held.get(at)) ?? new Uint8Array())
      if (head) note(head)
    }
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
    const next = { generation: cursor.generation + 1, from: 0, signed: null, thinned: cursor.thinned }
    await rm(home(next.generation), { recursive: true, force: true })
    const fresh = await openLog(home(next.generation))
    const from = Math.max(held.first, cursor.from)
    const half = from + ((held.committed - from) >> 1)
    let lost = 0
    for (let at = from; at < held.committed; at++) {
      const record = await held.get(at)
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
    let at = Math.max(held.first, cursor.from)
    const noteCursor = (): void => {
      cursor = { ...cursor, from: at, signed: signed() }
      writeNote(cursorPath, cursor)
    }
    noteCursor()
    for (let since = 0; at < held.committed; ) {
      const record = await held.get(at)
      if (record === null) return false // the disk cannot be read now
      const decoded = record && decodeUntimed(record)
      const verdict = decoded ? await take(decoded.boot, decoded.seen) : 'dropped'
      if (verdict === 'stays') break
      waiting -= (record && headOf(record)?.count) ?? 0
      at++
      cursor = { ...cursor, from: at }
      since++
      // Envelopes are counted against records: a record without one ends a group.
      if (since < groupRecords && verdict === 'signed') continue
      since = 0
      noteCursor()
    }
    noteCursor()
    if (at < held.next) return false
    await change({ ...cursor, generation: cursor.generation + 1, from: 0, signed: null }, undefined)
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
