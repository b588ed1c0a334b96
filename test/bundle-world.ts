/** A hub in memory for tests of bundles: real keys, real envelopes, real trees, and a chain that holds the roots. */
import type { Anchor, Anchors, Batch } from '#gateway/anchor/anchor.ts'
import { RpcError, type RpcRequest } from '#gateway/anchor/chain.ts'
import type { Evidence, KeptEnvelope } from '#gateway/evidence/evidence.ts'
import type { BundleDeps } from '#gateway/market/bundle.ts'
import { fromHex, toHex } from '#gateway/reading/bytes.ts'
import { holdPositions, spanOf } from '#gateway/reading/contents.ts'
import type { Signer } from '#gateway/reading/cose.ts'
import { type Dropped, droppedContentType, encodeDropped } from '#gateway/reading/dropped.ts'
import { decodeEnvelope, envelopeHash, noPrevious, signEnvelope } from '#gateway/reading/envelope.ts'
import { encodeHeard, type Heard, heardContentType } from '#gateway/reading/heard.ts'
import { stationId } from '#gateway/reading/key.ts'
import { inclusionProof, leafHash, treeRoot } from '#gateway/reading/merkle.ts'
import { encodeReadings } from '#gateway/reading/payload.ts'
import type { Reading } from '#gateway/reading/reading.ts'
import { encodeStatement, type Statement, statementHash } from '#gateway/reading/statement.ts'
import { anchoredSelector, anchoredTopic } from '#gateway/verify/chain.ts'

export const network = 'test'
export const chainId = 31_337
const contract = `0x${'c0'.repeat(20)}` as const
const zero = new Uint8Array(32)

type Closed = { statement: Statement; bytes: Uint8Array; kept: KeptEnvelope[]; anchor?: Anchor }

const word = (value: number): string => value.toString(16).padStart(64, '0')
const fill = (byte: number): `0x${string}` => `0x${toHex(new Uint8Array(32).fill(byte))}`

