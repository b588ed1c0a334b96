/**
 * Verifies a proof bundle offline, trusting nobody: from the signed envelope through the batch's tree to the anchored
 * root. Pure and portable: runs in a browser as it runs in Node.
 */
import type { Bundle, BundleScope } from '../reading/bundle.ts'
import { decodeBundle } from '../reading/bundle-decode.ts'
import type { Range } from '../reading/ranges.ts'
import type { Reading } from '../reading/reading.ts'
import type { Statement } from '../reading/statement.ts'
import {
  checkAnchors,
  checkBatches,
  checkInclusion,
  checkKeys,
  checkOrder,
  claimsOf,
  openStatements,
} from './checks.ts'
import { openElsewhere } from './elsewhere.ts'
import { checkSignatures, type Entry, openEntries } from './entries.ts'
import { checkFrames, signersByPlace } from './frames.ts'
import type { Declaration } from './lost.ts'
import {
  type Checked,
  counted,
  type Failure,
  failed,
  type ProvenReading,
  passed,
  type Report,
  type StationReport,
  type Step,
  type StepName,
} from './report.ts'
import { checkSale } from './sale.ts'
import { type BatchView, checkSequence, stationText } from './sequence.ts'

export { checkAnswer } from './answer.ts'
export { verifyOnChain } from './chain.ts'
export type {
  AnchorClaim,
  Failure,
  NodeReport,
  ProvenReading,
  Report,
  SignedBy,
  StationReport,
  Step,
  StepName,
} from './report.ts'
export type { SaleReport } from './sale.ts'

/** What each statement says of each station, with the entries that the bundle has of it. */
const viewsOf = (statements: readonly Statement[], opened: Entry[][][]): BatchView[] =>
  statements.flatMap(({ batch, stations }, at) => {
    let start = 0
    return stations.map((span) => {
      const entries = opened[at]!.filter(([first]) => first!.station === span.station).flat()
      const view = { batch, span, start, entries }
      start += span.count
      return view
    })
  })

/** What of a reading was asked for: nothing, where it is of another time or sensor, or has none of these quantities. */
const valuesAsked = (
  { sensor, quantities, fromMs, toMs }: BundleScope,
  reading: Reading,
): Reading['values'] => {
  if (reading.timeMs < fromMs || reading.timeMs >= toMs) return []
  if (sensor !== undefined && reading.sensor !== sensor) return []
  return quantities === undefined
    ? reading.values
    : reading.values.filter(({ quantity }) => quantities.includes(quantity))
}

const selected = (scope: BundleScope, entries: readonly Entry[]): ProvenReading[] =>
  entries.flatMap(({ station, seq, held }) => {
    const frames = signersByPlace(held?.frames ?? [])
    return (held?.readings ?? []).flatMap((reading, place) => {
      const values = valuesAsked(scope, reading)
      if (values.length === 0) return []
      return [{ ...reading, values, station, seq, place, node: frames[place] ?? null }]
    })
  })

const rangesOf = (holes: Bundle['missing'], station: string): Range[] =>
  holes.filter((hole) => hole.station === station).map(({ first, last }): Range => [first, last])

type Sequenced = {
  readonly stations: StationReport[]
  readonly readings: ProvenReading[]
  readonly complete: boolean
}

const checkSequences = (
  { scope, stations, missing, pending }: Bundle,
  opened: Entry[][][],
  views: readonly BatchView[],
  elsewhere: ReadonlyMap<string, readonly Declaration[]>,
): { checked: Checked; found?: Sequenced } => {
  const byStation = Map.groupBy(opened.flat(2), ({ station }) => station)
  const byView = Map.groupBy(views, ({ span }) => span.station)
  const stranger = [...missing, ...pending].find(({ station }) => !byStation.has(station))
  if (stranger !== undefined) {
    const { station } = stranger
    return {
      checked: failed(`numbers of station ${station} are declared absent, and nothing of it is here`, {
        station,
      }),
    }
  }
  const reports: StationReport[] = []
  const readings: ProvenReading[] = []
  for (const { station } of stations) {
    const entries = byStation.get(station)!.toSorted((a, b) => a.seq - b.seq)
    const declared = { missing: rangesOf(missing, station), pending: rangesOf(pending, station) }
    const outcome = checkSequence(
      station,
      entries,
      declared,
      byView.get(station) ?? [],
      scope,
      elsewhere.get(station),
    )
    if (!outcome.ok) return { checked: outcome }
    const proven = selected(scope, entries)
    for (const reading of proven) readings.push(reading)
    reports.push({ ...outcome.report, readings: proven.length })
  }
  const omitted = [...byView.keys()].filter(
    (station) => !byStation.has(station) && scope.stations?.includes(station) !== false,
  )
  const unproven = (scope.stations ?? []).filter(
    (station) => !byStation.has(station) && !omitted.includes(station),
  )
  const complete = omitted.length + unproven.length === 0 && reports.every((report) => report.complete)
  const details = [
    ...reports.map((report) => stationText(report, scope)),
    ...omitted.map(
      (station) => `station ${station}: has envelopes in these batches, none of them in the bundle`,
    ),
    ...unproven.map((station) => `station ${station}: was asked for, and nothing of it is in the bundle`),
  ]
  const text = complete
    ? 'no envelope of the time asked is left out: numbers without a hole, each naming the one before'
    : 'NOT COMPLETE for the time asked; what is here has numbers without undeclared holes, each naming the one before'
  return {
    checked: { ok: true, text, warned: !complete, details },
    found: { stations: reports, readings, complete },
  }
}

