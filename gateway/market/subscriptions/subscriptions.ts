/** Subscriptions: who gets readings as they come, by webhook or by MQTT, and what keeps them going. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Anchors } from '../../anchor/anchor.ts'
import type { Evidence } from '../../evidence/evidence.ts'
import type { Logins } from '../../ingest/broker.ts'
import type { Signer } from '../../reading/cose.ts'
import type { Subscription, SubscriptionKind } from '../../sales/subscriptions.ts'
import { openGate } from '../gate.ts'
import { openBuckets } from '../limits.ts'
import { type Fault, fault } from '../problem.ts'
import { proofsOf } from '../proof.ts'
import type { Tail } from '../tail.ts'
import type { Till } from '../till.ts'
import { openCourier } from './courier.ts'
import { openDeliveries } from './delivery.ts'
import { parseTarget } from './guard.ts'
import { openListeners } from './listeners.ts'
import type { Selection } from './selection.ts'
import { secretText } from './signature.ts'
import { askPermission, type WebhookOptions } from './webhook.ts'

export type SubscriptionsDeps = {
  readonly till: Till
  readonly evidence: Pick<Evidence, 'committed'>
  readonly tail: Pick<Tail, 'read'>
  readonly anchors: Pick<Anchors, 'batchOf' | 'batch'>
  readonly network: string
  readonly version: string
  readonly hub: Signer
  /** Where buyers reach the API; without it the network's name stands for the hub. */
  readonly publicUrl?: string
  readonly webhook: WebhookOptions
  /** The broker's own logins, and where they connect; without them there are none to be had. */
  readonly mqtt?: { readonly logins: Logins; readonly url: string }
  readonly report: (error: unknown) => void
  /** UTC ms. */
  readonly nowMs: () => number
  readonly random?: () => number
}

/** What is asked for. `batch` is how many readings a webhook gets at once at most. */
export type Wanted = {
  readonly kind: SubscriptionKind
  readonly url: string | null
  readonly batch: number
  readonly selection: Selection
}

/** A subscription with what is told once: a webhook's secret, or a login's password. */
export type Told = { readonly ok: true; readonly subscription: Subscription; readonly secret: string } | Fault

// An account may have hosts that never heard of it asked so often: once for each new webhook and each resumption.
const permissionsPerHour = 60

const hashOf = (password: string): Uint8Array =>
  new Uint8Array(createHash('sha256').update(password).digest())

const unwilling = (detail: string): Fault =>
  fault('webhook-unwilling', detail, { fields: [{ name: 'url', detail }] })

export type SubscriptionDesk = ReturnType<typeof openSubscriptionDesk>