export const openWorld = (net: string = network) => {
  const stations = new Map<string, { signer: Signer; seq: number; prev: Uint8Array; withheld: number }>()
  const kept: KeptEnvelope[] = []
  const batches: Closed[] = []
  const roots = new Map<string, { firstBatch: number; size: number; tx: string; block: number }>()

  const evidence: Pick<Evidence, 'span' | 'refs' | 'declarations' | 'get' | 'stations' | 'station'> = {
    span: (station, fromMs, toMs) => {
      const seqs = kept
        .filter((one) => one.station === station && one.lastMs >= fromMs && one.firstMs < toMs)
        .map(({ seq }) => seq)
      return seqs.length === 0 ? undefined : [Math.min(...seqs), Math.max(...seqs)]
    },
    refs: (station, first, last, limit) =>
      kept
        .filter((one) => one.station === station && one.seq >= first && one.seq <= last)
        .sort((a, b) => a.seq - b.seq)
        .slice(0, limit),
    declarations: (station, after, limit) =>
      kept
        .filter((one) => one.station === station && one.seq > after && one.readings === 0)
        .sort((a, b) => a.seq - b.seq)
        .slice(0, limit),
    get: async (index) => kept.find((one) => one.index === index),
    stations: () =>
      [...stations].map(([station, { signer }]) => ({
        station,
        publicKey: signer.publicKey,
        registeredMs: 0,
        revokedMs: null,
      })),
    station: (id) => evidence.stations().find(({ station }) => station === id),
  }

  const anchors: BundleDeps['anchors'] = {
    batch: (batch) => {
      const closed = batches[batch - 1]
      return closed && ({ batch, statement: closed.bytes } as Batch)
    },
    batches: ({ limit }) =>
      batches
        .map(({ statement }) => ({ batch: statement.batch }) as Batch)
        .toReversed()
        .slice(0, limit),
    placeOf: (station, seq) => {
      for (const { statement, kept: leaves } of batches) {
        const place = leaves.findIndex((one) => one.station === station && one.seq === seq)
        if (place >= 0) return { batch: statement.batch, place }
      }
      return undefined
    },
    leaves: (batch) => {
      const closed = batches[batch - 1]
      return closed && { refs: closed.kept, hashes: closed.kept.map(({ bytes }) => leafHash(bytes)) }
    },
    anchorOf: (batch) => batches[batch - 1]?.anchor,
  } satisfies Partial<Anchors>

  return {
    evidence,
    anchors,
    deps: { evidence, anchors, network: net } satisfies BundleDeps,
    stations,
    batches,
    roots,
    addStation: (signer: Signer): string => {
      const station = stationId(signer.publicKey)
      stations.set(station, { signer, seq: 0, prev: noPrevious, withheld: 0 })
      return station
    },
    /**
     * Signs an envelope; `lose` makes it one that the hub never receives, `prev` one that follows another, `declared`
     * one whose station counts wrongly from here on, `dropped` one that declares others lost and has no
     * readings, `frames` one that holds what nodes signed. `withheld` is what the hub takes it for; by default the truth.
     */
    sign: (
      station: string,
      readings: readonly Reading[],
      how: {
        withheld?: boolean
        lose?: boolean
        prev?: Uint8Array
        declared?: number
        dropped?: Dropped
        frames?: readonly Heard[]
      } = {},
    ) => {
      const state = stations.get(station)!
      state.withheld = how.declared ?? state.withheld + (holdPositions(readings) ? 1 : 0)
      const head = {
        seq: ++state.seq,
        prev: how.prev ?? state.prev,
        clock: { source: 'ntp', ageS: 9, errorMs: 4 },
        withheld: state.withheld,
        ...(how.dropped ? { contentType: droppedContentType } : {}),
        ...(how.frames ? { contentType: heardContentType } : {}),
      } as const
      const bytes = signEnvelope(
        head,
        how.frames
          ? encodeHeard(how.frames)
          : how.dropped
            ? encodeDropped(how.dropped)
            : encodeReadings(readings),
        net,
        state.signer,
      )
      const hash = envelopeHash(bytes)
      state.prev = hash
      const decoded = decodeEnvelope(bytes)
      if (!decoded.ok) throw new Error(decoded.detail)
      const { firstMs, lastMs } = spanOf(decoded.envelope, readings)
      const one: KeptEnvelope = {
        index: kept.length,
        station,
        seq: head.seq,
        receivedMs: lastMs + 200,
        firstMs,
        lastMs,
        readings: readings.length,
        withheld: how.withheld ?? holdPositions(readings),
        hash,
        bytes,
      }
      if (!how.lose) kept.push(one)
      return one
    },
    /** Closes a batch over these envelopes, or all that are in none; `lie` changes what its statement says. */
    closeBatch: (
      of?: readonly KeptEnvelope[],
      lie: (statement: Statement) => Statement = (truth) => truth,
    ): number => {
      const known = new Set(batches.flatMap((closed) => closed.kept))
      const leaves = (of ?? kept.filter((one) => !known.has(one))).toSorted((a, b) =>
        a.station === b.station ? a.seq - b.seq : a.station < b.station ? -1 : 1,
      )
      const groups = [...Map.groupBy(leaves, ({ station }) => station)]
      const statement = lie({
        network: net,
        batch: batches.length + 1,
        size: leaves.length,
        root: treeRoot(leaves.map(({ bytes }) => leafHash(bytes))),
        previous: batches.length === 0 ? zero : statementHash(batches.at(-1)!.bytes),
        firstMs: Math.min(...leaves.map(({ firstMs }) => firstMs)),
        lastMs: Math.max(...leaves.map(({ lastMs }) => lastMs)),
        stations: groups.map(([station, own]) => ({
          station,
          first: own[0]!.seq,
          last: own.at(-1)!.seq,
          count: own.length,
        })),
      })
      batches.push({ statement, bytes: encodeStatement(statement), kept: leaves })
      return statement.batch
    },
    /** One root over the statements of these neighbouring batches, in a block of its own. */
    anchor: (first: number, last: number = first): void => {
      const group = batches.slice(first - 1, last)
      const hashes = group.map(({ bytes }) => leafHash(bytes))
      const root = treeRoot(hashes)
      const block = 100 + roots.size
      const carrier = {
        chainId,
        contract,
        txHash: fill(block),
        blockNumber: block,
        blockHash: fill(block + 100),
      }
      roots.set(toHex(root), { firstBatch: first, size: group.length, tx: carrier.txHash, block })
      for (const [index, closed] of group.entries())
        closed.anchor = {
          ...carrier,
          root,
          size: group.length,
          index,
          proof: inclusionProof(hashes, index),
          firstBatch: first,
          status: 'final',
        }
    },
    /** The chain that the roots are on, as a node would answer for it. */
    chain: {
      request: async ({ method, params = [] }: RpcRequest): Promise<unknown> => {
        if (method === 'eth_chainId') return `0x${chainId.toString(16)}`
        if (method === 'eth_call') {
          const [{ to, data }] = params as [{ to: string; data: string }]
          if (to !== contract || !data.startsWith(anchoredSelector)) return '0x'
          const found = roots.get(data.slice(10))
          return `0x${word(found?.firstBatch ?? 0)}${word(found?.size ?? 0)}${word(found ? 1_763_800_000 + found.block : 0)}`
        }
        if (method === 'eth_getTransactionReceipt') {
          const found = [...roots].find(([, { tx }]) => tx === params[0])
          if (found === undefined) return null
          const [root, { firstBatch, size, tx, block }] = found
          const topics = [anchoredTopic, `0x${root}`, `0x${word(firstBatch)}`]
          return {
            transactionHash: tx,
            status: '0x1',
            blockHash: fill(block + 100),
            blockNumber: `0x${block.toString(16)}`,
            logs: [{ address: contract, topics, data: `0x${word(size)}` }],
          }
        }
        throw new RpcError(`no such method: ${method}`, -32601)
      },
    },
  }
}

export type World = ReturnType<typeof openWorld>

/** Bytes of hex that is known to be good. */
export const bytesOf = (hex: string): Uint8Array => fromHex(hex)!