/** Checks everything that can be checked without asking anyone. Never throws for any bytes. */
export const verifyBundle = (bytes: Uint8Array): Report => {
  const steps: Step[] = []
  let report: Omit<Report, 'ok' | 'steps' | 'failure'> = {
    complete: false,
    network: null,
    scope: null,
    stations: [],
    nodes: [],
    anchors: [],
    sale: null,
    readings: [],
  }
  const stop = (): Report => {
    const last = steps.at(-1)
    const failure = last?.state === 'failed' ? { ...where, step: last.name, text: last.text } : null
    return failure === null
      ? { ...report, ok: true, failure, steps }
      : { ...report, ok: false, complete: false, nodes: [], sale: null, readings: [], failure, steps }
  }
  let where: Omit<Failure, 'step' | 'text'> = {}
  /** Notes the outcome; whether to go on. */
  const step = (name: StepName, checked: Checked): boolean => {
    if (!checked.ok) {
      const { ok: _, text, ...rest } = checked
      where = rest
      steps.push({ name, state: 'failed', text })
      return false
    }
    const { text, warned, details } = checked
    steps.push({ name, state: warned ? 'warned' : 'passed', text, ...(details ? { details } : {}) })
    return true
  }

  const decoded = decodeBundle(bytes)
  if (!decoded.ok) {
    step('file', failed(`this is no whole bundle: ${decoded.detail}`))
    return stop()
  }
  const { bundle, intact } = decoded
  const { network, scope } = bundle
  report = { ...report, network, scope }
  step('file', passed(`a bundle of network ${network}, ${counted(bytes.length, 'byte')}`))
  if (!step('keys', checkKeys(bundle))) return stop()

  const stated = openStatements(bundle)
  if (!step('statements', stated.ok ? passed(counted(stated.statements.length, 'batch statement')) : stated))
    return stop()
  const statements = stated.ok ? stated.statements : []

  const opening = openEntries(bundle, statements)
  const opened = opening.ok ? (opening.runs as Entry[][][]) : []
  const entries = opened.flat(2)
  const held = entries.flatMap((entry) => entry.held ?? [])
  const readings = held.reduce((sum, one) => sum + one.readings.length, 0)
  const inAll = `${counted(readings, 'reading')} in ${counted(held.length, 'envelope')} of ${counted(bundle.stations.length, 'station')}`
  if (!step('envelopes', opening.ok ? passed(inAll) : opening)) return stop()

  const keys = new Map(bundle.stations.map(({ station, publicKey }) => [station, publicKey]))
  const forged = checkSignatures(entries, network, keys)
  const fit = `${counted(held.length, 'Ed25519 signature')} by these keys for network ${network}`
  const beside = openElsewhere(bundle)
  const elsewhere = beside.ok ? beside.elsewhere : new Map<string, readonly Declaration[]>()
  if (!step('signatures', forged ?? (beside.ok ? passed(fit) : beside))) return stop()
  if (held.some(({ frames }) => frames.length > 0)) {
    const frames = checkFrames(entries, network, (reading) => valuesAsked(scope, reading).length > 0)
    if (!step('frames', frames.checked)) return stop()
    report = { ...report, nodes: frames.nodes }
  }
  if (!step('inclusion', checkInclusion(bundle, statements, opened))) return stop()
  const views = viewsOf(statements, opened)
  if (!step('order', checkOrder(statements, opened, views))) return stop()
  if (!step('batches', checkBatches(bundle, statements))) return stop()
  const sequence = checkSequences(bundle, opened, views, elsewhere)
  if (!step('sequence', sequence.checked)) return stop()
  const anchors = claimsOf(bundle, statements)
  report = { ...report, ...sequence.found, anchors }
  if (!step('anchors', checkAnchors(bundle, statements, anchors))) return stop()
  if (bundle.sale !== undefined) {
    const sale = checkSale(bundle.sale, bundle)
    if (!step('sale', sale.checked)) return stop()
    report = { ...report, sale: sale.sale ?? null }
  }
  // Last, because every other check can say what was changed, and this one only that something was.
  step(
    'checksum',
    intact
      ? passed('the file is as it was made')
      : failed(
          'the file was damaged or changed where no signature or proof reaches (its query or chain references)',
        ),
  )
  return stop()
}
