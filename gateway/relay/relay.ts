/** The relay: moves the outbox to the hub over MQTT and brings the hub's receipts back. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Outbox } from '../outbox/outbox.ts'
import { verifyReceipt } from '../reading/receipt.ts'

/** One connection to a broker, ended by its own fault (`closed` resolves) or by `close`. */
export type Session = {
  /** Resolves when the broker has taken it (QoS 1), which says nothing about the hub. */
  publish(topic: string, payload: Uint8Array | string, options?: { readonly retain?: boolean }): Promise<void>
  subscribe(topic: string, receive: (payload: Uint8Array) => void): Promise<void>
  readonly closed: Promise<string>
  close(): Promise<void>
}

/** Opens a connection; rejects with a message for people. `will` is published retained should it break. */
export type Connect = (
  will: { readonly topic: string; readonly payload: string },
  signal: AbortSignal,
) => Promise<Session>

export type RelayStatus = {
  readonly connected: boolean
  readonly connects: number
  readonly published: number
  readonly receipts: number
  /** Receipts that were not the hub's: a wrong pinned key, or somebody on the broker. */
  readonly badReceipts: number
  readonly lastError: string | null
}

export type Relay = {
  readonly status: RelayStatus
  run(signal: AbortSignal): Promise<void>
}

// An outage of a broker must not end in a thousand stations knocking at the same moment.
const firstBackoffMs = 500

const statusIntervalMs = 60_000

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
}): Relay => {
  const { network, topics, outbox } = deps
  const random = deps.random ?? Math.random
  const longestBackoffMs = deps.longestBackoffMs ?? 30_000
  let connected = false
  let connects = 0
  let published = 0
  let receipts = 0
  let badReceipts = 0
  let lastError: string | null = null

  const session = async (signal: AbortSignal): Promise<void> => {
    const offline = JSON.stringify({ state: 'offline' })
    const link = await deps.connect({ topic: topics.status, payload: offline }, signal)
    const ended = new AbortController()
    const over = AbortSignal.any([signal, ended.signal])
    const broken = link.closed.then((reason) => {
      lastError = reason
      ended.abort()
    })
    connected = true
    connects++
    let settled = Promise.resolve()
    const tellStatus = () =>
      link.publish(topics.status, JSON.stringify({ state: 'online', ...deps.describe() }), { retain: true })
    const timer = setInterval(() => void tellStatus().catch(() => ended.abort()), statusIntervalMs)
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
        // In order, one at a time: settling writes to disk.
        settled = settled
          .then(() => outbox.settle(verified.receipt))
          .catch((error: unknown) => {
            lastError = String(error)
            ended.abort()
          })
      })
      await tellStatus()
      for (;;) {
        const { bytes } = await outbox.next(over)
        published++
        // Not awaited: receipts, not PUBACKs, are what bounds the flight.
        link.publish(topics.up, bytes).catch(() => ended.abort())
      }
    } finally {
      clearInterval(timer)
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
      return { connected, connects, published, receipts, badReceipts, lastError }
    },
    run: async (signal) => {
      let backoffMs = Math.min(firstBackoffMs, longestBackoffMs)
      while (!signal.aborted) {
        const before = receipts
        try {
          await session(signal)
        } catch (error) {
          if (signal.aborted) return
          if (!(error instanceof Error && error.name === 'AbortError'))
            lastError = String((error as Error).message)
        }
        backoffMs = Math.min(receipts > before ? firstBackoffMs : backoffMs * 2, longestBackoffMs)
        await sleep(backoffMs * (0.5 + random()), undefined, { signal }).catch(() => undefined)
      }
    },
  }
}
