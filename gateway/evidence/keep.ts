/** Keeps evidence: the journal of accepted envelopes and station keys, its catalogue, and the journal of refusals. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Journal } from '../journal/journal.ts'
import { toHex } from '../reading/bytes.ts'
import { readingsOf, type Summary, summarise } from '../reading/contents.ts'
import { decodeEnvelope, envelopeHash, noPrevious } from '../reading/envelope.ts'
import { stationId } from '../reading/key.ts'
import { addRange, gapsIn, type Range } from '../reading/ranges.ts'
import type { AcceptedRange } from '../reading/receipt.ts'
import { type Refusal, refusalCoded, refusals } from '../reading/refusal.ts'
import { type Link, openCatalogue } from './catalogue.ts'
import type { Evidence, RefusedRecord, StationProgress } from './evidence.ts'
import { frameOrder } from './frame-order.ts'

/** Write side, for the ingest stage alone. Nothing is kept before `commit` resolves. */
export type Keeper = {
  /** What an envelope is to what is already kept, appended but uncommitted ones included. */
  place(summary: Summary): 'new' | 'known' | 'replayed' | 'broken-chain' | 'replayed-frame'
  keep(bytes: Uint8Array, summary: Summary, receivedMs: number): void
  refuse(refusal: Omit<RefusedRecord, 'index' | 'hash'>): void
  register(publicKey: Uint8Array, registeredMs: number): void
  revoke(station: string, revokedMs: number): void
  commit(): Promise<void>
  /** Ranges kept of a station with the hash of each one's last envelope: what a receipt promises. */
  promised(station: string, limit: number): AcceptedRange[]
}

export type EvidenceKeeper = Evidence & Keeper & AsyncDisposable

// Record: kind, time of receipt as 48-bit milliseconds, then the exact bytes (envelope, key or station id).
const kinds = { envelope: 1, key: 2, revocation: 3 } as const
const headBytes = 7

// Refusals: kind of refusal, time, station (16 bytes), seq + 1 (0 = none), length of the detail, detail, bytes.
const refusedHeadBytes = 1 + 6 + 16 + 6 + 2
const maxRefusedBytes = 8192

// A flood of rubbish must not fill the disk: the newest are kept, the counts are for ever.
const maxRefusedRecords = 20_000

const record = (kind: number, timeMs: number, bytes: Uint8Array): Uint8Array => {
  const whole = Buffer.alloc(headBytes + bytes.length)
  whole[0] = kind
  whole.writeUIntBE(timeMs, 1, 6)
  whole.set(bytes, headBytes)
  return whole
}

const parseRecord = (bytes: Uint8Array): { kind: number; timeMs: number; body: Uint8Array } => ({
  kind: bytes[0]!,
  timeMs: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).readUIntBE(1, 6),
  body: bytes.subarray(headBytes),
})

const encodeRefusal = (refusal: Omit<RefusedRecord, 'index' | 'hash'>): Uint8Array => {
  const detail = Buffer.from(refusal.detail.slice(0, 200))
  const bytes = refusal.bytes.subarray(0, maxRefusedBytes)
  const head = Buffer.alloc(refusedHeadBytes)
  head[0] = refusals[refusal.reason].code
  head.writeUIntBE(refusal.receivedMs, 1, 6)
  head.write(refusal.station, 7, 'hex')
  head.writeUIntBE(refusal.seq === null || refusal.seq >= 2 ** 48 - 1 ? 0 : refusal.seq + 1, 23, 6)
  head.writeUInt16BE(detail.length, 29)
  return Buffer.concat([head, detail, bytes])
}

const decodeRefusal = (index: number, bytes: Uint8Array): RefusedRecord => {
  const view = Buffer.from(bytes)
  const detailEnd = refusedHeadBytes + view.readUInt16BE(29)
  const seq = view.readUIntBE(23, 6)
  const body = new Uint8Array(view.subarray(detailEnd))
  return {
    index,
    reason: refusalCoded(view[0]!) ?? 'malformed',
    receivedMs: view.readUIntBE(1, 6),
    station: view.toString('hex', 7, 23),
    seq: seq === 0 ? null : seq - 1,
    detail: view.toString('utf8', refusedHeadBytes, detailEnd),
    hash: envelopeHash(body),
    bytes: body,
  }
}

/** Whether `link` follows an envelope with that hash and count of withheld ones. */
const follows = (link: Link, { hash, declaredWithheld }: Pick<Link, 'hash' | 'declaredWithheld'>): boolean =>
  Buffer.compare(link.prev, hash) === 0 &&
  link.declaredWithheld === declaredWithheld + (link.withheld ? 1 : 0)

const beginning = { hash: noPrevious, declaredWithheld: 0 }

