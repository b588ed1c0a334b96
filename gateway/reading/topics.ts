/** MQTT topics, the same for every broker. */

export type Topics = ReturnType<typeof topicsOf>

/** Topics of one station in one network; both ids match `idPattern`, so they cannot break out of their level. */
export const topicsOf = (network: string, station: string) => {
  const base = `gt/1/${network}/${station}`
  return {
    /** What all of them begin with. */
    base: `${base}/`,
    /** Envelopes, station to hub. */
    up: `${base}/up`,
    /** Retained JSON with last will, station to everybody. */
    status: `${base}/status`,
    /** Signed receipts, hub to station. */
    receipt: `${base}/receipt`,
    /** Decoded readings of one sensor as JSON, hub to everybody. */
    reading: (sensor: string) => `${base}/reading/${sensor}`,
  } as const
}

/** Retained JSON with the hub's public key, hub to every station of its network. */
export const hubTopic = (network: string): string => `gt/1/${network}/hub`

/** What all topics of a login that was bought begin with; nobody else hears them. The id matches `idPattern`. */
export const buyerBase = (network: string, login: string): string => `gt/1/${network}/sub/${login}/`

/** Decoded readings of one sensor as JSON, hub to one such login. */
export const buyerTopic = (network: string, login: string, station: string, sensor: string): string =>
  `${buyerBase(network, login)}reading/${station}/${sensor}`

/** What a hub listens to: every station of every network, so that a stray network can be told so. */
export const hubFilters = ['gt/1/+/+/up', 'gt/1/+/+/status'] as const

export type StationTopic = {
  readonly network: string
  readonly station: string
  readonly channel: string
}

/** Network, station and channel of a topic of ours; undefined for any other topic. */
export const parseTopic = (topic: string): StationTopic | undefined => {
  const parts = /^gt\/1\/([A-Za-z0-9_-]{1,64})\/([0-9a-f]{32})\/(.{1,200})$/.exec(topic)
  return parts === null ? undefined : { network: parts[1]!, station: parts[2]!, channel: parts[3]! }
}
