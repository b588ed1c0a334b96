/** Subscriptions: readings as they come, sent by the hub to a webhook or through its broker. */
import { toBase64 } from '../reading/base64.ts'
import type { Seller } from '../verify/purchase.ts'
import { type Ask, type Asked, isObject, objectIn, problemOf } from './ask.ts'
import { newIdempotencyKey } from './buy.ts'
import { HubDistrusted } from './errors.ts'
import type { SensorsQuery } from './query.ts'

/** What a subscription is of; all that there is where nothing is said. */
export type SubscriptionQuery = Pick<SensorsQuery, 'station' | 'sensor' | 'quantity'> & {
  /** Only readings with at least this score, 0 to 1; the others cost nothing. */
  readonly minQuality?: number
}

/** A webhook at `url` (https), which gets at most `batch` readings at once (100 unless told), or a login at the broker. */
export type NewSubscription = SubscriptionQuery &
  ({ readonly kind: 'webhook'; readonly url: string; readonly batch?: number } | { readonly kind: 'mqtt' })

type Kept = {
  readonly id: string
  /** `paused`: resume() lets it go on. `ended`: its receiver answered 410. */
  readonly state: 'active' | 'paused' | 'ended'
  /** Why it does not go on: `unreachable` for three days, `gone` by its own word. */
  readonly reason?: 'key' | 'credit' | 'budget' | 'unreachable' | 'gone'
  /** Id of the key that pays. */
  readonly key: string
  readonly station?: readonly string[]
  readonly sensor?: string
  readonly quantity?: readonly string[]
  readonly minQuality?: number
  readonly created: string
  /** Readings that were taken, and what they cost. */
  readonly delivered: number
  readonly spentMicroUsd: bigint
  readonly lastDelivered: string | null
  /** Readings, so many at most, that waited for longer than a week and were left out; `get` is where they are. */
  readonly skipped?: {
    readonly readings: number
    readonly from: string
    readonly to: string
    readonly get: string
  }
  /** Since it last took anything. */
  readonly failures: number
  readonly failingSince: string | null
  readonly nextTry: string | null
  readonly lastError: string | null
}

/** A subscription of a webhook; `publicKey` (`whpk_...`) is the hub's, which signs all messages. */
export type WebhookSubscription = Kept & {
  readonly kind: 'webhook'
  readonly url: string
  readonly batch: number
  readonly publicKey: string
}

/** A login; `topics` are all that it hears. */
export type MqttSubscription = Kept & { readonly kind: 'mqtt'; readonly topics: string }

export type Subscription = WebhookSubscription | MqttSubscription

/** A new one, with what the hub tells once: what its messages are signed with, or the password of the login (MQTT 3.1.1). */
export type ToldSubscription =
  | (WebhookSubscription & { readonly secret: string })
  | (MqttSubscription & {
      readonly login: { readonly broker: string; readonly username: string; readonly password: string }
    })

type Loose = Readonly<Record<string, unknown>>

const isShown = ({ id, kind, state, spentMicroUsd, url, topics }: Loose): boolean =>
  typeof id === 'string' &&
  /^sub_[0-9a-f]{16}$/.test(id) &&
  typeof state === 'string' &&
  typeof spentMicroUsd === 'bigint' &&
  (kind === 'webhook' ? typeof url === 'string' : kind === 'mqtt' && typeof topics === 'string')

const isTold = ({ secret, login }: Loose): boolean =>
  typeof secret === 'string' ||
  (isObject(login) && [login.broker, login.username, login.password].every((one) => typeof one === 'string'))

const pathOf = (id: string): string => `/v1/subscriptions/${encodeURIComponent(id)}`

/** What is asked of subscriptions. */
export const openSubscriptions = (ask: Ask, seller: (signal?: AbortSignal) => Promise<Seller>) => {
  /** A subscription as it is given; throws HubDistrusted where its receiver would trust another key than the hub's. */
  const given = async <T>(said: Loose, signal: AbortSignal | undefined): Promise<T> => {
    const { min_quality, ...rest } = said
    if (rest.kind === 'webhook') {
      const { hubKey } = await seller(signal)
      if (rest.publicKey !== `whpk_${toBase64(hubKey)}`)
        throw new HubDistrusted(`the hub signs for ${rest.id} with another key than its own`)
    }
    return { ...rest, ...(min_quality === undefined ? {} : { minQuality: min_quality }) } as T
  }

  const askedFor = async (path: string, asked: Asked): Promise<Subscription> =>
    given<Subscription>(objectIn<Loose>(await ask(path, asked), isShown), asked.signal ?? undefined)

  return {
    subscribe: async (wanted: NewSubscription, signal?: AbortSignal): Promise<ToldSubscription> => {
      const { minQuality, ...rest } = wanted
      const answer = await ask('/v1/subscriptions', {
        method: 'POST',
        headers: { 'idempotency-key': newIdempotencyKey() },
        json: { ...rest, ...(minQuality === undefined ? {} : { min_quality: minQuality }) },
        signal,
      })
      const isWhole = (said: Loose): boolean => isShown(said) && said.kind === wanted.kind && isTold(said)
      return given<ToldSubscription>(objectIn<Loose>(answer, isWhole), signal)
    },
    list: async (signal?: AbortSignal): Promise<readonly Subscription[]> => {
      const areShown = ({ subscriptions }: Loose): boolean =>
        Array.isArray(subscriptions) && subscriptions.every((one) => isObject(one) && isShown(one))
      const answer = await ask('/v1/subscriptions', { signal })
      const { subscriptions } = objectIn<{ readonly subscriptions: readonly Loose[] }>(answer, areShown)
      return Promise.all(subscriptions.map((one) => given<Subscription>(one, signal)))
    },
    one: (id: string, signal?: AbortSignal): Promise<Subscription> => askedFor(pathOf(id), { signal }),
    resume: (id: string, signal?: AbortSignal): Promise<Subscription> =>
      askedFor(`${pathOf(id)}/resume`, { method: 'POST', signal }),
    unsubscribe: async (id: string, signal?: AbortSignal): Promise<void> => {
      let isAgain = false
      const mayRepeat = (): boolean => {
        isAgain = true
        return true
      }
      const answer = await ask(pathOf(id), { method: 'DELETE', mayRepeat, signal })
      // Asked for a second time, what is not there is what the first time has done.
      if (answer.status !== 204 && !(isAgain && answer.status === 404)) throw problemOf(answer)
    },
  }
}
