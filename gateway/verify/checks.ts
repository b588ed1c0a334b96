/** The checks that look at one kind of thing each; `verify.ts` calls them in order. */
import type { Bundle } from '../reading/bundle.ts'
import { equalBytes, toHex } from '../reading/bytes.ts'
import { keyFault, stationId } from '../reading/key.ts'
import { leafHash, rootOfRange, verifyInclusion } from '../reading/merkle.ts'
import { decodeStatement, type Statement, statementHash } from '../reading/statement.ts'
import type { Entry } from './entries.ts'
import { type AnchorClaim, type Checked, counted, failed, passed } from './report.ts'
import { type BatchView, placeFault } from './sequence.ts'

const hex = (bytes: Uint8Array): string => `0x${toHex(bytes)}`

/** Keys: each belongs to the station named, is fit, and is used. */
export const checkKeys = ({ stations, scope, batches }: Bundle): Checked => {
  if (stations.some(({ station }) => scope.stations?.includes(station) === false)) {
    const [station, ...more] = scope.stations!
    return failed(
      more.length === 0
        ? `the bundle is about station ${station} and holds the key of another`
        : `the bundle is about ${scope.stations!.length} stations and holds the key of another`,
    )
  }
  for (const { station, publicKey } of stations) {
    if (stationId(publicKey) !== station)
      return failed(`the public key given for station ${station} is that of ${stationId(publicKey)}`, {
        station,
      })
    const weak = keyFault(publicKey)
    if (weak !== undefined)
      return failed(`the public key of station ${station} is unfit: ${weak}`, { station })
  }
  const known = new Set(stations.map(({ station }) => station))
  const used = new Set(batches.flatMap(({ runs }) => runs.map(({ station }) => station)))
  for (const station of used)
    if (!known.has(station)) return failed(`the key of station ${station} is not in the bundle`, { station })
  for (const station of known)
    if (!used.has(station)) return failed(`no envelope of station ${station} is in the bundle`, { station })
  if (used.size === 0) return failed('the bundle holds no envelope')
  return passed(`${counted(stations.length, 'public key')}, each of the station that is named by its hash`)
}

/** Batch statements: readable, of this network, ascending. */
export const openStatements = (
  bundle: Bundle,
): { readonly ok: true; readonly statements: Statement[] } | Extract<Checked, { ok: false }> => {
  const statements: Statement[] = []
  for (const [at, { statement: bytes }] of bundle.batches.entries()) {
    const bad = (text: string, batch?: number): Extract<Checked, { ok: false }> => ({
      ok: false,
      text,
      ...(batch === undefined ? {} : { batch }),
    })
    const decoded = decodeStatement(bytes)
    if (!decoded.ok)
      return bad(`the statement of the bundle's batch ${at + 1} cannot be read: ${decoded.detail}`)
    const { statement } = decoded
    const { batch } = statement
    if (statement.network !== bundle.network)
      return bad(
        `the statement of batch ${batch} is of network ${statement.network}, not ${bundle.network}`,
        batch,
      )
    if (batch <= (statements.at(-1)?.batch ?? 0)) return bad(`batch ${batch} is out of order`, batch)
    statements.push(statement)
  }
  return { ok: true, statements }
}

/** Every run under the root of its batch. */
export const checkInclusion = (
  bundle: Bundle,
  statements: readonly Statement[],
  opened: Entry[][][],
): Checked => {
  for (const [at, { runs }] of bundle.batches.entries()) {
    const { batch, root, size } = statements[at]!
    for (const [of, { station, first, proof }] of runs.entries()) {
      const leaves = opened[at]![of]!
      const reached = rootOfRange(
        leaves.map((entry) => entry.leafHash),
        first,
        size,
        proof,
      )
      if (reached === undefined || !equalBytes(reached, root)) {
        const seqs = `${leaves[0]!.seq} to ${leaves.at(-1)!.seq}`
        return failed(
          `envelopes ${seqs} of station ${station} are not leaves ${first} to ${first + leaves.length - 1} under the root of batch ${batch}`,
          { batch, leaf: first, station, seq: leaves[0]!.seq },
        )
      }
    }
  }
  const count = opened.flat(2).length
  return passed(`every one of ${counted(count, 'leaf', 'leaves')} is under the root of its batch`)
}

