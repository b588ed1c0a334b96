/** What a node may send, where: payload sizes, duty cycle, dwell time. */
import { airtimeMs } from './airtime.ts'

export type RegionName = 'EU868' | 'US915' | 'AS923'

type DataRate = {
  readonly spreadingFactor: number
  readonly bandwidthHz: number
  readonly maxPayload: number
}

/** Frequencies that share one allowance; `dutyCycle` is the part of any hour that one device may send in them. */
type Band = { readonly fromMHz: number; readonly toMHz: number; readonly dutyCycle?: number }

/** Longest time on the air within so long on one channel, and so of one transmission. */
type Dwell = { readonly mostMs: number; readonly windowMs: number }

type Region = {
  /** By LoRaWAN data rate; RP002-1.0.4, application payload without a repeater, dwell time limited where it applies. */
  readonly dataRates: Readonly<Record<number, DataRate>>
  readonly bands: readonly Band[]
  readonly dwell?: Dwell
  /** Centres, in the order in which a device hops; those of LoRaWAN's plan that every device has. */
  readonly channelsMHz: readonly number[]
  /** Where hopping is what makes it legal. */
  readonly leastChannels?: number
}

const hourMs = 3_600_000

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
    // ETSI EN 300 220-2 and ERC 70-03 annex 1, without listening before talking; what lies between is for alarms.
    bands: [
      { fromMHz: 863, toMHz: 865, dutyCycle: 0.001 },
      { fromMHz: 865, toMHz: 868, dutyCycle: 0.01 },
      { fromMHz: 868, toMHz: 868.6, dutyCycle: 0.01 },
      { fromMHz: 868.7, toMHz: 869.2, dutyCycle: 0.001 },
      { fromMHz: 869.4, toMHz: 869.65, dutyCycle: 0.1 },
      { fromMHz: 869.7, toMHz: 870, dutyCycle: 0.01 },
    ],
    channelsMHz: [868.1, 868.3, 868.5],
  },
  US915: {
    dataRates: { 0: rate(10, 11), 1: rate(9, 53), 2: rate(8, 125), 3: rate(7, 242) },
    bands: [{ fromMHz: 902, toMHz: 928 }],
    // FCC 15.247 (a)(1)(i), channels narrower than 250 kHz: 400 ms within 20 s on each of at least 50.
    dwell: { mostMs: 400, windowMs: 20_000 },
    channelsMHz: Array.from({ length: 64 }, (_, at) => (9023 + 2 * at) / 10),
    leastChannels: 50,
  },
  AS923: {
    dataRates: { 2: rate(10, 11), 3: rate(9, 53), 4: rate(8, 125), 5: rate(7, 242) },
    bands: [{ fromMHz: 915, toMHz: 928, dutyCycle: 0.01 }],
    // RP002-1.0.4: of one transmission; of a channel nothing is said.
    dwell: { mostMs: 400, windowMs: 0 },
    channelsMHz: [923.2, 923.4],
  },
}

// MAC header, address, control, counter, port and MIC of a LoRaWAN uplink; other protocols have as much.
const overheadBytes = 13

/** A transmission that the rules do not let pass, with what would pass. */
export class RadioError extends Error {
  override readonly name = 'RadioError'
}

/**
 * `frequencyMHz` is the channel that it went out on; `restMs`, how long to keep silent after its end so that the share of
 * the sub-band lasts for the whole hour. `againMs`: in how long it may be sent at the earliest.
 */
export type Sent =
  | { readonly ok: true; readonly airtimeMs: number; readonly frequencyMHz: number; readonly restMs: number }
  | { readonly ok: false; readonly againMs: number }

export type Transmitter = {
  readonly maxPayload: number
  /** Milliseconds on the air of an application payload of so many bytes. */
  readonly airtimeOf: (bytes: number) => number
  /**
   * Sends on the next channel that allows it now; otherwise says in how many ms one will. Throws a `RadioError` for a
   * payload that no waiting makes fit. Times are whole milliseconds.
   */
  readonly send: (bytes: number, nowMs: number) => Sent
}