/** Summary of an envelope that was accepted once; undefined only where the disk changed its bytes. */
const summaryOf = (bytes: Uint8Array): Summary | undefined => {
  const decoded = decodeEnvelope(bytes)
  if (!decoded.ok) return undefined
  const contents = readingsOf(decoded.envelope)
  return contents.ok ? summarise(bytes, decoded.envelope, contents.readings, contents.frames) : undefined
}

// Rows of the catalogue held beside the records that are read.
const entriesPerLook = 1000

/** Opens the evidence under a directory and brings its catalogue up to the journal. */
export const openEvidence = async (options: {
  readonly directory: string
  readonly openJournal: (directory: string) => Promise<Journal>
}): Promise<EvidenceKeeper> => {
  mkdirSync(options.directory, { recursive: true, mode: 0o700 })
  const journal = await options.openJournal(join(options.directory, 'envelopes'))
  const refusedJournal = await options.openJournal(join(options.directory, 'refused'))
  const catalogue = openCatalogue(join(options.directory, 'catalogue.sqlite'))

  const stations = new Map(catalogue.stations().map((one) => [one.station, one]))
  const ranges = new Map<string, Range[]>()
  /** Appended since the last commit, so that a group is checked against itself. */
  const fresh = new Map<string, Summary>()
  const order = frameOrder(catalogue)
  let freshEnvelopes: { index: number; receivedMs: number; summary: Summary }[] = []
  /** Changes to the catalogue's stations, made once the journal has them. */
  let freshStations: (() => void)[] = []
  let lastCommit: Promise<void> = Promise.resolve()
  let waiters: { after: number; wake: () => void }[] = []
  let committed = 0

  const rangesOf = (station: string): Range[] => {
    let known = ranges.get(station)
    if (known === undefined) {
      known = []
      for (const seq of catalogue.seqs(station)) {
        const last = known.at(-1)
        if (last !== undefined && last[1] === seq - 1) known[known.length - 1] = [last[0], seq]
        else known.push([seq, seq])
      }
      ranges.set(station, known)
    }
    return known
  }

  const noteStation = (station: string, publicKey: Uint8Array, registeredMs: number): void => {
    if (!stations.has(station)) stations.set(station, { station, publicKey, registeredMs, revokedMs: null })
  }

  const noteRevocation = (station: string, revokedMs: number): void => {
    const known = stations.get(station)
    if (known !== undefined && known.revokedMs === null) stations.set(station, { ...known, revokedMs })
  }

  /** Brings the catalogue up to what the journal holds: after a crash, or into an empty file. */
  const catchUp = async (): Promise<void> => {
    let from = catalogue.mark('evidence')
    if (from > journal.next) {
      // The journal is an older copy, or its disk lost what it had promised: the catalogue follows the journal.
      catalogue.clear()
      stations.clear()
      from = 0
    }
    while (from < journal.committed) {
      const batch: { index: number; record: Uint8Array }[] = []
      for await (const entry of journal.read(from, Math.min(from + 2000, journal.committed)))
        batch.push(entry)
      const to = Math.min(from + 2000, journal.committed)
      catalogue.transaction(() => {
        for (const { index, record: bytes } of batch) {
          const { kind, timeMs, body } = parseRecord(bytes)
          if (kind === kinds.key) {
            catalogue.addStation(stationId(body), body, timeMs)
            noteStation(stationId(body), body.slice(), timeMs)
          } else if (kind === kinds.revocation) {
            catalogue.revoke(toHex(body), timeMs)
            noteRevocation(toHex(body), timeMs)
          } else {
            const summary = summaryOf(body)
            if (summary) catalogue.addEnvelope(index, timeMs, summary)
          }
        }
        catalogue.setMark('evidence', to)
      })
      from = to
    }
    committed = journal.committed
  }
  await catchUp()

  const linksOf = (station: string, seq: number) => {
    const links = catalogue.links(station, seq)
    for (const near of [seq - 1, seq, seq + 1]) {
      const uncommitted = fresh.get(`${station}/${near}`)
      if (uncommitted) links.set(near, uncommitted)
    }
    return links
  }

  const progress = (station: string): StationProgress => {
    const kept = rangesOf(station)
    return {
      station,
      kept,
      gaps: kept.length === 0 ? [] : gapsIn(kept, 1, kept.at(-1)![1]),
      envelopes: kept.reduce((total, [first, last]) => total + last - first + 1, 0),
      lastReceivedMs: catalogue.lastReceivedMs(station),
    }
  }

  const commit = async (): Promise<void> => {
    const batch = freshEnvelopes
    const stationChanges = freshStations
    freshEnvelopes = []
    freshStations = []
    await Promise.all([journal.commit(), refusedJournal.commit()])
    const to = batch.length > 0 ? Math.max(committed, batch.at(-1)!.index + 1) : committed
    catalogue.transaction(() => {
      for (const change of stationChanges) change()
      for (const { index, receivedMs, summary } of batch) catalogue.addEnvelope(index, receivedMs, summary)
      catalogue.setMark('evidence', to)
    })
    for (const { summary } of batch) {
      ranges.set(summary.station, addRange(rangesOf(summary.station), summary.seq))
      fresh.delete(`${summary.station}/${summary.seq}`)
      order.settle(summary)
    }
    if (refusedJournal.next - refusedJournal.first > maxRefusedRecords)
      await refusedJournal.trim(refusedJournal.next - maxRefusedRecords)
    committed = to
    const woken = waiters.filter(({ after }) => committed > after)
    waiters = waiters.filter(({ after }) => committed <= after)
    for (const { wake } of woken) wake()
  }

  return {
    get committed() {
      return committed
    },
    grown: (after, signal) =>
      new Promise((resolve) => {
        if (committed > after || signal.aborted) return resolve()
        const waiter = { after, wake: resolve }
        waiters.push(waiter)
        signal.addEventListener(
          'abort',
          () => {
            waiters = waiters.filter((one) => one !== waiter)
            resolve()
          },
          { once: true },
        )
      }),
    async *read(from, to = committed) {
      const end = Math.min(to, committed)
      for (let start = from; start < end; start += entriesPerLook) {
        const stop = Math.min(start + entriesPerLook, end)
        const known = catalogue.among(start, stop)
        for await (const { index, record: bytes } of journal.read(start, stop)) {
          const row = known.get(index)
          if (row) yield { ...row, bytes: bytes.subarray(headBytes) }
        }
      }
    },
    get: async (index) => {
      const row = catalogue.among(index, index + 1).get(index)
      const bytes = row && (await journal.get(index))
      return bytes && { ...row, bytes: bytes.subarray(headBytes) }
    },
    refs: catalogue.refs,
    declarations: catalogue.declarations,
    span: catalogue.span,
    stations: () => [...stations.values()],
    station: (id) => stations.get(id),
    profile: catalogue.profile,
    progress,
    refusals: async (limit, before = refusedJournal.committed) => {
      const found: RefusedRecord[] = []
      for (let index = before - 1; index >= refusedJournal.first && found.length < limit; index--) {
        const bytes = await refusedJournal.get(index)
        if (bytes) found.push(decodeRefusal(index, bytes))
      }
      return found
    },
    refusalCounts: () => catalogue.refusalCounts() as Partial<Record<Refusal, number>>,

    place: (summary) => {
      const { station, seq, hash } = summary
      const links = linksOf(station, seq)
      const here = links.get(seq)
      if (here) return Buffer.compare(here.hash, hash) === 0 ? 'known' : 'replayed'
      const before = seq === 1 ? beginning : links.get(seq - 1)
      const after = links.get(seq + 1)
      if (before && !follows(summary, before)) return 'broken-chain'
      if (after && !follows(after, summary)) return 'broken-chain'
      return order.holds(summary) ? 'new' : 'replayed-frame'
    },
    keep: (bytes, summary, receivedMs) => {
      const index = journal.append(record(kinds.envelope, receivedMs, bytes))
      fresh.set(`${summary.station}/${summary.seq}`, summary)
      freshEnvelopes.push({ index, receivedMs, summary })
      order.add(summary)
    },
    refuse: (refusal) => {
      refusedJournal.append(encodeRefusal(refusal))
      catalogue.countRefusal(refusal.reason)
    },
    register: (publicKey, registeredMs) => {
      const station = stationId(publicKey)
      if (stations.has(station)) return
      journal.append(record(kinds.key, registeredMs, publicKey))
      noteStation(station, publicKey, registeredMs)
      freshStations.push(() => catalogue.addStation(station, publicKey, registeredMs))
    },
    revoke: (station, revokedMs) => {
      journal.append(record(kinds.revocation, revokedMs, Buffer.from(station, 'hex')))
      noteRevocation(station, revokedMs)
      freshStations.push(() => catalogue.revoke(station, revokedMs))
    },
    commit: () => {
      // One after the other: the catalogue's mark must never pass records that it does not hold yet.
      lastCommit = lastCommit.catch(() => undefined).then(commit)
      return lastCommit
    },
    promised: (station, limit) =>
      rangesOf(station)
        .slice(-limit)
        .map(([first, last]) => ({ first, last, ...catalogue.headOf(station, last) })),
    [Symbol.asyncDispose]: async () => {
      await journal.close()
      await refusedJournal.close()
      catalogue.close()
    },
  }
}
