/**
 * One delivery to a webhook: what comes next is put on a tab, sent, and paid once the receiver has said that it took it,
 * in one step on disk with how far it has come. Whatever happens in between, the same comes again and is paid once.
 */
import type { Signer } from '../../reading/cose.ts'
import type { PauseReason, Subscription, Subscriptions } from '../../sales/subscriptions.ts'
import type { Span } from '../../sales/tab.ts'
import type { Fault } from '../problem.ts'
import { segmentScope } from '../scope.ts'
import type { OpenTabs } from '../tab.ts'
import { eventBody, eventId } from './cloud-event.ts'
import { codesOf, type GatherDeps, gather, type Selection } from './selection.ts'
import { signedHeaders } from './signature.ts'
import { type Answered, askWebhook, type WebhookOptions } from './webhook.ts'

export type DeliveryDeps = GatherDeps & {
  readonly book: Subscriptions
  readonly openTab: OpenTabs
  readonly hub: Pick<Signer, 'sign'>
  /** Source of events, a URI reference, and what a receiver knows this hub by. */
  readonly source: string
  readonly origin: string
  readonly version: string
  readonly webhook: WebhookOptions
  /** UTC ms. */
  readonly nowMs: () => number
  /** From 0 to 1: failures of many must not come back at one moment. */
  readonly random: () => number
}

/** `again`: there may be more. `idle`: nothing to give yet. `later`: not before its next try. `stopped`: by itself. */
export type Turn = 'again' | 'idle' | 'later' | 'stopped'

/** What waits for longer is told as skipped, and can be fetched at /v1/readings: a week. */
export const keptMs = 7 * 86_400_000

/** A receiver that has failed for so long without taking anything is paused: three days. */
export const giveUpMs = 3 * 86_400_000

// From seconds to an hour, each a quarter more or less.
const retryMs = [5_000, 30_000, 120_000, 600_000, 1_800_000, 3_600_000] as const
const maxRetryMs = 3_600_000
const jitter = 0.25

// How far a search that finds nothing goes before its place is kept: a restart looks through as much again.
const keptEvery = 2000

