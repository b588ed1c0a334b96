/**
 * Readings as SenML (RFC 8428) and back, losing nothing. Names are `<station>:<sensor>:<quantity>`. What SenML has no
 * field for travels in string records: `<station>:<sensor>:model` opens a reading whose model is new, or that stands
 * at the same sensor and time as an earlier one; `<station>:<sensor>:<quantity>:absent` says why a value is not there.
 */

import { maxReadings } from './payload.ts'
import { fromScaled, type Quantity, quantityCoded, quantityNamed, toScaled } from './quantity.ts'
import { type Absence, absences, idPattern, type Reading, type Value } from './reading.ts'
import { type Refused, refused } from './refusal.ts'
import { decodeSenmlCbor } from './senml-cbor.ts'
import { leastAbsoluteS, type ResolvedRecord, resolveSenml, type SenmlRecord } from './senml-record.ts'

/** The model of sensors that third parties' packs do not name. */
export const unknownModel = 'senml'

/**
 * Units of the SenML registry that become a quantity's own by an exact factor or offset: `value * times / over + plus`.
 * Others (km/h, rad) are refused: their factors have no end, and a signed value is not to be guessed.
 */
const conversions: readonly (readonly [
  from: string,
  to: string,
  times: number,
  over: number,
  plus: number,
])[] = [
  ['Pa', 'hPa', 1, 100, 0],
  ['K', 'Cel', 1, 1, -273.15],
  ['mV', 'V', 1, 1000, 0],
  ['m', 'mm', 1000, 1, 0],
  ['cm', 'mm', 10, 1, 0],
  ['m', 'um', 1_000_000, 1, 0],
  ['mm', 'um', 1000, 1, 0],
  ['mm', 'm', 1, 1000, 0],
  ['cm', 'm', 1, 100, 0],
  ['km', 'm', 1000, 1, 0],
  ['m/h', 'mm/h', 1000, 1, 0],
  ['kg/m3', 'ug/m3', 1e9, 1, 0],
  ['g/m3', 'ug/m3', 1e6, 1, 0],
  ['/', '%RH', 100, 1, 0],
  ['/', '%EL', 100, 1, 0],
  ['/', '%', 100, 1, 0],
]

/** SenML carries values in this unit's terms; undefined where the unit does not fit the quantity. */
const inUnitOf = (row: Quantity, unit: string | undefined, value: number): number | undefined => {
  if ((unit ?? '/') === row.senml) return value
  const rule = conversions.find(([from, to]) => from === unit && to === row.senml)
  if (rule === undefined) return undefined
  const [, , times, over, plus] = rule
  return (value * times) / over + plus
}

/**
 * The SenML pack of one station's readings, values in `Quantity.senml` units, times in seconds after the first
 * record's base time. Throws RangeError for times before July 1978, which SenML reads as relative to now.
 */
export const toSenml = (station: string, readings: readonly Reading[]): SenmlRecord[] => {
  const records: SenmlRecord[] = []
  const models = new Map<string, string>()
  const seen = new Set<string>()
  const baseS = Math.floor((readings[0]?.timeMs ?? 0) / 1000)
  const least = readings.reduce((least, { timeMs }) => Math.min(least, timeMs), Number.POSITIVE_INFINITY)
  if (least < leastAbsoluteS * 1000)
    throw new RangeError(`SenML has no absolute time before 1978, and a reading is at ${least} ms`)
  const add = (record: SenmlRecord, timeMs: number): void => {
    const offsetMs = timeMs - baseS * 1000
    records.push({
      ...(records.length === 0 ? { bn: `${station}:`, bt: baseS } : {}),
      ...record,
      ...(offsetMs === 0 ? {} : { t: offsetMs / 1000 }),
    })
  }
  for (const { sensor, model, timeMs, values } of readings) {
    const place = `${sensor} ${timeMs}`
    if (seen.has(place) || (models.get(sensor) ?? unknownModel) !== model) {
      add({ n: `${sensor}:model`, vs: model }, timeMs)
      models.set(sensor, model)
    }
    seen.add(place)
    for (const value of values) {
      const row = quantityCoded(value.quantity)
      if (row === undefined) throw new RangeError(`no quantity has code ${value.quantity}`)
      if (value.scaled === null) add({ n: `${sensor}:${row.name}:absent`, vs: value.absent }, timeMs)
      else add({ n: `${sensor}:${row.name}`, u: row.senml, v: fromScaled(row, value.scaled) }, timeMs)
    }
  }
  return records
}

