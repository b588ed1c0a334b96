/** The relay: moves the outbox to the hub over MQTT and brings the hub's receipts back. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Outbox } from '../outbox/outbox.ts'
import { verifyReceipt } from '../reading/receipt.ts'
import type { Refusal } from '../reading/refusal.ts'
import { type BrokerError, type BrokerErrorCode, brokerErrorCode } from './broker-error.ts'

/** One connection to a broker, ended by its own fault (`closed` resolves) or by `close`. */
export type Session = {
  /** Resolves when the broker has taken it (QoS 1), which says nothing about the hub. */
  publish(topic: string, payload: Uint8Array | string, options?: { readonly retain?: boolean }): Promise<void>
  subscribe(topic: string, receive: (payload: Uint8Array) => void): Promise<void>
  readonly closed: Promise<BrokerError>
  close(): Promise<void>
}

/**
 * Opens a connection; rejects with a `BrokerError`. `will` is published retained should it break; `nowMs` is UTC as far
 * as this station knows it, for a password that is good for a while.
 */
export type Connect = (
  will: { readonly topic: string; readonly payload: string },
  signal: AbortSignal,
  nowMs: number,
) => Promise<Session>

export type RelayStatus = {
  readonly connected: boolean
  /** Why the newest attempt to connect failed, or the connection ended; null while connected. */
  readonly brokerError: BrokerErrorCode | null
  /** Milliseconds for which the hub owes an answer: a receipt follows each status and each envelope. 0: it owes none. */
  readonly hubSilentMs: number
  /** What the hub refused most lately, null once it has accepted something again. */
  readonly refusal: Refusal | null
  /** The hub's clock less ours when its newest receipt came, in ms, the way of the message included; null before one. */
  readonly hubClockMs: number | null
  readonly connects: number
  readonly published: number
  readonly receipts: number
  /** Receipts that were not the hub's: a wrong pinned key, or somebody on the broker. */
  readonly badReceipts: number
  readonly lastError: string | null
}

export type Relay = {
  readonly status: RelayStatus
  /** Something that the status tells has changed: it is published soon, not only within the minute. */
  changed(): void
  run(signal: AbortSignal): Promise<void>
}

// An outage of a broker must not end in a thousand stations knocking at the same moment.
const firstBackoffMs = 500

const statusIntervalMs = 60_000

// What has changed is told soon, but a wire with a loose contact must not flood the broker.
const statusSoonMs = 2_000

// A station that stops says so, but waits no longer than this to be heard.
const goodbyeMs = 2_000

/**
 * Runs until aborted. Publishes the station's status (which carries its public key) first, then envelopes as the
 * outbox gives them. A broken connection is made again with growing, jittered pauses; nothing is lost by it.
 */
