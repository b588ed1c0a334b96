/**
 * A tab: a sale that goes on. What is delivered is put on the tab, and the tab is settled in segments: from time to time,
 * when the money held for it is used up, and at its end. A segment is one sale with its receipt, charged for what was
 * delivered, and one transaction with the money held for the next. What was not settled when a hub died was paid by
 * nobody.
 */
import { createHash } from 'node:crypto'
import type { Signer } from '../reading/cose.ts'
import type { Holds, WantedHold } from './holds.ts'
import type { KeyFault, Keys } from './keys.ts'
import type { MicroUsd } from './money.ts'
import { type OwnerFactor, openTally, type PricedRow, type PriceList } from './price.ts'
import { incomeOf, ownersOf, signReceipt, soldScope } from './receipt.ts'
import { creditOf, newSaleId, type SaleTable } from './sale.ts'

/** A row on a tab, with the time of its reading (UTC ms). */
export type TabRow = PricedRow & { readonly timeMs: number }

/** What a segment holds: of which stations, and from the first to the last of its readings (UTC ms). */
export type Span = {
  readonly stations: ReadonlySet<string>
  readonly fromMs: number
  readonly lastMs: number
}

export type TabOrder = {
  /** Names the tab for ever: the base is paid once for each name, whoever opens it again. */
  readonly name: string
  /** The key that pays, by its id: a tab may outlive the request that showed it. */
  readonly apiKey: string
  /** SHA-256 of the canonical text of the query, and that text. */
  readonly query: Uint8Array
  readonly asked: string
  /** What a bundle of a segment asks for, as JSON; 'null' for none. */
  readonly scopeOf: (span: Span) => string
  /**
   * What is kept elsewhere in this database of what was delivered: part of the transaction of each settlement, or on its
   * own where nothing of the segment cost anything.
   */
  readonly settled?: (segment: Segment) => void
  /** Charged once and settled at once: no more is held than that costs. */
  readonly isSingle?: boolean
}

/** A settled segment. `receipt` is the id of its sale; null where nothing of it cost anything. */
export type Segment = {
  readonly receipt: string | null
  readonly rows: number
  readonly values: number
  readonly priceMicroUsd: MicroUsd
}

/** Why nothing more is put on a tab: `price` is what was asked for, `left` what there is. */
export type Unpaid =
  | { readonly reason: 'insufficient' | 'budget'; readonly price: MicroUsd; readonly left: MicroUsd }
  | { readonly reason: 'key'; readonly fault: KeyFault }

/** Whether rows were put on a tab. Either way a segment may have been settled before them. */
export type Charged = { readonly segment?: Segment } & (
  | { readonly ok: true }
  | ({ readonly ok: false } & Unpaid)
)

export type Tab = {
  readonly customer: string
  /** What was settled so far, since this tab was opened. */
  readonly settledMicroUsd: MicroUsd
  /**
   * Puts rows on the tab before they are delivered, with the bytes that the receipt's `response` is made of: SHA-256 over
   * all of the segment's. What cannot be paid is not put on it, and may be tried again later.
   */
  charge(rows: readonly TabRow[], bytes: string | Uint8Array): Charged
  /** Settles the segment where it has gone on for long enough: to be called every few seconds. */
  settleWhenDue(): Segment | undefined
  /** Settles what is on the tab and gives back what is held. Nothing can be put on it any more. */
  close(): Segment | undefined
  /** Ends it without a settlement: what was put on it since the last one was not delivered. */
  abandon(): void
}

/** How long a segment goes on before it is settled. */
export const segmentMs = 60_000

// Rows and stations of one receipt; a station has a share at most, and as many shares fit in a receipt.
const maxSegmentRows = 10_000

// What is held at first, and at most, in values of the best tier. It doubles each time it was used up too early: little
// of a buyer's credit is out of reach, and a busy tab is not settled every second.
const firstHoldValues = 100n
const mostHoldValues = 12_800n

/** Of which tabs the base was paid, by their names. */
export type Bases = {
  isPaid(name: string): boolean
  /** Part of the transaction that pays it. */
  note(name: string, customer: string, timeMs: number): void
}

export type TabDeps = {
  readonly holds: Holds
  readonly keys: Keys
  readonly table: SaleTable
  readonly bases: Bases
  /** Hears of a tab's end. */
  readonly closed: (tab: Tab) => void
  readonly network: string
  readonly hub: Signer
  readonly prices: PriceList
  readonly factor: OwnerFactor
  readonly nowMs: () => number
}

const rail = 'credits'