/** Milliseconds that Retry-After (RFC 9110 s10.2.3) asks for; 0 where it does not, never more than an hour. */
const retryAfterMs = (answered: Answered, nowMs: number): number => {
  const text = (answered.ok ? answered.header('retry-after') : undefined)?.trim() ?? ''
  const ms = /^[0-9]{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - nowMs
  return ms > 0 ? Math.min(ms, maxRetryMs) : 0
}

const failureOf = (answered: Answered): string => {
  if (!answered.ok) return answered.detail
  const { status } = answered
  return status >= 300 && status < 400
    ? `it answered ${status}; redirects are not followed`
    : `it answered ${status}`
}

const pauses: Readonly<Partial<Record<Fault['slug'], Exclude<PauseReason, 'gone'>>>> = {
  'key-invalid': 'key',
  'credit-exhausted': 'credit',
  'budget-exhausted': 'budget',
}

/** Why a subscription stops at a fault of its tab. */
export const pauseOf = ({ slug, detail }: Fault): Exclude<PauseReason, 'gone'> => {
  const reason = pauses[slug]
  if (reason === undefined) throw new Error(`a tab was refused with ${slug}: ${detail}`)
  return reason
}

/** The tab of a subscription: its receipts name it, and a bundle of each has the readings of its stations and time. */
export const tabOf = ({ id, apiKey, selection }: Subscription) => ({
  name: `subscription:${id}`,
  apiKey,
  asked: `subscription ${id} ${selection}`,
  scopeOf: (span: Span): string => {
    const { sensor, quantity } = JSON.parse(selection) as Selection
    return JSON.stringify(
      segmentScope(span, {
        ...(sensor === undefined ? {} : { sensor }),
        ...(quantity === undefined ? {} : { quantities: codesOf(quantity) }),
      }),
    )
  },
  afford: false,
})

/** Opens the deliveries. */
export const openDeliveries = (deps: DeliveryDeps) => {
  const { book, nowMs, random } = deps
  // Where searches that found nothing have come, since it is not worth a write each time.
  const searched = new Map<string, number>()

  const nextTryMs = (failures: number, leastMs: number): number => {
    const ms = retryMs[Math.min(failures, retryMs.length - 1)]!
    return nowMs() + Math.max(leastMs, Math.round(ms * (1 + jitter * (2 * random() - 1))))
  }

  const fail = ({ id, failures, failingMs }: Subscription, answered: Answered): Turn => {
    const now = nowMs()
    book.failed(id, failureOf(answered), now, nextTryMs(failures, retryAfterMs(answered, now)))
    if (now - (failingMs ?? now) < giveUpMs) return 'later'
    book.pause(id, 'unreachable')
    return 'stopped'
  }

  const send = (
    subscription: Subscription,
    id: string,
    { contentType, body }: ReturnType<typeof eventBody>,
    signal: AbortSignal,
  ): Promise<Answered> => {
    const timestampS = Math.floor(nowMs() / 1000)
    return askWebhook(
      {
        method: 'POST',
        url: new URL(subscription.url!),
        headers: {
          'content-type': contentType,
          'cache-control': 'no-store',
          'user-agent': `groundtruth/${deps.version}`,
          'webhook-request-origin': deps.origin,
          ...signedHeaders({ id, timestampS, body }, subscription.secret, deps.hub),
        },
        body,
      },
      deps.webhook,
      signal,
    )
  }

  return {
    /** Forgets what is known of one that is gone. */
    forget: (id: string): void => void searched.delete(id),
    /** One delivery of a subscription, if it is time and there is anything. What the signal cuts off has not happened. */
    turn: async (id: string, signal: AbortSignal): Promise<Turn> => {
      const subscription = book.find(id)
      if (subscription?.state !== 'active') return 'stopped'
      if (subscription.nextTryMs > nowMs()) return 'later'
      const { batch, delivered, next: kept } = subscription
      // Who takes without saying so gets no more for nothing than he has paid before.
      const most = Math.min(batch, delivered + 1)
      const at = searched.get(id) ?? 0
      const from = at > kept.index ? { index: at, place: 0 } : kept
      const selection = JSON.parse(subscription.selection) as Selection
      const { rows, next, skipped } = await gather(deps, selection, from, most, nowMs() - keptMs)
      if (rows.length === 0) {
        const hasMoved = next.index > from.index
        if (skipped !== undefined || next.index - kept.index >= keptEvery) book.move(id, next.index, skipped)
        searched.set(id, next.index)
        return hasMoved ? 'again' : 'idle'
      }

      const { contentType, body } = eventBody(deps.source, rows, batch === 1)
      const { perMinute } = subscription
      const opened = deps.openTab({
        ...tabOf(subscription),
        isSingle: true,
        settled: ({ priceMicroUsd: price }) => {
          const now = nowMs()
          const nextTryMs = perMinute === null ? 0 : now + Math.ceil(60_000 / perMinute)
          book.took(id, { next, rows: rows.length, price, nowMs: now, nextTryMs })
        },
      })
      if (!opened.ok) {
        book.pause(id, pauseOf(opened.fault))
        return 'stopped'
      }
      const { tab } = opened
      try {
        const given = rows.map(({ row }) => row)
        const paid = tab.deliver(given, body)
        if (!paid.ok) {
          book.pause(id, pauseOf(paid.fault))
          return 'stopped'
        }
        // Another content is another message, whatever its first event: a receiver may know this one already.
        const message = `${id}_${eventId(rows[0]!)}_${eventId(rows.at(-1)!)}`
        const answered = await send(subscription, message, { contentType, body }, signal)
        if (answered.ok && answered.status >= 200 && answered.status < 300) {
          tab.close()
          return 'again'
        }
        if (signal.aborted) return 'stopped'
        if (!answered.ok || answered.status !== 410) return fail(subscription, answered)
        book.end(id)
        return 'stopped'
      } finally {
        // Where it was not closed: what was not acknowledged is not paid.
        tab.abandon()
      }
    },
  }
}

export type Deliveries = ReturnType<typeof openDeliveries>