export const createRelay = (deps: {
  readonly network: string
  readonly topics: { readonly up: string; readonly status: string; readonly receipt: string }
  readonly outbox: Outbox
  readonly connect: Connect
  /** The hub's public key, 32 bytes: given by configuration, or learnt once and pinned. */
  readonly hubKey: (session: Session, signal: AbortSignal) => Promise<Uint8Array>
  /** What stands in the retained status while connected. */
  readonly describe: () => Record<string, unknown>
  /** Longest pause between attempts to connect; 30 s unless told. */
  readonly longestBackoffMs?: number
  readonly random?: () => number
  /** This station's UTC in ms, to compare the hub's with. */
  readonly now?: () => number
}): Relay => {
  const { network, topics, outbox } = deps
  const random = deps.random ?? Math.random
  const now = deps.now ?? Date.now
  const longestBackoffMs = deps.longestBackoffMs ?? 30_000
  let connected = false
  let connects = 0
  let published = 0
  let receipts = 0
  let badReceipts = 0
  let lastError: string | null = null
  let brokerError: BrokerErrorCode | null = null
  let refusal: Refusal | null = null
  let hubClockMs: number | null = null
  let owedSinceMs: number | null = null
  let statusSoon: (() => void) | undefined

  /** The hub owes an answer from the first thing sent after its last one. */
  const owed = (): void => {
    owedSinceMs ??= performance.now()
  }

  const session = async (signal: AbortSignal): Promise<void> => {
    const offline = JSON.stringify({ state: 'offline' })
    const link = await deps.connect({ topic: topics.status, payload: offline }, signal, now())
    const ended = new AbortController()
    const over = AbortSignal.any([signal, ended.signal])
    const broken = link.closed.then((reason) => {
      lastError = reason.message
      if (!signal.aborted) brokerError = reason.code
      ended.abort()
    })
    connected = true
    brokerError = null
    connects++
    owed()
    let settled = Promise.resolve()
    const tellStatus = async (): Promise<void> => {
      owed()
      const said = JSON.stringify({ state: 'online', ...deps.describe() })
      await link.publish(topics.status, said, { retain: true })
    }
    const tellNow = (): void => void tellStatus().catch(() => ended.abort())
    const timer = setInterval(tellNow, statusIntervalMs)
    let soon: NodeJS.Timeout | undefined
    statusSoon = () => {
      soon ??= setTimeout(() => {
        soon = undefined
        tellNow()
      }, statusSoonMs)
    }
    try {
      const hubKey = await deps.hubKey(link, over)
      await link.subscribe(topics.receipt, (payload) => {
        const verified = verifyReceipt(payload, network, hubKey)
        if (!verified.ok) {
          badReceipts++
          lastError = `a receipt was refused: ${verified.detail}`
          return
        }
        receipts++
        owedSinceMs = null
        hubClockMs = verified.receipt.issuedMs - now()
        const { accepted } = outbox.status
        const refusedNow = verified.receipt.refused.at(-1)?.reason
        // In order, one at a time: settling writes to disk.
        settled = settled
          .then(() => outbox.settle(verified.receipt))
          .then(() => {
            if (refusedNow !== undefined) refusal = refusedNow
            else if (outbox.status.accepted > accepted) refusal = null
          })
          .catch((error: unknown) => {
            lastError = String(error)
            ended.abort()
          })
      })
      await tellStatus()
      for (;;) {
        const { bytes } = await outbox.next(over)
        published++
        owed()
        // Not awaited: receipts, not PUBACKs, are what bounds the flight.
        link.publish(topics.up, bytes).catch(() => ended.abort())
      }
    } finally {
      clearInterval(timer)
      clearTimeout(soon)
      statusSoon = undefined
      owedSinceMs = null
      connected = false
      if (signal.aborted) {
        const goodbye = link.publish(topics.status, offline, { retain: true }).catch(() => undefined)
        await Promise.race([goodbye, link.closed, sleep(goodbyeMs, undefined, { ref: false })])
      }
      await link.close()
      await broken
      await settled
      outbox.requeue()
    }
  }

  return {
    get status() {
      const hubSilentMs = owedSinceMs === null ? 0 : performance.now() - owedSinceMs
      return {
        connected,
        brokerError,
        hubSilentMs,
        refusal,
        hubClockMs,
        connects,
        published,
        receipts,
        badReceipts,
        lastError,
      }
    },
    changed: () => statusSoon?.(),
    run: async (signal) => {
      let backoffMs = Math.min(firstBackoffMs, longestBackoffMs)
      while (!signal.aborted) {
        const before = receipts
        try {
          await session(signal)
        } catch (error) {
          if (signal.aborted) return
          if (!(error instanceof Error && error.name === 'AbortError')) {
            lastError = String((error as Error).message)
            brokerError = brokerErrorCode(error) ?? 'lost'
          }
        }
        backoffMs = Math.min(receipts > before ? firstBackoffMs : backoffMs * 2, longestBackoffMs)
        await sleep(backoffMs * (0.5 + random()), undefined, { signal }).catch(() => undefined)
      }
    },
  }
}
