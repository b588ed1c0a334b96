/** Reading a bundle from outside: strict about form, so that every byte of a bundle means something. */
import { sha256 } from '#sha256'
import {
  type Bundle,
  type BundleAnchor,
  type BundleBatch,
  type BundleLeaf,
  type BundleSale,
  type BundleScope,
  type BundleStation,
  bundleBounds,
  bundleVersion,
  digestBytes,
  type Hole,
  type Run,
} from './bundle.ts'
import { equalBytes, toHex } from './bytes.ts'
import { type CborValue, decodeCbor } from './cbor.ts'
import { quantityCoded } from './quantity.ts'
import { idPattern } from './reading.ts'
import { type Refused, refused } from './refusal.ts'

/** Left by `throw` inside this file only: a bundle has many places where its form can be wrong. */
class Malformed extends Error {}

const fail = (what: string): never => {
  throw new Malformed(what)
}

const uint = (value: CborValue | undefined, what: string, least = 0): number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= least
    ? value
    : fail(`${what} is no number from ${least}`)

const bytesOf = (value: CborValue | undefined, what: string, length?: number): Uint8Array =>
  value instanceof Uint8Array && (length === undefined || value.length === length)
    ? value.slice()
    : fail(length === undefined ? `${what} is no byte string` : `${what} has not ${length} bytes`)

const list = (value: CborValue | undefined, what: string, length?: number): CborValue[] =>
  Array.isArray(value) && (length === undefined || value.length === length)
    ? value
    : fail(length === undefined ? `${what} is no list` : `${what} is no list of ${length}`)

const text = (value: CborValue | undefined, what: string): string =>
  typeof value === 'string' && idPattern.test(value) ? value : fail(`${what} is no id`)

const station = (value: CborValue | undefined, what: string): string => toHex(bytesOf(value, what, 16))

const hashes = (value: CborValue | undefined, what: string): Uint8Array[] =>
  list(value, what).map((hash) => bytesOf(hash, `a hash of ${what}`, 32))

const stationsAsked = (value: CborValue | undefined): string[] => {
  if (!Array.isArray(value)) return [station(value, 'the station of the scope')]
  const stations = value.map((one) => station(one, 'a station of the scope'))
  if (stations.length < 2) fail('the stations of the scope are no list of two or more')
  for (const [at, id] of stations.entries())
    if (at > 0 && id <= stations[at - 1]!) fail('the stations of the scope do not ascend')
  return stations
}

const scopeOf = (value: CborValue | undefined): BundleScope => {
  if (!(value instanceof Map)) return fail('the scope is no map')
  for (const label of value.keys())
    if (typeof label !== 'number' || label < 0 || label > 4) fail(`the scope has a field ${label}`)
  const codes = value.has(4)
    ? list(value.get(4), 'the quantities').map((code) => uint(code, 'a quantity'))
    : []
  if (value.has(4) && codes.length === 0) fail('the quantities are none')
  for (const [at, code] of codes.entries()) {
    if (quantityCoded(code) === undefined) fail(`no quantity has code ${code}`)
    if (at > 0 && code <= codes[at - 1]!) fail('the quantities do not ascend')
  }
  const fromMs = uint(value.get(0), 'the time from')
  const toMs = uint(value.get(1), 'the time to')
  if (toMs < fromMs) fail('the time to is before the time from')
  return {
    fromMs,
    toMs,
    ...(value.has(2) ? { stations: stationsAsked(value.get(2)) } : {}),
    ...(value.has(3) ? { sensor: text(value.get(3), 'the sensor of the scope') } : {}),
    ...(value.has(4) ? { quantities: codes } : {}),
  }
}

/** Reads a scope from outside; undefined for any that `writeScope` would not write. */
export const decodeScope = (value: CborValue | undefined): BundleScope | undefined => {
  try {
    return scopeOf(value)
  } catch (error) {
    if (error instanceof Malformed) return undefined
    throw error
  }
}

const stationsOf = (value: CborValue | undefined): BundleStation[] => {
  const stations = list(value, 'the stations').map((item) => {
    const [id, publicKey, declared, ...more] = list(item, 'a station')
    if (more.length > 0) fail('a station is a list of two or three')
    const declarations =
      declared === undefined
        ? []
        : list(declared, 'the declarations').map((bytes) => bytesOf(bytes, 'a declaration'))
    if (declared !== undefined && declarations.length === 0) fail('the declarations are none')
    return {
      station: station(id, 'a station id'),
      publicKey: bytesOf(publicKey, 'a public key', 32),
      declarations,
    }
  })
  for (const [at, { station: id }] of stations.entries())
    if (at > 0 && id <= stations[at - 1]!.station) fail('the stations do not ascend')
  return stations
}

