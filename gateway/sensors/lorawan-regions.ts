/** What a LoRa Basics Station is told about the band it listens to, by region. */

// Spreading factor, bandwidth in kHz, and 1 where it is for downlinks only; factor 0 is FSK, -1 is no rate.
type DataRate = readonly [factor: number, bandwidthKHz: number, downOnly: 0 | 1]

type Region = {
  readonly region: string
  readonly rangeHz: readonly [from: number, to: number]
  readonly rates: readonly DataRate[]
  /** Centres of the two radios: a channel lies within 400 kHz of one of them. */
  readonly radiosHz: readonly number[]
  /** Up to eight channels of 125 kHz, and the rates that are used there. */
  readonly channelsHz: readonly number[]
  readonly channelRates: readonly [lowest: number, highest: number]
  /** The one wide channel, where there is one. */
  readonly wide?: { readonly hz: number; readonly rate: number }
  readonly maxEirpDbm: number
}

const MHz = (...values: readonly number[]): number[] => values.map((value) => Math.round(value * 1e6))
const from = (firstMHz: number, count: number): number[] =>
  Array.from({ length: count }, (_, index) => Math.round(firstMHz * 1e6) + index * 200_000)

const slowToFast: readonly DataRate[] = [12, 11, 10, 9, 8, 7].map((factor): DataRate => [factor, 125, 0])
const down500: readonly DataRate[] = [12, 11, 10, 9, 8, 7].map((factor): DataRate => [factor, 500, 1])
const none: DataRate = [-1, 0, 0]

// LoRaWAN Regional Parameters RP002-1.0.4; names of regions as Basics Station has them (s2e.c). Of the wide bands the
// eight channels that The Things Network uses (US915 and AU915: the second sub-band).
const table = {
  EU868: {
    region: 'EU863',
    rangeHz: [863_000_000, 870_000_000],
    rates: [...slowToFast, [7, 250, 0], [0, 0, 0]],
    radiosHz: MHz(867.5, 868.5),
    channelsHz: MHz(868.1, 868.3, 868.5, 867.1, 867.3, 867.5, 867.7, 867.9),
    channelRates: [0, 5],
    wide: { hz: 868_300_000, rate: 6 },
    maxEirpDbm: 16,
  },
  US915: {
    region: 'US902',
    rangeHz: [902_000_000, 928_000_000],
    rates: [...slowToFast.slice(2), [8, 500, 0], none, none, none, ...down500],
    radiosHz: MHz(904.3, 905),
    channelsHz: from(903.9, 8),
    channelRates: [0, 3],
    wide: { hz: 904_600_000, rate: 4 },
    maxEirpDbm: 30,
  },
  AU915: {
    region: 'AU915',
    rangeHz: [915_000_000, 928_000_000],
    rates: [...slowToFast, [8, 500, 0], none, ...down500],
    radiosHz: MHz(917.2, 917.9),
    channelsHz: from(916.8, 8),
    channelRates: [0, 5],
    wide: { hz: 917_500_000, rate: 6 },
    maxEirpDbm: 30,
  },
  AS923: {
    region: 'AS923',
    rangeHz: [915_000_000, 928_000_000],
    rates: [...slowToFast, [7, 250, 0], [0, 0, 0]],
    radiosHz: MHz(923.6, 924.3),
    channelsHz: from(923.2, 8),
    channelRates: [0, 5],
    wide: { hz: 924_500_000, rate: 6 },
    maxEirpDbm: 16,
  },
  IN865: {
    region: 'IN865',
    rangeHz: [865_000_000, 867_000_000],
    rates: [...slowToFast, none, [0, 0, 0]],
    radiosHz: MHz(865.2325, 865.985),
    channelsHz: MHz(865.0625, 865.4025, 865.985),
    channelRates: [0, 5],
    maxEirpDbm: 30,
  },
} as const satisfies Record<string, Region>

export type RegionName = keyof typeof table
export const regionNames = Object.keys(table) as RegionName[]

const nothing = { enable: false } as const
const rateCount = 16

/** Where a channel lies: the radio whose centre is nearest, and how far from it in Hz. */
const placed = (hz: number, radiosHz: readonly number[]) => {
  const distances = radiosHz.map((centre) => Math.abs(hz - centre))
  const radio = distances.indexOf(Math.min(...distances))
  return { enable: true, radio, if: hz - radiosHz[radio]! }
}

/**
 * The `router_config` of the LNS protocol for a region (doc.sm.tc/station/tcproto.html): everything a station needs to
 * listen, no filters of networks or joins, and no beacon. Whether it may transmit it is never asked.
 */
export const routerConfig = (name: RegionName): Readonly<Record<string, unknown>> => {
  const { region, rangeHz, rates, radiosHz, channelsHz, channelRates, wide, maxEirpDbm }: Region = table[name]
  const factorOf = (rate: number): DataRate => rates[rate] ?? none
  return {
    msgtype: 'router_config',
    protocol: 1,
    NetID: null,
    JoinEui: null,
    bcning: null,
    config: {},
    region,
    hwspec: 'sx1301/1',
    max_eirp: maxEirpDbm,
    freq_range: rangeHz,
    DRs: Array.from({ length: rateCount }, (_, rate) => factorOf(rate)),
    upchannels: [
      ...channelsHz.map((hz) => [hz, ...channelRates]),
      ...(wide ? [[wide.hz, wide.rate, wide.rate]] : []),
    ],
    sx1301_conf: [
      {
        ...Object.fromEntries(
          [0, 1].map((radio) => [
            `radio_${radio}`,
            radiosHz[radio] === undefined ? nothing : { enable: true, freq: radiosHz[radio] },
          ]),
        ),
        ...Object.fromEntries(
          Array.from({ length: 8 }, (_, index) => [
            `chan_multiSF_${index}`,
            channelsHz[index] === undefined ? nothing : placed(channelsHz[index], radiosHz),
          ]),
        ),
        chan_Lora_std: wide
          ? {
              ...placed(wide.hz, radiosHz),
              bandwidth: factorOf(wide.rate)[1] * 1000,
              spread_factor: factorOf(wide.rate)[0],
            }
          : nothing,
        chan_FSK: nothing,
      },
    ],
  }
}

/** The spreading factor of a data rate in a region; undefined for FSK and for rates it does not have. */
export const spreadingFactorOf = (name: RegionName, rate: number): number | undefined => {
  const { rates }: Region = table[name]
  const factor = rates[rate]?.[0] ?? -1
  return factor > 0 ? factor : undefined
}