/** So many milliseconds on the air within any window of so long. What ends in a window counts in full. */
const allowance = (mostMs: number, windowMs: number) => {
  const sent: { readonly endMs: number; readonly ms: number }[] = []
  return {
    /** When `ms` more may begin, at the earliest. */
    freeMs: (ms: number, nowMs: number): number => {
      while (sent[0] && sent[0].endMs <= nowMs - windowMs) sent.shift()
      let used = sent.reduce((sum, one) => sum + one.ms, 0)
      let freeMs = nowMs
      for (const one of sent) {
        if (used + ms <= mostMs) break
        used -= one.ms
        freeMs = one.endMs + windowMs
      }
      return freeMs
    },
    add: (ms: number, nowMs: number): void => void sent.push({ endMs: Math.ceil(nowMs + ms), ms }),
  }
}

/**
 * The transmitter of one device at a data rate. `channelsMHz` are the centres that it hops over, those of LoRaWAN unless
 * told; each sub-band and each channel has its own allowance. Throws a `RadioError` for what the region does not have.
 */
export const transmitter = (
  name: RegionName,
  dataRate: number,
  channelsMHz: readonly number[] = regions[name].channelsMHz,
): Transmitter => {
  const region = regions[name]
  const { dwell, leastChannels = 1 } = region
  const known = region.dataRates[dataRate]
  if (!known) {
    const there = Object.keys(region.dataRates).join(', ')
    throw new RadioError(`${name} has no data rate ${dataRate} for readings; it has ${there}`)
  }
  const hops = new Set(channelsMHz).size
  if (hops < leastChannels)
    throw new RadioError(`${name} asks for at least ${leastChannels} channels to hop over, not ${hops}`)
  const airtimeOf = (bytes: number): number => airtimeMs(overheadBytes + bytes, known)

  // What is sent must lie in one sub-band with all of its width. Hertz, so that an edge is an edge.
  const hertz = (megahertz: number): number => Math.round(megahertz * 1e6)
  const bands = region.bands.map((band) => ({
    ...band,
    share: band.dutyCycle === undefined ? undefined : allowance(band.dutyCycle * hourMs, hourMs),
  }))
  const channels = channelsMHz.map((frequencyMHz) => {
    const [low, high] = [-1, 1].map((side) => hertz(frequencyMHz) + (side * known.bandwidthHz) / 2)
    const band = bands.find(({ fromMHz, toMHz }) => low! >= hertz(fromMHz) && high! <= hertz(toMHz))
    if (!band) {
      const there = bands.map(({ fromMHz, toMHz }) => `${fromMHz} to ${toMHz}`).join(', ')
      throw new RadioError(
        `${frequencyMHz} MHz, ${known.bandwidthHz / 1000} kHz wide, is in no sub-band of ${name}: ${there}`,
      )
    }
    return { frequencyMHz, band, dwell: dwell && allowance(dwell.mostMs, dwell.windowMs) }
  })
  let hop = 0

  const fitting = (): string => {
    const rates = Object.entries(region.dataRates).map(([at, { maxPayload }]) => `${maxPayload} at ${at}`)
    return `by data rate it carries ${rates.join(', ')}`
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
      if (dwell && ms > dwell.mostMs)
        throw new RadioError(
          `${ms.toFixed(0)} ms on the air are more than the ${dwell.mostMs} of ${name}; ${fitting()}`,
        )
      let soonestMs = Number.POSITIVE_INFINITY
      for (let turn = 0; turn < channels.length; turn += 1) {
        const channel = channels[(hop + turn) % channels.length]!
        const { band, frequencyMHz } = channel
        const freeMs = Math.max(
          band.share?.freeMs(ms, nowMs) ?? nowMs,
          channel.dwell?.freeMs(ms, nowMs) ?? nowMs,
        )
        soonestMs = Math.min(soonestMs, freeMs)
        if (freeMs > nowMs) continue
        band.share?.add(ms, nowMs)
        channel.dwell?.add(ms, nowMs)
        hop = (hop + turn + 1) % channels.length
        const restMs = band.dutyCycle === undefined ? 0 : ms / band.dutyCycle - ms
        return { ok: true, airtimeMs: ms, frequencyMHz, restMs }
      }
      return { ok: false, againMs: soonestMs - nowMs }
    },
  }
}
