/** What a node may send, where: payload sizes, duty cycle, dwell time. */
import { airtimeMs } from './airtime.ts'

export type RegionName = 'EU868' | 'US915' | 'AS923'

type DataRate = {
  readonly spreadingFactor: number
  readonly bandwidthHz: number
  readonly maxPayload: number
}

type Region = {
  /** By LoRaWAN data rate; RP002-1.0.4, application payload without a repeater, dwell time limited where it applies. */
  readonly dataRates: Readonly<Record<number, DataRate>>
  /** Part of a sliding hour that one device may send in a sub-band (ETSI EN 300 220-2, ERC 70-03). */
  readonly dutyCycle?: number
  /** Longest time on the air of one transmission, and in one channel within `dwellWindowMs`. */
  readonly dwellMs?: number
  readonly dwellWindowMs?: number
  readonly channels: number
}

const rate = (spreadingFactor: number, maxPayload: number, bandwidthHz = 125_000): DataRate => ({
  spreadingFactor,
  bandwidthHz,
  maxPayload,
})

const regions: Readonly<Record<RegionName, Region>> = {
  EU868: {
    dataRates: {
      0: rate(12, 51),
      1: rate(11, 51),
      2: rate(10, 51),
      3: rate(9, 115),
      4: rate(8, 242),
      5: rate(7, 242),
    },
    // 868.0 to 868.6 MHz.
    dutyCycle: 0.01,
    channels: 3,
  },
  US915: {
    dataRates: { 0: rate(10, 11), 1: rate(9, 53), 2: rate(8, 125), 3: rate(7, 242) },
    // FCC 15.247 (a)(1)(i): 400 ms within 20 s on each of at least 50 hopping channels.
    dwellMs: 400,
    dwellWindowMs: 20_000,
    channels: 64,
  },
  AS923: {
    dataRates: { 2: rate(10, 11), 3: rate(9, 53), 4: rate(8, 125), 5: rate(7, 242) },
    dutyCycle: 0.01,
    dwellMs: 400,
    channels: 2,
  },
}

const hourMs = 3_600_000
// MAC header, address, control, counter, port and MIC of a LoRaWAN uplink; other protocols have as much.
const overheadBytes = 13

/** A transmission that the rules do not let pass, with what would pass. */
export class RadioError extends Error {
  override readonly name = 'RadioError'
}

export type Sent =
  | { readonly ok: true; readonly airtimeMs: number }
  | { readonly ok: false; readonly againMs: number }

export type Transmitter = {
  readonly maxPayload: number
  /** Milliseconds on the air of an application payload of so many bytes. */
  readonly airtimeOf: (bytes: number) => number
  /**
   * Sends, where the device's share of the air allows it now; otherwise says in how many ms it will. Throws a
   * `RadioError` for a payload that no waiting makes fit.
   */
  readonly send: (bytes: number, nowMs: number) => Sent
}

/** The transmitter of one device at a data rate. */
export const transmitter = (name: RegionName, dataRate: number): Transmitter => {
  const region = regions[name]
  const known = region.dataRates[dataRate]
  if (!known) {
    const there = Object.keys(region.dataRates).join(', ')
    throw new RadioError(`${name} has no data rate ${dataRate} for readings; it has ${there}`)
  }
  const airtimeOf = (bytes: number): number => airtimeMs(overheadBytes + bytes, known)
  const on: { readonly atMs: number; readonly airtimeMs: number; readonly channel: number }[] = []
  let hop = 0

  const fitting = (): string => {
    const rates = Object.entries(region.dataRates).map(([at, { maxPayload }]) => `${maxPayload} at ${at}`)
    return `by data rate it carries ${rates.join(', ')}`
  }

  /** Since when the device has been within its share: the earliest moment at which `ms` more are allowed. */
  const allowedMs = (ms: number, nowMs: number): number => {
    let atMs = nowMs
    if (region.dutyCycle !== undefined) {
      const budgetMs = region.dutyCycle * hourMs
      let used = on.filter((one) => one.atMs > nowMs - hourMs).reduce((sum, one) => sum + one.airtimeMs, 0)
      for (const one of on) {
        if (used + ms <= budgetMs) break
        if (one.atMs <= nowMs - hourMs) continue
        used -= one.airtimeMs
        atMs = Math.max(atMs, one.atMs + hourMs)
      }
    }
    if (region.dwellMs !== undefined && region.dwellWindowMs !== undefined) {
      const channel = hop % region.channels
      const last = on.findLast((one) => one.channel === channel)
      if (last && last.airtimeMs + ms > region.dwellMs)
        atMs = Math.max(atMs, last.atMs + region.dwellWindowMs)
    }
    return atMs
  }

  return {
    maxPayload: known.maxPayload,
    airtimeOf,
    send: (bytes, nowMs) => {
      if (bytes > known.maxPayload)
        throw new RadioError(
          `${bytes} bytes do not fit ${name} data rate ${dataRate} (SF${known.spreadingFactor}), which carries ${known.maxPayload}; ${fitting()}`,
        )
      const ms = airtimeOf(bytes)
      if (region.dwellMs !== undefined && ms > region.dwellMs)
        throw new RadioError(
          `${ms.toFixed(0)} ms on the air are more than the ${region.dwellMs} of ${name}; ${fitting()}`,
        )
      const atMs = allowedMs(ms, nowMs)
      if (atMs > nowMs) return { ok: false, againMs: atMs - nowMs }
      on.push({ atMs: nowMs, airtimeMs: ms, channel: hop % region.channels })
      hop += 1
      while (on[0] && on[0].atMs <= nowMs - hourMs) on.shift()
      return { ok: true, airtimeMs: ms }
    },
  }
}
