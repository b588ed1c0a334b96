/**
 * Holds: money set aside for work under way, out of a customer's credit and out of the budget of its key. A hold is
 * captured for what was delivered and the rest goes back, or it is released whole.
 */
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite'
import type { Keys } from './keys.ts'
import { type AccountName, type Entry, heldAccount, type Ledger, type Posting } from './ledger.ts'
import type { MicroUsd } from './money.ts'

export type HoldState = 'open' | 'captured' | 'released'

/** `apiKey` is the key whose budget is held as well; null without one. */
export type Hold = {
  readonly id: string
  readonly account: AccountName
  readonly apiKey: string | null
  readonly amount: MicroUsd
  readonly state: HoldState
  readonly openedMs: number
}

/** As much as there is, up to `most`, is set aside; where there is less than `least`, nothing. Both are above zero. */
export type WantedHold = Pick<Hold, 'id' | 'account' | 'apiKey'> & {
  readonly most: MicroUsd
  readonly least: MicroUsd
}

/** Why nothing is held: too little credit, or too little left of the key's budget. */
export type Unheld = {
  readonly ok: false
  readonly reason: 'insufficient' | 'budget'
  readonly left: MicroUsd
}

export type Held = { readonly ok: true; readonly amount: MicroUsd } | Unheld

/** When and why money moves. */
export type Occasion = { readonly timeMs: number; readonly memo: string }

const asHold = (row: Record<string, SQLOutputValue>): Hold => ({
  id: row.id as string,
  account: row.account as AccountName,
  apiKey: row.api_key as string | null,
  amount: row.amount as bigint,
  state: row.state as HoldState,
  openedMs: Number(row.opened_ms),
})

/** The holds in the ledger's database. */
export const openHolds = (database: DatabaseSync, ledger: Ledger, keys: Keys) => {
  const add = database.prepare("INSERT INTO hold VALUES (?, ?, ?, 'open', ?, ?)")
  const find = database.prepare('SELECT * FROM hold WHERE id = ?')
  const end = database.prepare("UPDATE hold SET state = ? WHERE id = ? AND state = 'open'")
  const unended = database.prepare("SELECT * FROM hold WHERE state = 'open' ORDER BY opened_ms, id")

  /** Sets aside what there is, inside of a transaction. */
  const setAside = (
    { id, account, apiKey, most, least }: WantedHold,
    { timeMs, memo }: Occasion,
    post: (posting: Posting) => void,
  ): Held => {
    if (find.get(id) !== undefined) throw new RangeError(`there was a hold ${id} before`)
    const credit = ledger.balance(account)
    if (credit < least) return { ok: false, reason: 'insufficient', left: credit }
    const budget = apiKey === null ? null : keys.left(apiKey)
    if (budget !== null && budget < least) return { ok: false, reason: 'budget', left: budget }
    const amount = [most, credit, budget ?? most].reduce((a, b) => (b < a ? b : a))
    post({
      request: `hold:${id}`,
      kind: 'hold',
      timeMs,
      memo,
      entries: [
        { account, amount: -amount },
        { account: heldAccount, amount },
      ],
    })
    add.run(id, account, amount, timeMs, apiKey)
    if (apiKey !== null) keys.spend(apiKey, amount)
    return { ok: true, amount }
  }

  /** Ends a hold, inside of a transaction: `to` gets its entries, the rest goes back; false where it was ended before. */
  const endWith = (
    hold: Hold,
    state: Exclude<HoldState, 'open'>,
    to: readonly Entry[],
    { timeMs, memo }: Occasion,
    post: (posting: Posting) => void,
  ): boolean => {
    if (Number(end.run(state, hold.id).changes) === 0) return false
    const paid = to.reduce((sum, { amount }) => sum + amount, 0n)
    if (paid > hold.amount || to.some(({ amount }) => amount < 0n))
      throw new RangeError(`hold ${hold.id} has ${hold.amount} micro-USD, and ${paid} were to be captured`)
    post({
      request: `${state === 'captured' ? 'capture' : 'release'}:${hold.id}`,
      kind: state === 'captured' ? 'capture' : 'release',
      timeMs,
      memo,
      entries: [
        { account: heldAccount, amount: -hold.amount },
        ...to,
        { account: hold.account, amount: hold.amount - paid },
      ],
    })
    if (hold.apiKey !== null) keys.spend(hold.apiKey, paid - hold.amount)
    return true
  }

  const holdOf = (id: string): Hold | undefined => {
    const row = find.get(id)
    return row && asHold(row)
  }

  const known = (id: string): Hold => {
    const hold = holdOf(id)
    if (hold === undefined) throw new RangeError(`there is no hold ${id}`)
    return hold
  }

  return {
    holdOf,
    /** Sets money aside. Throws RangeError for an id that was used before. */
    take: (wanted: WantedHold, occasion: Occasion): Held => {
      let held: Held | undefined
      ledger.together((post) => {
        held = setAside(wanted, occasion, post)
        return held.ok
      })
      return held!
    },
    /**
     * Pays a part of a hold, at most all, out to `to`; the rest goes back, and `next` is taken of it, in the same
     * transaction as `also`. Gives what was taken, or why nothing was; undefined where the hold was ended before.
     * Throws RangeError for more than is held.
     */
    capture: (
      id: string,
      to: readonly Entry[],
      occasion: Occasion,
      { also, next }: { readonly also?: () => void; readonly next?: WantedHold } = {},
    ): { readonly next?: Held } | undefined => {
      let taken: Held | undefined
      const posted = ledger.together((post) => {
        if (!endWith(known(id), 'captured', to, occasion, post)) return false
        also?.()
        if (next !== undefined) taken = setAside(next, occasion, post)
        return true
      })
      if (!posted.ok) return undefined
      return taken === undefined ? {} : { next: taken }
    },
    /** Gives a hold back; false where it was ended before. */
    release: (id: string, occasion: Occasion): boolean =>
      ledger.together((post) => endWith(known(id), 'released', [], occasion, post)).ok,
    /** Gives back every hold but those that are to be kept: what it was taken for is under way no more. */
    releaseAll: (occasion: Occasion, isKept: (id: string) => boolean = () => false): void => {
      for (const hold of unended.all().map(asHold))
        if (!isKept(hold.id)) ledger.together((post) => endWith(hold, 'released', [], occasion, post))
    },
  }
}

export type Holds = ReturnType<typeof openHolds>
