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

// What comes within so long is looked at together: each look costs, and there may be thousands of subscriptions.
const gatherMs = 100

// After an error of ours, such as a store that is away.
const recoverMs = 10_000

/** Opens the courier of all active webhooks. */
export const openCourier = ({ book, deliveries, report, nowMs }: CourierDeps) => {
  // Each is in one of these: to be called on now, when there is more, or at a time (UTC ms); or a turn is under way.
  const ready = new Set<string>(book.active('webhook').map(({ id }) => id))
  const idle = new Set<string>()
  const later = new Map<string, number>()
  const turns = new Map<string, Promise<void>>()
  // Changed while a turn was under way: what the turn found out may be wrong by now.
  const changed = new Set<string>()
  let growths = 0
  let isGathering = false
  let called = Promise.withResolvers<void>()
  const call = (): void => {
    called.resolve()
    called = Promise.withResolvers()
  }

  const isActive = (id: string): boolean => {
    const found = book.find(id)
    return found?.kind === 'webhook' && found.state === 'active'
  }

  const visit = async (id: string, signal: AbortSignal): Promise<void> => {
    const before = growths
    let put: () => unknown = () => undefined
    try {
      const turn = await deliveries.turn(id, signal)
      if (turn === 'again' || (turn === 'idle' && growths > before)) put = () => ready.add(id)
      else if (turn === 'idle') put = () => idle.add(id)
      else if (turn === 'later') put = () => later.set(id, book.find(id)?.nextTryMs ?? 0)
    } catch (error) {
      report(error)
      put = () => later.set(id, nowMs() + recoverMs)
    }
    turns.delete(id)
    if (!changed.delete(id)) put()
    else if (isActive(id)) ready.add(id)
    call()
  }

  return {
    /** There is more to give. */
    grown: (): void => {
      growths++
      if (isGathering) return
      isGathering = true
      setTimeout(() => {
        isGathering = false
        for (const id of idle) ready.add(id)
        idle.clear()
        call()
      }, gatherMs).unref()
    },
    /** A subscription is new, goes on, or is gone. */
    changed: (id: string): void => {
      deliveries.forget(id)
      for (const one of [ready, idle, later]) one.delete(id)
      if (turns.has(id)) changed.add(id)
      else if (isActive(id)) ready.add(id)
      call()
    },
    /** Runs until the signal aborts; deliveries that are under way end with it. */
    run: async (signal: AbortSignal): Promise<void> => {
      signal.addEventListener('abort', call, { once: true })
      const timer = setInterval(() => {
        for (const [id, dueMs] of later) {
          if (dueMs > nowMs()) continue
          later.delete(id)
          ready.add(id)
        }
        call()
      }, lookAgainMs)
      while (!signal.aborted) {
        const next = called.promise
        for (const id of ready) {
          if (turns.size >= mostAtOnce) break
          ready.delete(id)
          turns.set(id, visit(id, signal))
        }
        await next
      }
      clearInterval(timer)
      await Promise.all(turns.values())
    },
  }
}

export type Courier = ReturnType<typeof openCourier>
