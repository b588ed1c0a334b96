/** The courier: calls on every webhook that is due, so many at once, each in its own order. */
import type { Subscriptions } from '../../sales/subscriptions.ts'
import type { Deliveries } from './delivery.ts'

export type CourierDeps = {
  readonly book: Pick<Subscriptions, 'active' | 'find'>
  readonly deliveries: Deliveries
  /** Hears of what went wrong on our side; that subscription is tried again in a while. */
  readonly report: (error: unknown) => void
  /** UTC ms. */
  readonly nowMs: () => number
}

// Ten seconds each at worst: so many slow receivers do not keep the others waiting for long.
const mostAtOnce = 32

// Clocks are set, and a retry that is due is not worth a timer of its own.
const lookAgainMs = 1000

// After an error of ours, such as a store that is away.
const recoverMs = 10_000

const underWay = Number.NEGATIVE_INFINITY
const untilMore = Number.POSITIVE_INFINITY

/** Opens the courier of all active webhooks. */
export const openCourier = ({ book, deliveries, report, nowMs }: CourierDeps) => {
  // When each is to be called on (UTC ms), the one that waits for longest first.
  const due = new Map<string, number>(book.active('webhook').map(({ id }) => [id, 0]))
  const turns = new Map<string, Promise<void>>()
  let growths = 0
  let called = Promise.withResolvers<void>()
  const call = (): void => {
    called.resolve()
    called = Promise.withResolvers()
  }

  const visit = async (id: string, signal: AbortSignal): Promise<void> => {
    const before = growths
    let next: number | undefined
    try {
      const turn = await deliveries.turn(id, signal)
      if (turn === 'again') next = 0
      else if (turn === 'later') next = book.find(id)?.nextTryMs
      else if (turn === 'idle') next = growths === before ? untilMore : 0
    } catch (error) {
      report(error)
      next = nowMs() + recoverMs
    }
    turns.delete(id)
    // Where it was changed meanwhile, that counts.
    if (due.get(id) === underWay) {
      due.delete(id)
      if (next !== undefined) due.set(id, next)
    }
    call()
  }

  return {
    /** There is more to give. */
    grown: (): void => {
      growths++
      for (const [id, dueMs] of due) if (dueMs === untilMore) due.set(id, 0)
      call()
    },
    /** A subscription is new, goes on, or is gone. */
    changed: (id: string): void => {
      const found = book.find(id)
      if (found?.kind === 'webhook' && found.state === 'active') due.set(id, 0)
      else due.delete(id)
      deliveries.forget(id)
      call()
    },
    /** Runs until the signal aborts; deliveries that are under way end with it. */
    run: async (signal: AbortSignal): Promise<void> => {
      signal.addEventListener('abort', call, { once: true })
      while (!signal.aborted) {
        const next = called.promise
        for (const [id, dueMs] of due) {
          if (turns.size >= mostAtOnce) break
          if (dueMs > nowMs() || turns.has(id)) continue
          // To the end of the line: whoever has much to get does not keep the others waiting.
          due.delete(id)
          due.set(id, underWay)
          turns.set(id, visit(id, signal))
        }
        const timer = setTimeout(call, lookAgainMs)
        await next
        clearTimeout(timer)
      }
      await Promise.all(turns.values())
    },
  }
}

export type Courier = ReturnType<typeof openCourier>
