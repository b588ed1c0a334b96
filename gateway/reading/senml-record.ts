/** SenML records (RFC 8428): their fields, the check of what comes in, and resolving (s4.6). */
import { type Refused, refused } from './refusal.ts'

/** One record by the JSON labels of RFC 8428 s4.3. Times are seconds, values in unit `u`. */
export type SenmlRecord = {
  readonly bn?: string
  readonly bt?: number
  readonly bu?: string
  readonly bv?: number
  readonly bs?: number
  readonly bver?: number
  readonly n?: string
  readonly u?: string
  readonly v?: number
  readonly vs?: string
  readonly vb?: boolean
  readonly vd?: string | Uint8Array
  readonly s?: number
  readonly t?: number
  readonly ut?: number
}

/** A record that stands alone: whole name, absolute time in seconds since 1970, no base fields. */
export type ResolvedRecord = Pick<SenmlRecord, 'u' | 'v' | 'vs' | 'vb' | 'vd' | 's' | 'ut'> & {
  readonly n: string
  readonly t: number
}

/** Each label with its kind and its CBOR label (RFC 8428 s6). */
export const senmlLabels = {
  bver: { kind: 'number', cbor: -1 },
  bn: { kind: 'text', cbor: -2 },
  bt: { kind: 'number', cbor: -3 },
  bu: { kind: 'text', cbor: -4 },
  bv: { kind: 'number', cbor: -5 },
  bs: { kind: 'number', cbor: -6 },
  n: { kind: 'text', cbor: 0 },
  u: { kind: 'text', cbor: 1 },
  v: { kind: 'number', cbor: 2 },
  vs: { kind: 'text', cbor: 3 },
  vb: { kind: 'boolean', cbor: 4 },
  s: { kind: 'number', cbor: 5 },
  t: { kind: 'number', cbor: 6 },
  ut: { kind: 'number', cbor: 7 },
  vd: { kind: 'data', cbor: 8 },
} as const satisfies Record<keyof SenmlRecord, { kind: string; cbor: number }>

export type SenmlLabel = keyof typeof senmlLabels

/** Most records of one pack: a payload of 1,000 readings with two dozen quantities has no more. */
export const maxRecords = 24_000

/** Times below this are seconds before or after now (RFC 8428 s4.5.3). */
export const leastAbsoluteS = 2 ** 28

// RFC 8428 s4.4: versions that are understood; 10 is the default.
const newestVersion = 10

// RFC 8428 s4.5.1.
const namePattern = /^[A-Za-z0-9][-A-Za-z0-9:./_]*$/

const fits = (kind: (typeof senmlLabels)[SenmlLabel]['kind'], value: unknown): boolean => {
  if (kind === 'number') return typeof value === 'number' && Number.isFinite(value)
  if (kind === 'text') return typeof value === 'string'
  if (kind === 'boolean') return typeof value === 'boolean'
  return typeof value === 'string' || value instanceof Uint8Array
}

const bad = (at: number, what: string): Refused => refused('bad-payload', `SenML record ${at + 1}: ${what}`)

/**
 * Checks what a JSON parser or the CBOR labels gave. Unknown fields are dropped, as RFC 8428 s4.4 says, except
 * those ending in `_`, which must be understood.
 */
export const checkRecords = (
  pack: unknown,
): { readonly ok: true; readonly records: readonly SenmlRecord[] } | Refused => {
  if (!Array.isArray(pack)) return refused('bad-payload', 'a SenML pack is an array')
  if (pack.length > maxRecords) return refused('bad-payload', `more than ${maxRecords} SenML records`)
  const records: SenmlRecord[] = []
  for (const [at, item] of pack.entries()) {
    if (typeof item !== 'object' || item === null || Array.isArray(item)) return bad(at, 'a record is a map')
    const record: Record<string, unknown> = {}
    for (const [label, value] of Object.entries(item)) {
      if (label.endsWith('_')) return bad(at, `the field ${label.slice(0, 40)} must be understood and is not`)
      if (!Object.hasOwn(senmlLabels, label)) continue
      if (!fits(senmlLabels[label as SenmlLabel].kind, value)) return bad(at, `${label} is of another kind`)
      record[label] = value
    }
    const values = ['v', 'vs', 'vb', 'vd'].filter((label) => label in record).length
    if (values > 1) return bad(at, 'more than one value')
    records.push(record)
  }
  return { ok: true, records }
}

/**
 * Applies base fields and makes times absolute (RFC 8428 s4.6). Records keep their order in the pack, as in the
 * RFC's own examples. Relative times count from `nowS`; where that is not known, they are refused.
 */
export const resolveSenml = (
  pack: unknown,
  nowS?: number,
): { readonly ok: true; readonly records: readonly ResolvedRecord[] } | Refused => {
  const checked = checkRecords(pack)
  if (!checked.ok) return checked
  let base: Pick<SenmlRecord, 'bn' | 'bt' | 'bu' | 'bv' | 'bs' | 'bver'> = {}
  const resolved: ResolvedRecord[] = []
  for (const [at, record] of checked.records.entries()) {
    const { bn, bt, bu, bv, bs, bver, n, u, v, s, t, ...rest } = record
    if (bver !== undefined) {
      if (bver > newestVersion) return bad(at, `version ${bver}, and ${newestVersion} is understood`)
      if (at > 0 && bver !== base.bver) return bad(at, 'a second version')
    }
    base = {
      ...base,
      ...(bn === undefined ? {} : { bn }),
      ...(bt === undefined ? {} : { bt }),
      ...(bu === undefined ? {} : { bu }),
      ...(bv === undefined ? {} : { bv }),
      ...(bs === undefined ? {} : { bs }),
      ...(bver === undefined ? {} : { bver }),
    }
    const hasValue = v !== undefined || ['vs', 'vb', 'vd'].some((label) => label in rest)
    // A base value or base sum stands for a field that is missing, a record without both only sets bases (s4.1).
    const value = v ?? (hasValue || base.bv === undefined ? undefined : 0)
    const sum = s ?? (base.bs === undefined ? undefined : 0)
    if (!hasValue && value === undefined && sum === undefined) {
      if (n === undefined && u === undefined && t === undefined) continue
      return bad(at, 'no value')
    }
    const name = (base.bn ?? '') + (n ?? '')
    if (!namePattern.test(name)) return bad(at, `a name out of form: ${JSON.stringify(name.slice(0, 60))}`)
    let time = (base.bt ?? 0) + (t ?? 0)
    if (time < leastAbsoluteS) {
      if (nowS === undefined) return bad(at, 'a time relative to now, which cannot be checked later')
      time += nowS
    }
    const unit = u ?? base.bu
    resolved.push({
      n: name,
      ...(unit === undefined ? {} : { u: unit }),
      t: time,
      ...(value === undefined ? {} : { v: (base.bv ?? 0) + value }),
      ...(sum === undefined ? {} : { s: (base.bs ?? 0) + sum }),
      ...rest,
    })
  }
  return { ok: true, records: resolved }
}
