/** What a hub answers. Times are RFC 3339 in UTC; money is whole micro-USD (a millionth of a dollar) as bigint. */

/**
 * One reading: `values` by quantity name, in the quantity's unit, null where `absent` says why. `proof` names it in its
 * station's chain of signed envelopes, and says how far its batch has come.
 */
export type ReadingRow = {
  readonly station: string
  readonly sensor: string
  readonly model: string
  readonly time: string
  readonly values: Readonly<Record<string, number | null>>
  readonly absent?: Readonly<Record<string, string>> | undefined
  readonly quality: { readonly score: number; readonly flags: readonly string[]; readonly rules: string }
  readonly proof: {
    readonly seq: number
    readonly place: number
    readonly batch?: number | undefined
    readonly status: 'pending' | 'queued' | 'sent' | 'mined' | 'final'
  }
}

/** One interval of one sensor; `time` is its start, `counts` say how many values each one stands for. */
export type IntervalRow = {
  readonly station: string
  readonly sensor: string
  readonly time: string
  readonly values: Readonly<Record<string, number>>
  readonly counts: Readonly<Record<string, number>>
}

/** Which hub this is: its network, the key (hex) that signs offers and receipts, its time. */
export type Status = {
  readonly name: string
  readonly version: string
  readonly network: string
  readonly hubKey: string
  readonly time: string
}

export type Sensor = {
  readonly sensor: string
  readonly model: string
  readonly quantities: readonly string[]
  readonly first: string
  readonly last: string
  readonly readings: number
}

/** What a station's owner says of it; `cell` (H3) and its `centre` are all that is told of its place. */
export type Profile = {
  readonly declared: string
  readonly licence: string
  readonly pricePermille: number
  readonly name?: string | undefined
  readonly cell?: string | undefined
  readonly resolution?: number | undefined
  readonly centre?: { readonly latitude: number; readonly longitude: number } | undefined
}

export type Station = {
  readonly station: string
  readonly publicKey: string
  readonly registered: string
  readonly revoked?: string | undefined
  readonly lastSeen: string | null
  readonly envelopes: number
  readonly gaps: number
  readonly missing: number
  readonly profile?: Profile | undefined
  readonly sensors: readonly Sensor[]
}

type Rings = readonly (readonly (readonly number[])[])[]

/** Outline of an H3 cell, longitude first; in two parts where it crosses the antimeridian. */
export type Outline =
  | { readonly type: 'Polygon'; readonly coordinates: Rings }
  | { readonly type: 'MultiPolygon'; readonly coordinates: readonly Rings[] }

/** GeoJSON (RFC 7946): things at H3 cells. */
export type CellFeatures<Properties> = {
  readonly type: 'FeatureCollection'
  readonly features: readonly {
    readonly type: 'Feature'
    readonly id: string
    readonly geometry: Outline
    readonly properties: Properties
  }[]
}

/** A cell in which there is data. */
export type CoveredCell = {
  readonly cell: string
  readonly stations: number
  readonly quantities: readonly string[]
  readonly last: string
}

export type Quantity = {
  readonly name: string
  readonly title: string
  readonly unit: string
  readonly senml: string
  readonly decimals: number
  readonly min: number
  readonly max: number
}

/** What the key of this client may still spend. */
export type Budget = {
  readonly id: string
  readonly label: string
  readonly scopes: readonly string[]
  readonly budgetMicroUsd: bigint | null
  readonly spentMicroUsd: bigint
  readonly alarmPercent: number | null
  readonly expires: string | null
  readonly creditMicroUsd: bigint
  /** The smaller of credit and what is left of the budget. */
  readonly leftMicroUsd: bigint
  readonly leftUsd: string
}

export type Account = {
  readonly account: string
  readonly creditMicroUsd: bigint
  readonly creditUsd: string
  /** Stations whose readings are free for it. */
  readonly stations: readonly string[]
}

/** A session key, which spends at most its budget. */
export type SessionKey = {
  readonly id: string
  readonly key: string
  readonly account: string
  readonly budgetMicroUsd: bigint
  readonly creditMicroUsd: bigint
  readonly expires: string
}

/** One sale as the hub keeps it: its receipt as JWS, and the same as COSE_Sign1 in base64. */
export type KeptReceipt = {
  readonly id: string
  readonly time: string
  readonly priceMicroUsd: bigint
  readonly rows: number
  readonly state: 'open' | 'partial' | 'delivered' | 'refunded'
  readonly query: string
  readonly jws: string
  readonly cose: string
}