type Part =
  | { readonly sensor: string; readonly model: string }
  | { readonly sensor: string; readonly value: Value }

/** What one record says, by the end of its name; a string tells why it cannot be read. */
const partOf = (record: ResolvedRecord): Part | string => {
  // Other makers separate by `/` too; what stands before the sensor is theirs: the signature names the station.
  const names = record.n.split(/[:/]/)
  const last = names.pop()
  const isAbsent = last === 'absent'
  const name = isAbsent ? names.pop() : last
  const sensor = names.pop()
  if (sensor === undefined || !idPattern.test(sensor)) return 'a name needs a sensor before its quantity'
  if (name === 'model' && !isAbsent) {
    if (record.vs === undefined || !idPattern.test(record.vs)) return 'a model is text in the form of an id'
    return { sensor, model: record.vs }
  }
  const row = name === undefined ? undefined : quantityNamed(name)
  if (row === undefined) return `no quantity is called ${JSON.stringify(name ?? '')}`
  if (isAbsent) {
    if (record.vs === undefined || !Object.hasOwn(absences, record.vs))
      return 'no known reason for an absence'
    return { sensor, value: { quantity: row.code, scaled: null, absent: record.vs as Absence } }
  }
  if (record.v === undefined) return `${row.name} has no number`
  const number = inUnitOf(row, record.u, record.v)
  if (number === undefined) return `${row.name} is in ${row.senml}, not in ${JSON.stringify(record.u ?? '')}`
  const scaled = toScaled(row, number)
  return {
    sensor,
    value:
      scaled === undefined
        ? { quantity: row.code, scaled: null, absent: 'out-of-range' }
        : { quantity: row.code, scaled },
  }
}

type Open = {
  readonly sensor: string
  readonly model: string
  readonly timeMs: number
  readonly values: Value[]
}

/** Readings of resolved records: those of one sensor and time make one, in the order in which they first occur. */
export const fromSenml = (
  records: readonly ResolvedRecord[],
): { readonly ok: true; readonly readings: readonly Reading[] } | Refused => {
  const readings: Open[] = []
  const models = new Map<string, string>()
  const open = new Map<string, Open>()
  for (const [at, record] of records.entries()) {
    const bad = (what: string): Refused => refused('bad-payload', `SenML record ${at + 1}: ${what}`)
    const timeMs = Math.round(record.t * 1000)
    if (!(record.t >= leastAbsoluteS && timeMs <= latestMs)) return bad('a time beyond the year 9999')
    const part = partOf(record)
    if (typeof part === 'string') return bad(part)
    const place = `${part.sensor} ${timeMs}`
    if ('model' in part) {
      models.set(part.sensor, part.model)
      open.delete(place)
      continue
    }
    let reading = open.get(place)
    if (reading === undefined || reading.values.some((value) => value.quantity === part.value.quantity)) {
      reading = { sensor: part.sensor, model: models.get(part.sensor) ?? unknownModel, timeMs, values: [] }
      open.set(place, reading)
      readings.push(reading)
      if (readings.length > maxReadings) return bad(`more than ${maxReadings} readings`)
    }
    reading.values.push(part.value)
  }
  for (const { values } of readings) values.sort((a, b) => a.quantity - b.quantity)
  return readings.length === 0
    ? refused('bad-payload', 'a SenML pack without values')
    : { ok: true, readings }
}

// Year 9999, as in our own payload.
const latestMs = 253_402_300_799_999

/** Readings of an `application/senml+cbor` payload (content format 112) within its bounds, times absolute. */
export const decodeSenmlReadings = (
  payload: Uint8Array,
): { readonly ok: true; readonly readings: readonly Reading[] } | Refused => {
  const pack = decodeSenmlCbor(payload)
  if (!pack.ok) return pack
  const resolved = resolveSenml(pack.records)
  return resolved.ok ? fromSenml(resolved.records) : resolved
}
