/** Logins that listen by MQTT: each gets what comes from when it begins to listen, message by message, as it takes them. */
import type { Evidence } from '../../evidence/evidence.ts'
import type { Logins } from '../../ingest/broker.ts'
import { buyerTopic } from '../../reading/topics.ts'
import type { Subscription, Subscriptions } from '../../sales/subscriptions.ts'
import type { OpenTabs } from '../tab.ts'
import { pauseOf, tabOf } from './delivery.ts'
import { type GatherDeps, gather, type Selection } from './selection.ts'

export type ListenersDeps = GatherDeps & {
  readonly evidence: Pick<Evidence, 'committed'>
  readonly book: Subscriptions
  readonly openTab: OpenTabs
  readonly network: string
  readonly logins: Logins
  /** Whether the key with that id still counts. */
  readonly isKey: (id: string) => boolean
  /** Hears of what went wrong on our side: that login is disconnected. */
  readonly report: (error: unknown) => void
  /** UTC ms. */
  readonly nowMs: () => number
}

const rowsAtOnce = 100

// Tabs are settled, and a login without a key is sent away, within so long.
const lookAgainMs = 5_000

/** Opens what serves the logins. */
export const openListeners = (deps: ListenersDeps) => {
  const { book, logins, nowMs } = deps
  const stopping = new AbortController()
  const served = new Map<string, Promise<void>>()
  let called = Promise.withResolvers<void>()
  const call = (): void => {
    called.resolve()
    called = Promise.withResolvers()
  }
  stopping.signal.addEventListener('abort', call, { once: true })
  const { signal } = stopping

  /** Gives what comes until the login listens no more; why it was stopped, if it was. */
  const give = async (
    subscription: Subscription,
  ): Promise<Parameters<Subscriptions['pause']>[1] | undefined> => {
    const { id, apiKey } = subscription
    const opened = deps.openTab({
      ...tabOf(subscription),
      settled: ({ rows, priceMicroUsd: price }) => book.sold(id, { rows, price, nowMs: nowMs() }),
    })
    if (!opened.ok) return pauseOf(opened.fault)
    const { tab } = opened
    const selection = JSON.parse(subscription.selection) as Selection
    let next = { index: deps.evidence.committed, place: 0 }
    try {
      while (!signal.aborted && logins.isListening(id)) {
        if (!deps.isKey(apiKey)) return 'key'
        const more = called.promise
        const found = await gather(deps, selection, next, rowsAtOnce, 0)
        for (const { row } of found.rows) {
          const topic = buyerTopic(deps.network, id, row.station, row.sensor)
          // What it has not subscribed to it does not get, and does not pay.
          if (signal.aborted || !logins.hears(id, topic)) continue
          const text = JSON.stringify(row)
          const paid = tab.deliver([row], text)
          if (!paid.ok) return pauseOf(paid.fault)
          await logins.hand(id, topic, text)
        }
        const hasMoved = found.next.index > next.index || found.next.place > next.place
        next = found.next
        tab.settleWhenDue()
        if (hasMoved) continue
        const timer = setTimeout(call, lookAgainMs)
        await more
        clearTimeout(timer)
      }
      return undefined
    } finally {
      tab.close()
    }
  }

  const serve = async (id: string): Promise<void> => {
    let isSentAway = true
    try {
      const subscription = book.find(id)
      const reason = subscription?.state === 'active' ? await give(subscription) : undefined
      if (reason !== undefined) book.pause(id, reason)
      isSentAway = reason !== undefined
    } catch (error) {
      deps.report(error)
    }
    served.delete(id)
    if (isSentAway) logins.dismiss(id)
    // It may have come back while its last connection was being ended.
    else if (logins.isListening(id)) heeded(id)
  }

  const heeded = (id: string): void => {
    if (signal.aborted) return
    if (served.has(id)) call()
    else if (logins.isListening(id)) served.set(id, serve(id))
  }

  return {
    /** There is more to give. */
    grown: call,
    /** A login has begun to listen, or does so no more. */
    heeded,
    /** Stops; what was given is settled. */
    stop: async (): Promise<void> => {
      stopping.abort()
      // One that does not read would be waited for.
      for (const id of served.keys()) logins.dismiss(id)
      await Promise.all(served.values())
    },
  }
}

export type Listeners = ReturnType<typeof openListeners>
