/** What every store accepts and in which order it answers, so that all of them agree to the last digit. */
import { quantities, quantityCoded } from '../reading/quantity.ts'
import { idPattern } from '../reading/reading.ts'
import { type Order, type Position, type ScoredSelection, type StoredReading, stationsMax } from './store.ts'

/** Newest time a store keeps, UTC ms: InfluxDB's nanoseconds end in April 2262. */
export const timeMaxMs = Date.UTC(2262, 0, 1) - 1

/** Highest `place`; an envelope of 8 KiB holds far fewer readings. */
export const placeMax = 0xffff

/** Most flags on one reading: no more than one rule each for every quantity has been thought of. */
export const flagsMax = 256

// Flags and rule versions reach InfluxDB as string fields: no quotes, backslashes, commas or line ends.
const wordPattern = /^[A-Za-z0-9._:/@+-]{1,64}$/

const isCount = (value: number, max: number) => Number.isInteger(value) && value >= 0 && value <= max

// Looked up character by character: a pattern, or a set of the texts known to be good, takes three times as long.
const textMax = 64
const alphabetOf = (pattern: RegExp): Uint8Array =>
  Uint8Array.from({ length: 128 }, (_, code) => Number(pattern.test(String.fromCharCode(code))))
const idAlphabet = alphabetOf(idPattern)
const wordAlphabet = alphabetOf(wordPattern)

const isOf = (alphabet: Uint8Array, text: string): boolean => {
  if (typeof text !== 'string' || text.length === 0 || text.length > textMax) return false
  for (let at = 0; at < text.length; at++) if (alphabet[text.charCodeAt(at)] !== 1) return false
  return true
}

const isId = (text: string): boolean => isOf(idAlphabet, text)
const isWord = (text: string): boolean => isOf(wordAlphabet, text)

const shown = (value: unknown) => String(JSON.stringify(value)).slice(0, 80)

const isPublic: boolean[] = []
for (const quantity of quantities) isPublic[quantity.code] = !quantity.private

const valueFault = ({ values }: StoredReading): string | undefined => {
  let before = -1
  for (const value of values) {
    if (isPublic[value.quantity] !== true) {
      const hidden = quantityCoded(value.quantity)
      return hidden
        ? `${hidden.name} is private and belongs in no store`
        : `quantity ${shown(value.quantity)} is unknown`
    }
    if (value.quantity <= before) return 'values are not in ascending order of quantity'
    if (value.scaled !== null && value.scaled !== (value.scaled | 0))
      return `value ${shown(value.scaled)} is no 32-bit integer`
    before = value.quantity
  }
  return undefined
}

/** Why a reading cannot be kept by any store, or undefined when it can. */
export const storeFault = (reading: StoredReading): string | undefined => {
  const { station, sensor, model, timeMs, seq, place, score, flags, rules } = reading
  if (!isId(station)) return `station ${shown(station)} is no id`
  if (!isId(sensor)) return `sensor ${shown(sensor)} is no id`
  if (!isId(model)) return `model ${shown(model)} is no id`
  if (!isWord(rules)) return `rules ${shown(rules)} is no version`
  if (!isCount(timeMs, timeMaxMs)) return `time ${shown(timeMs)} is out of range`
  if (!isCount(seq, Number.MAX_SAFE_INTEGER)) return `seq ${shown(seq)} is out of range`
  if (!isCount(place, placeMax)) return `place ${shown(place)} is out of range`
  if (!(score >= 0 && score <= 1)) return `score ${shown(score)} is not within 0..1`
  if (flags.length > flagsMax) return `${flags.length} flags are more than ${flagsMax}`
  for (const flag of flags) if (!isWord(flag)) return `flag ${shown(flag)} is out of form`
  return valueFault(reading)
}

/** Checks all before any is written, because one line end in an id can forge another station's reading. */
export const assertStorable = (readings: readonly StoredReading[]): void => {
  for (const reading of readings) {
    const fault = storeFault(reading)
    if (fault !== undefined) throw new RangeError(`a reading cannot be stored: ${fault}`)
  }
}

export const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** The order of answers: time, station, sensor, seq, place. */
export const comparePosition = (a: Position, b: Position): number =>
  a.timeMs - b.timeMs ||
  compareText(a.station, b.station) ||
  compareText(a.sensor, b.sensor) ||
  a.seq - b.seq ||
  a.place - b.place

/** Compares positions so that sorting puts the first of the order first. */
export const compareIn = (order: Order): ((a: Position, b: Position) => number) =>
  order === 'ascending' ? comparePosition : (a, b) => comparePosition(b, a)

/** A selection whose values were checked: ids in form, whole milliseconds within what a store can hold. */
export type CheckedSelection = {
  /** In order, each once, one at least; undefined stands for every station. */
  readonly stations: readonly string[] | undefined
  readonly sensor: string | undefined
  /** Undefined stands for every quantity. */
  readonly codes: ReadonlySet<number> | undefined
  readonly fromMs: number
  readonly toMs: number
  /** Only for rollups; undefined where every reading counts. */
  readonly minScore?: number
}

const checkedTime = (name: string, value: number) => {
  if (Number.isNaN(value)) throw new RangeError(`${name} is not a number`)
  return Math.min(Math.max(Math.ceil(value), 0), timeMaxMs + 1)
}

const checkedScore = (minScore: number | undefined): { readonly minScore?: number } => {
  if (minScore === undefined || minScore === 0) return {}
  if (minScore > 0 && minScore <= 1) return { minScore }
  throw new RangeError(`minScore is a number from 0 to 1, not ${minScore}`)
}

const checkedStations = (given: readonly string[]): string[] => {
  if (given.length > stationsMax)
    throw new RangeError(`a selection names at most ${stationsMax} stations, not ${given.length}`)
  return [...new Set(given.filter((station) => idPattern.test(station)))].sort(compareText)
}

/**
 * The selection, or undefined where nothing can match: no station or sensor id in form, no known quantity, an empty span.
 * Throws RangeError for too many stations, a score out of range, and times that are no numbers.
 */
export const checkSelection = (selection: ScoredSelection): CheckedSelection | undefined => {
  const { sensor, quantities } = selection
  const stations = selection.stations && checkedStations(selection.stations)
  if (stations?.length === 0) return undefined
  if (sensor !== undefined && !idPattern.test(sensor)) return undefined
  const codes =
    quantities &&
    new Set(
      quantities.filter((code) => quantityCoded(code) && !quantityCoded(code)!.private).sort((a, b) => a - b),
    )
  if (codes?.size === 0) return undefined
  const fromMs = checkedTime('fromMs', selection.fromMs)
  const toMs = checkedTime('toMs', selection.toMs)
  const score = checkedScore(selection.minScore)
  return fromMs < toMs ? { stations, sensor, codes, fromMs, toMs, ...score } : undefined
}

/** Most readings or buckets in one answer: it is held in memory whole. */
export const limitMax = 1_000_000

export const assertLimit = (limit: number): void => {
  if (!Number.isInteger(limit) || limit < 1 || limit > limitMax)
    throw new RangeError(`limit is a whole number from 1 to ${limitMax}, not ${shown(limit)}`)
}
