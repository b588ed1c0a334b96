/** What a client of the embedded broker may do, by who it is: one table, asked before every step. */
import { buyerBase, hubTopic, parseTopic, topicsOf } from '../reading/topics.ts'

/** Nobody in particular; a station, by its key; or a login that was bought. */
export type Identity =
  | { readonly kind: 'anybody' }
  | { readonly kind: 'station'; readonly station: string }
  | { readonly kind: 'buyer'; readonly login: string }

export type Rights = {
  readonly network: string
  /** Whether decoded readings are for everybody; where they are sold they are not. */
  readonly openReadings: boolean
}

/** Whether a filter matches a topic that does not begin with `$` (MQTT 3.1.1 s4.7). */
export const matches = (filter: string, topic: string): boolean => {
  const levels = topic.split('/')
  const wanted = filter.split('/')
  for (const [at, level] of wanted.entries()) {
    if (level === '#') return at <= levels.length
    if (at >= levels.length || (level !== '+' && level !== levels[at])) return false
  }
  return wanted.length === levels.length
}

/** Whether a message of that topic may reach the client: asked for each, whatever it was subscribed by. */
export const mayHear = (who: Identity, topic: string, { network, openReadings }: Rights): boolean => {
  if (who.kind === 'buyer') return topic.startsWith(buyerBase(network, who.login))
  if (topic === hubTopic(network)) return true
  const parsed = parseTopic(topic)
  // What else there is under our root belongs to buyers; `$` to the broker itself.
  if (parsed === undefined) return !topic.startsWith('$') && !topic.startsWith('gt/1/')
  const isOwn = who.kind === 'station' && parsed.station === who.station
  if (parsed.channel === 'up') return false // envelopes hold private positions too: they go to the hub alone
  if (parsed.channel === 'receipt') return isOwn
  return isOwn || openReadings || !parsed.channel.startsWith('reading/')
}

/** Whether a client may subscribe to a filter: where readings are sold, only to what can match its own. */
export const maySubscribe = (who: Identity, filter: string, { network, openReadings }: Rights): boolean => {
  if (who.kind === 'buyer') return filter.startsWith(buyerBase(network, who.login))
  if (openReadings || who.kind === 'anybody') return true
  return filter === hubTopic(network) || filter.startsWith(topicsOf(network, who.station).base)
}

/** What a client may publish under a topic; undefined for nothing. */
export const mayPublish = (who: Identity, topic: string): 'up' | 'status' | undefined => {
  if (who.kind !== 'station') return undefined
  const parsed = parseTopic(topic)
  if (parsed?.station !== who.station) return undefined
  return parsed.channel === 'up' || parsed.channel === 'status' ? parsed.channel : undefined
}