/** Leaves where their statements say; `views` as from `viewsOf`. */
export const checkOrder = (
  statements: readonly Statement[],
  opened: Entry[][][],
  views: readonly BatchView[],
): Checked => {
  for (const [at, runs] of opened.entries()) {
    const { batch, stations, firstMs, lastMs } = statements[at]!
    for (const [of, [first]] of runs.entries()) {
      const { station } = first!
      if (!stations.some((span) => span.station === station))
        return failed(`the statement of batch ${batch} does not name station ${station}`, { batch, station })
      if (runs.slice(0, of).some(([other]) => other!.station === station))
        return failed(`station ${station} has two runs in batch ${batch}`, { batch, station })
    }
    for (const { held, station, seq, leaf } of runs.flat())
      if (held !== null && (held.firstMs < firstMs || held.lastMs > lastMs))
        return failed(
          `envelope ${seq} of station ${station} (batch ${batch}, leaf ${leaf}) is outside the time span of its batch`,
          { batch, leaf, station, seq },
        )
  }
  for (const view of views) {
    const fault = placeFault(view)
    if (fault !== undefined) return fault
  }
  return passed('leaves stand in the order of station and sequence number, where their statements say')
}

/** Neighbouring batches name each other. */
export const checkBatches = (bundle: Bundle, statements: readonly Statement[]): Checked => {
  let linked = 0
  for (const [at, { batch, previous }] of statements.entries()) {
    const before = statements[at - 1]
    if (batch === 1) {
      if (previous.some((byte) => byte !== 0)) return failed('batch 1 names a batch before it', { batch })
    } else if (before?.batch === batch - 1) {
      if (!equalBytes(previous, statementHash(bundle.batches[at - 1]!.statement)))
        return failed(`batch ${batch} does not name batch ${before.batch} as the one before it`, { batch })
      linked++
    }
  }
  const text = counted(statements.length, 'batch', 'batches')
  return passed(linked === 0 ? `${text}, no two of them neighbours` : `${text}, neighbours name each other`)
}

/** The distinct anchors, each with the batches under it. */
export const claimsOf = (bundle: Bundle, statements: readonly Statement[]): AnchorClaim[] => {
  const claims = new Map<string, AnchorClaim & { batches: number[] }>()
  for (const [at, { anchor }] of bundle.batches.entries()) {
    const { batch } = statements[at]!
    const { chainId, blockNumber, size } = anchor
    const [contract, txHash, blockHash, root] = [
      anchor.contract,
      anchor.txHash,
      anchor.blockHash,
      anchor.root,
    ].map(hex) as [string, string, string, string]
    const firstBatch = batch - anchor.index
    const key = JSON.stringify([chainId, contract, txHash, blockNumber, blockHash, root, firstBatch, size])
    const known = claims.get(key)
    if (known !== undefined) known.batches.push(batch)
    else
      claims.set(key, {
        ...{ chainId, contract, txHash, blockNumber, blockHash, root, firstBatch, size },
        batches: [batch],
      })
  }
  return [...claims.values()]
}

/** Every statement under its anchored root. */
export const checkAnchors = (
  bundle: Bundle,
  statements: readonly Statement[],
  claims: readonly AnchorClaim[],
): Checked => {
  for (const [at, { statement, anchor }] of bundle.batches.entries()) {
    const { batch } = statements[at]!
    if (anchor.index >= batch)
      return failed(`batch ${batch} cannot be number ${anchor.index} under its anchored root`, { batch })
    if (!verifyInclusion(leafHash(statement), anchor.index, anchor.size, anchor.proof, anchor.root))
      return failed(`the statement of batch ${batch} is not under the anchored root ${hex(anchor.root)}`, {
        batch,
      })
  }
  return {
    ok: true,
    text: `${counted(statements.length, 'batch', 'batches')} under ${counted(claims.length, 'anchored root')}`,
    details: claims.map(
      ({ chainId, contract, blockNumber, txHash }) =>
        `chain ${chainId}, contract ${contract}, block ${blockNumber}, transaction ${txHash}`,
    ),
  }
}