/** Opens the desk where subscriptions are made; `run` serves them. */
export const openSubscriptionDesk = (deps: SubscriptionsDeps) => {
  const { till, tail, network, webhook, mqtt, nowMs, report } = deps
  const { subscriptions: book, keys } = till.sales
  const { openTab } = till
  const proofOf = (station: string, seq: number) => proofsOf(deps.anchors)(station, seq)
  const origin = deps.publicUrl === undefined ? `${network}.invalid` : new URL(deps.publicUrl).hostname
  const deliveries = openDeliveries({
    tail,
    proofOf,
    book,
    openTab,
    hub: deps.hub,
    source: deps.publicUrl ?? `urn:groundtruth:${network}`,
    origin,
    version: deps.version,
    webhook,
    nowMs,
    random: deps.random ?? Math.random,
  })
  const courier = openCourier({ book, deliveries, report, nowMs })
  const listeners =
    mqtt === undefined
      ? undefined
      : openListeners({
          ...{ tail, proofOf, book, openTab, network, report, nowMs },
          evidence: deps.evidence,
          logins: mqtt.logins,
          isKey: (id) => keys.byId(id, nowMs()).ok,
        })

  const permissions = openBuckets(permissionsPerHour, 3600)
  const gate = openGate(8, 32)

  /** Asks a webhook whether it wants events, for an account: how often at most, or why not. */
  const permission = async (
    customer: string,
    url: string,
  ): Promise<{ readonly ok: true; readonly perMinute: number | null } | Fault> => {
    const target = parseTarget(url, webhook)
    if (!target.ok) return unwilling(target.detail)
    const { ok, nextS } = permissions.take(customer, nowMs())
    if (!ok)
      return fault(
        'rate-limited',
        `${permissionsPerHour} webhooks an hour are asked whether they want events`,
        {
          retryAfterS: Math.max(1, nextS),
        },
      )
    const permitted = await gate(() => askPermission(target.url, origin, webhook))
    return permitted.ok ? permitted : unwilling(permitted.detail)
  }

  /** A new secret for a kind: what is kept, and what is told. */
  const newSecret = (kind: SubscriptionKind): { readonly kept: Uint8Array; readonly told: string } => {
    const bytes = new Uint8Array(randomBytes(32))
    if (kind === 'webhook') return { kept: bytes, told: secretText(bytes) }
    const password = Buffer.from(bytes).toString('base64url')
    return { kept: hashOf(password), told: password }
  }

  /** What is told again of one that was made by the same request: a login gets another password. */
  const again = (subscription: Subscription): Told => {
    if (subscription.kind === 'webhook')
      return { ok: true, subscription, secret: secretText(subscription.secret) }
    const { kept, told } = newSecret('mqtt')
    book.setSecret(subscription.id, kept)
    mqtt?.logins.dismiss(subscription.id)
    return { ok: true, subscription, secret: told }
  }

  return {
    book,
    /** Where logins connect; undefined where there are none. */
    mqttUrl: mqtt?.url,
    hubKey: deps.hub.publicKey,
    network,
    /** Makes one for the account of a key. `request` names the order, so that it is made once. */
    create: async (
      key: { readonly id: string; readonly customer: string },
      wanted: Wanted,
      request: string,
    ): Promise<Told> => {
      const { kind, url, batch } = wanted
      const { customer } = key
      if (kind === 'mqtt' && mqtt === undefined)
        return fault('logins-unavailable', 'the stations of this hub use a broker that is not its own')
      const asked = JSON.stringify(wanted)
      const before = book.requested(request, asked)
      if (before === 'conflict')
        return fault('idempotency-conflict', 'it was used for another subscription before')
      if (before !== undefined) return again(before)
      let perMinute: number | null = null
      if (url !== null) {
        const permitted = await permission(customer, url)
        if (!permitted.ok) return permitted
        perMinute = permitted.perMinute
      }
      const { kept, told } = newSecret(kind)
      const made = book.create({
        id: `sub_${randomBytes(8).toString('hex')}`,
        customer,
        apiKey: key.id,
        kind,
        selection: JSON.stringify(wanted.selection),
        url,
        batch,
        perMinute,
        secret: kept,
        createdMs: nowMs(),
        // From now on: what is kept and not stored yet was sent before.
        next: { index: deps.evidence.committed, place: 0 },
        request,
        asked,
      })
      if (!made.ok && made.reason === 'full')
        return fault('too-many-subscriptions', 'this account has as many as it may')
      if (!made.ok && made.reason === 'crowded')
        return fault('busy', 'this hub has as many subscriptions as it can serve', { retryAfterS: 3600 })
      if (!made.ok) return fault('idempotency-conflict', 'it was used for another subscription before')
      if (made.again) return again(made.subscription)
      courier.changed(made.subscription.id)
      return { ok: true, subscription: made.subscription, secret: told }
    },
    /** Ends one for good; false where the account has no such. */
    remove: (customer: string, id: string): boolean => {
      if (!book.remove(customer, id)) return false
      courier.changed(id)
      mqtt?.logins.dismiss(id)
      return true
    },
    /** Lets one go on where it stopped, paid by that key; its receiver is asked anew. */
    resume: async (
      key: { readonly id: string; readonly customer: string },
      { id, url }: Subscription,
    ): Promise<{ readonly ok: true; readonly subscription: Subscription } | Fault> => {
      let perMinute: number | null = null
      if (url !== null) {
        const permitted = await permission(key.customer, url)
        if (!permitted.ok) return permitted
        perMinute = permitted.perMinute
      }
      book.resume(id, key.id, perMinute)
      courier.changed(id)
      const subscription = book.find(id)
      return subscription === undefined
        ? fault('not-found', `there is no subscription ${id} any more`)
        : { ok: true, subscription }
    },
    /** Whether a password is that of a login that may listen now. */
    isLogin: (login: string, password: string): boolean => {
      const found = book.find(login)
      const isLive = found?.kind === 'mqtt' && found.state === 'active' && keys.byId(found.apiKey, nowMs()).ok
      return isLive && timingSafeEqual(hashOf(password), found.secret)
    },
    /** A login has begun to listen, or does so no more. */
    heeded: (login: string): void => listeners?.heeded(login),
    /** The tail has grown. */
    grown: (): void => {
      courier.grown()
      listeners?.grown()
    },
    /** Serves all of them until the signal aborts. */
    run: async (signal: AbortSignal): Promise<void> => {
      await courier.run(signal)
      await listeners?.stop()
    },
  }
}
