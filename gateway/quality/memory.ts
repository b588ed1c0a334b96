/** What the scorer remembers of one sensor: numbers only, small and bounded, and the bytes they are kept as. */
import { intervalSlots } from './interval.ts'

/**
 * `own`: when it was last touched (count of readings judged), time of its newest reading, its interval, then the sensor rules' numbers.
 * `series`: the series rules' numbers by quantity code; `held` counts them. `expectedMs` is the configured interval.
 */
export type Memory = {
  readonly station: string
  readonly sensor: string
  readonly own: Float64Array
  readonly series: (Float64Array | undefined)[]
  readonly expectedMs: number | undefined
  held: number
  changed: boolean
}

export const touchedSlot = 0
export const newestSlot = 1
export const intervalAt = 2
export const sensorRulesAt = intervalAt + intervalSlots

/** How many numbers a set of rules needs; `fingerprint` differs when bytes kept by another set cannot be read. */
export type Layout = {
  readonly ownSlots: number
  readonly seriesSlots: readonly number[]
  readonly fingerprint: number
}

/** FNV-1a, 32 bits: tells layouts apart, protects nothing. */
export const fingerprintOf = (text: string): number => {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return hash >>> 0
}

export const unknown = (slots: number): Float64Array => new Float64Array(slots).fill(Number.NaN)

// fingerprint u32, count of series u8, `own` f64 each, then per series: code u8, f64 each; all little-endian.
const headBytes = 5

/** The bytes to keep: 5 + 8 per number + 1 per series; some 300 for a sensor of three weather quantities. */
export const encodeMemory = ({ own, series, held }: Memory, layout: Layout): Uint8Array => {
  let length = headBytes + 8 * own.length
  for (const numbers of series) if (numbers) length += 1 + 8 * numbers.length
  const bytes = new Uint8Array(length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, layout.fingerprint, true)
  view.setUint8(4, held)
  let at = headBytes
  for (const number of own) {
    view.setFloat64(at, number, true)
    at += 8
  }
  series.forEach((numbers, code) => {
    if (!numbers) return
    view.setUint8(at, code)
    at += 1
    for (const number of numbers) {
      view.setFloat64(at, number, true)
      at += 8
    }
  })
  return bytes
}

const damaged = (key: string): Error =>
  new Error(
    `quality state of sensor ${key} is damaged.\nRebuild the store from the evidence: that computes scores and states again.`,
  )

/**
 * The numbers that were kept; undefined where they were kept by rules with another memory, which know nothing of this
 * sensor then. Throws where the bytes are damaged.
 */
export const decodeMemory = (
  key: string,
  bytes: Uint8Array,
  layout: Layout,
): Pick<Memory, 'own' | 'series' | 'held'> | undefined => {
  if (bytes.length < headBytes) throw damaged(key)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(0, true) !== layout.fingerprint) return undefined
  let at = headBytes
  const take = (slots: number): Float64Array => {
    if (at + 8 * slots > bytes.length) throw damaged(key)
    const numbers = new Float64Array(slots)
    for (let slot = 0; slot < slots; slot++, at += 8) numbers[slot] = view.getFloat64(at, true)
    return numbers
  }
  const held = view.getUint8(4)
  const own = take(layout.ownSlots)
  const series: (Float64Array | undefined)[] = []
  for (let n = 0; n < held; n++) {
    const code = bytes[at++]
    const slots = code === undefined ? 0 : (layout.seriesSlots[code] ?? 0)
    if (slots === 0 || series[code!]) throw damaged(key)
    series[code!] = take(slots)
  }
  if (at !== bytes.length) throw damaged(key)
  return { own, series, held }
}
