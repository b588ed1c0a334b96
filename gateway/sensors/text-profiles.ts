/** Four ways in which microcontrollers write a reading on one line. */
import type { Absence, Measurement } from '../reading/reading.ts'
import type { Outcome, RefusalReason } from './sensors.ts'
import { asWritten, measured, type Target, targetOf } from './text-values.ts'

/** What each column of a comma-separated line is; null for a column that is not used. */
export type Columns = readonly (Target | null)[]

/** The owner's own names, beside or instead of the usual ones. */
export type Names = ReadonlyMap<string, Target>

// A line is at most 1 KiB: more parts than this are not a sensor's.
const maxParts = 64

const refused = (reason: RefusalReason, detail: string): Outcome => ({ kind: 'refused', reason, detail })

/** Text from outside, short and printable, as it may stand in a refusal. */
export const quoted = (text: string): string =>
  JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}...` : text)

type Written = readonly [target: Target, text: string]

const reading = (written: readonly Written[]): Outcome => {
  const measurements: Measurement[] = []
  for (const [target, text] of written) {
    const measurement = measured(target, text)
    if (!measurement) return refused('layout', `${target.quantity} is ${quoted(text)}, which is no number`)
    if (measurements.some(({ quantity }) => quantity === target.quantity))
      return refused('layout', `${target.quantity} is there twice`)
    measurements.push(measurement)
  }
  return { kind: 'reading', measurements }
}

/** Every configured quantity as absent, for a line in which the device says that it could not measure. */
export const allAbsent = (columns: Columns, absent: Absence): Outcome | undefined => {
  const measurements = columns.flatMap((target): Measurement[] =>
    target ? [{ quantity: target.quantity, value: null, absent }] : [],
  )
  return measurements.length > 0 ? { kind: 'reading', measurements } : undefined
}

/** `21.5,45.1,1013.2`: as many values as configured columns, separated by comma, semicolon or tab. */
export const csv = (text: string, columns: Columns): Outcome => {
  const parts = text.split(/[,;\t]/, maxParts)
  if (parts.length !== columns.length)
    return refused(
      'length',
      `${parts.length} columns where ${columns.length} are configured: ${quoted(text)}`,
    )
  return reading(columns.flatMap((target, index): Written[] => (target ? [[target, parts[index]!]] : [])))
}

const named = (
  pairs: readonly (readonly [name: string, text: string])[],
  names: Names,
  text: string,
): Outcome => {
  const written: Written[] = []
  for (const [name, value] of pairs) {
    const target = names.get(name) ?? targetOf(name)
    if (target) written.push([target, value])
  }
  if (written.length === 0) return refused('unknown', `no known name in ${quoted(text)}; see setting "names"`)
  return reading(written)
}

/** `T=21.5,H=45.1`: names and values, separated by comma, semicolon, tab or space. */
export const keyValue = (text: string, names: Names): Outcome => {
  const pairs: [string, string][] = []
  // A space separates only where a new name follows, so that "T = 21.5 C, H=45" is understood.
  for (const part of text.split(/[,;\t]| +(?=[^\s=,;]+ *=)/, maxParts)) {
    const at = part.indexOf('=')
    if (at === -1) {
      if (part.trim() === '') continue
      return refused('layout', `${quoted(part)} is not name=value`)
    }
    pairs.push([part.slice(0, at).trim(), part.slice(at + 1)])
  }
  return named(pairs, names, text)
}

// Sketches print what their floats hold, and nan is not JSON.
const bareNotNumbers = /(:\s*)([+-]?(?:nan|inf|infinity))(?=\s*[,}\]])/gi

const scalar = (value: unknown): string | undefined => {
  if (value === null) return ''
  if (typeof value === 'number') return String(value)
  return typeof value === 'string' ? value : undefined
}

/** `{"temperature":21.5}`: one object; a value in an inner object is named `outer.inner`. */
export const json = (text: string, names: Names): Outcome => {
  let parsed: unknown
  try {
    parsed = JSON.parse(text.replace(bareNotNumbers, '$1"$2"'))
  } catch {
    return refused('layout', `${quoted(text)} is not JSON`)
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    return refused('layout', `${quoted(text)} is not a JSON object`)
  const pairs: [string, string][] = []
  for (const [name, value] of Object.entries(parsed)) {
    const own = scalar(value)
    if (own !== undefined) pairs.push([name, own])
    else if (typeof value === 'object' && !Array.isArray(value))
      for (const [inner, innerValue] of Object.entries(value as object)) {
        const text = scalar(innerValue)
        if (text !== undefined) pairs.push([`${name}.${inner}`, text])
      }
    if (pairs.length > maxParts) return refused('layout', `more than ${maxParts} values`)
  }
  return named(pairs, names, text)
}

// Humidity: 45.10%  Temperature: 21.50°C 70.70°F  Heat index: 21.02°C 69.84°F
const dhtLine = /^Humidity: *([^%\s]{1,12}) *% +Temperature: *([^\s°]{1,12}) *[°*º] ?C\b/
const dhtIndex = /Heat index: *([^\s°]{1,12}) *[°*º] ?C\b/

const dhtColumns: Columns = [asWritten('humidity'), asWritten('temperature'), asWritten('heat_index')]

/** What the `dht` profile measures, for lines in which it says that it could not. */
export const dhtTargets: Columns = dhtColumns.slice(0, 2)

/** Lines of the DHTtester example of Adafruit's DHT sensor library; undefined where it is not one. */
export const dht = (text: string): Outcome | undefined => {
  const line = dhtLine.exec(text)
  if (!line) return undefined
  const index = dhtIndex.exec(text)
  const written = [line[1]!, line[2]!, ...(index ? [index[1]!] : [])]
  return reading(written.map((value, position): Written => [dhtColumns[position]!, value]))
}