/** Opens a tab. Who opens it looks first whether its key counts. */
export const openTab = (
  deps: TabDeps,
  { name, apiKey, query, asked, scopeOf, settled, isSingle = false }: TabOrder,
  customer: string,
): Tab => {
  const { holds, keys, table, bases, network, hub, prices, factor, nowMs } = deps
  let want = isSingle ? 0n : prices.baseMicroUsd + firstHoldValues * prices.valueMicroUsd
  const most = prices.baseMicroUsd + mostHoldValues * prices.valueMicroUsd
  let hold: { readonly id: string; readonly amount: MicroUsd } | undefined
  let closed = false
  let settledMicroUsd = 0n

  const newSegment = () => ({
    tally: openTally(prices, factor, keys.ownStations(customer)),
    hash: createHash('sha256'),
    rows: 0,
    stations: new Set<string>(),
    fromMs: Number.MAX_SAFE_INTEGER,
    lastMs: 0,
    sinceMs: nowMs(),
  })
  let segment = newSegment()

  let basePaid = false
  const base = (): MicroUsd => {
    basePaid ||= bases.isPaid(name)
    return basePaid ? 0n : prices.baseMicroUsd
  }

  const wanted = (least: MicroUsd): WantedHold => ({
    id: newSaleId(),
    account: creditOf(customer),
    apiKey,
    most: want > least ? want : least,
    least,
  })

  /** Ends the segment, where there is anything in it; where `next` is given, as much is held for what comes then. */
  const settle = (next?: WantedHold): Segment | undefined => {
    const { tally, hash, rows, ...span } = segment
    const price = tally.price(base())
    const { totalMicroUsd, values } = price
    const timeMs = nowMs()
    if (totalMicroUsd === 0n) {
      segment = newSegment()
      if (rows === 0) return undefined
      const given: Segment = { receipt: null, rows, values, priceMicroUsd: 0n }
      settled?.(given)
      return given
    }
    const { id } = hold!
    const paid: Segment = { receipt: id, rows, values, priceMicroUsd: totalMicroUsd }
    const shares = ownersOf(prices, price, totalMicroUsd)
    const response = new Uint8Array(hash.copy().digest())
    const priceMicroUsd = Number(totalMicroUsd)
    const scope = scopeOf(span)
    const sold = { rows, values, priceMicroUsd, rail, shares, ...soldScope(scope) }
    const signed = signReceipt({ id, issuedMs: timeMs, query, response, ...sold }, network, hub)
    const also = (): void => {
      bases.note(name, customer, timeMs)
      table.insert({
        id,
        request: id,
        customer,
        apiKey,
        asked,
        query,
        scope,
        timeMs,
        priceMicroUsd: totalMicroUsd,
        rows,
        state: 'delivered',
        ...signed,
      })
      settled?.(paid)
    }
    const occasion = { timeMs, memo: rail }
    const captured = holds.capture(id, incomeOf(shares, totalMicroUsd), occasion, {
      also,
      ...(next === undefined ? {} : { next }),
    })
    if (captured === undefined) throw new Error(`hold ${id} was ended behind the back of tab ${name}`)
    hold = next !== undefined && captured.next?.ok ? { id: next.id, amount: captured.next.amount } : undefined
    settledMicroUsd += totalMicroUsd
    segment = newSegment()
    return paid
  }

  const isDue = (more: number): boolean =>
    nowMs() - segment.sinceMs >= segmentMs || segment.rows + more > maxSegmentRows

  const charge = (rows: readonly TabRow[], bytes: string | Uint8Array): Charged => {
    if (closed) throw new Error(`tab ${name} is closed`)
    if (rows.length > maxSegmentRows)
      throw new RangeError(`${rows.length} rows at once, at most ${maxSegmentRows}`)
    const found = keys.byId(apiKey, nowMs())
    if (!found.ok) return { ok: false, reason: 'key', fault: found.reason }
    let ended: Segment | undefined
    const due = isDue(rows.length)
    if (due || (hold !== undefined && segment.tally.totalWith(rows, base()) > hold.amount)) {
      if (!due && want < most) want *= 2n
      const alone = newSegment().tally.totalWith(rows, 0n)
      ended = settle(alone === 0n ? undefined : wanted(alone))
    }
    const ending = ended === undefined ? {} : { segment: ended }
    const total = segment.tally.totalWith(rows, base())
    if (hold === undefined && total > 0n) {
      const next = wanted(total)
      const held = holds.take(next, { timeMs: nowMs(), memo: rail })
      if (!held.ok) return { ...ending, ok: false, reason: held.reason, price: total, left: held.left }
      hold = { id: next.id, amount: held.amount }
    }
    for (const row of rows) {
      segment.tally.add(row)
      segment.stations.add(row.station)
      segment.fromMs = Math.min(segment.fromMs, row.timeMs)
      segment.lastMs = Math.max(segment.lastMs, row.timeMs)
    }
    segment.rows += rows.length
    segment.hash.update(bytes)
    return { ...ending, ok: true }
  }

  const tab: Tab = {
    customer,
    get settledMicroUsd() {
      return settledMicroUsd
    },
    charge,
    settleWhenDue: () => (closed || !isDue(0) ? undefined : settle()),
    close: () => {
      if (closed) return undefined
      closed = true
      deps.closed(tab)
      return settle()
    },
    abandon: () => {
      if (closed) return
      closed = true
      deps.closed(tab)
      if (hold !== undefined) holds.release(hold.id, { timeMs: nowMs(), memo: 'nothing was delivered' })
    },
  }
  return tab
}