const anchorOf = (value: CborValue | undefined): BundleAnchor => {
  const [chainId, contract, txHash, blockNumber, blockHash, root, size, index, proof] = list(
    value,
    'an anchor',
    9,
  )
  return {
    chainId: uint(chainId, 'a chain id', 1),
    contract: bytesOf(contract, 'a contract address', 20),
    txHash: bytesOf(txHash, 'a transaction hash', 32),
    blockNumber: uint(blockNumber, 'a block number'),
    blockHash: bytesOf(blockHash, 'a block hash', 32),
    root: bytesOf(root, 'an anchored root', 32),
    size: uint(size, 'the size of an anchor', 1),
    index: uint(index, 'the place under an anchor'),
    proof: hashes(proof, 'the proof of an anchor'),
  }
}

const leafOf = (value: CborValue): BundleLeaf => {
  if (value instanceof Uint8Array) return { bytes: value.slice() }
  const [seq, hash] = list(value, 'a leaf', 2)
  return { seq: uint(seq, 'the seq of a withheld envelope', 1), hash: bytesOf(hash, 'a leaf hash', 32) }
}

const runOf = (value: CborValue): Run => {
  const [id, first, leaves, proof] = list(value, 'a run', 4)
  const run = {
    station: station(id, 'the station of a run'),
    first: uint(first, 'the place of a run'),
    leaves: list(leaves, 'the leaves of a run').map(leafOf),
    proof: hashes(proof, 'the proof of a run'),
  }
  return run.leaves.length > 0 ? run : fail('a run holds no leaf')
}

const batchOf = (value: CborValue): BundleBatch => {
  const [statement, anchor, runs] = list(value, 'a batch', 3)
  const batch = {
    statement: bytesOf(statement, 'a batch statement'),
    anchor: anchorOf(anchor),
    runs: list(runs, 'the runs of a batch').map(runOf),
  }
  if (batch.runs.length === 0) fail('a batch holds no run')
  for (const [at, run] of batch.runs.entries())
    if (at > 0 && run.first <= batch.runs[at - 1]!.first) fail('the runs of a batch do not ascend')
  return batch
}

const holesOf = (value: CborValue | undefined, what: string): Hole[] => {
  const holes = list(value, what).map((item) => {
    const [id, first, last] = list(item, 'a hole', 3)
    const hole = {
      station: station(id, 'the station of a hole'),
      first: uint(first, 'the first of a hole', 1),
      last: uint(last, 'the last of a hole', 1),
    }
    return hole.last < hole.first ? fail('a hole ends before it begins') : hole
  })
  for (const [at, hole] of holes.entries()) {
    const before = holes[at - 1]
    if (before === undefined) continue
    const same = before.station === hole.station
    if (same ? before.last >= hole.first : before.station > hole.station) fail(`${what} do not ascend`)
  }
  return holes
}

const saleOf = (value: CborValue | undefined): BundleSale => {
  const [hubKey, receipt] = list(value, 'the sale', 2)
  return { hubKey: bytesOf(hubKey, 'the key of the hub', 32), receipt: bytesOf(receipt, 'the sales receipt') }
}

/**
 * Reads a bundle. `intact` says whether its checksum fits: left to the caller, because after a change of a byte some
 * other check often tells more. Nothing in the answer is verified yet.
 */
export const decodeBundle = (
  bytes: Uint8Array,
): { readonly ok: true; readonly bundle: Bundle; readonly intact: boolean } | Refused => {
  const decoded = decodeCbor(bytes, bundleBounds)
  if (!decoded.ok) return decoded
  const body = decoded.value
  try {
    if (!(body instanceof Map)) return fail('a map is expected')
    if (body.get(0) !== bundleVersion)
      fail(`version ${String(body.get(0))}, and ${bundleVersion} is understood`)
    const sale = body.has(7) ? saleOf(body.get(7)) : undefined
    if (body.size !== (sale === undefined ? 8 : 9)) fail('a map of eight, or nine with a sale, is expected')
    const digest = bytesOf(body.get(8), 'the checksum', digestBytes)
    return {
      ok: true,
      bundle: {
        network: text(body.get(1), 'the network'),
        scope: scopeOf(body.get(2)),
        stations: stationsOf(body.get(3)),
        batches: list(body.get(4), 'the batches').map(batchOf),
        missing: holesOf(body.get(5), 'the missing numbers'),
        pending: holesOf(body.get(6), 'the pending numbers'),
        ...(sale === undefined ? {} : { sale }),
      },
      intact: equalBytes(digest, sha256(bytes.subarray(0, bytes.length - digestBytes))),
    }
  } catch (error) {
    if (error instanceof Malformed) return refused('malformed', `bundle: ${error.message}`)
    throw error
  }
}
