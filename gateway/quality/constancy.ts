/** Constancy check: a value that stands still for longer than the quantity does. */
import { type Quantity, type QuantityName, quantity } from '../reading/quantity.ts'
import type { Sample, SeriesRule, Verdict } from './quality.ts'

type Row = {
  readonly quantity: QuantityName
  /** Minutes of the very same value until SHORT_CONST and LONG_CONST; null: no such verdict. */
  readonly shortMin: number | null
  readonly longMin: number
  readonly why: string
  /** At or below this value, in the quantity's unit, standing still is normal. */
  readonly rest?: number
  /** While the humidity is at or above this (%), the short clock starts anew. */
  readonly wetPct?: number
  /** While it is as wet as that, the long clock starts anew as well. */
  readonly wetLong?: true
  /** Ice can hold it: `zero` where only standing still at 0 may be calm or ice, `any` where any value may. */
  readonly freezes?: 'zero' | 'any'
}

const weather = 'WeatherXM Table 6'

/**
 * How long each quantity may stand still. Short and long minutes of Table 6 where `why` says so; the table's document
 * has no long limit for humidity, pressure and illuminance because its short one already counts as faulty: here a
 * short one is only doubt (0.5), so a whole day (1440) ends it for these too, humidity only while it is not wet.
 */
export const constancyRows: readonly Row[] = [
  { quantity: 'temperature', shortMin: 240, longMin: 1440, wetPct: 95, why: weather },
  { quantity: 'humidity', shortMin: 360, longMin: 1440, wetPct: 95, wetLong: true, why: weather },
  { quantity: 'pressure', shortMin: 120, longMin: 1440, why: weather },
  { quantity: 'illuminance', shortMin: 120, longMin: 1440, rest: 0, why: `${weather}; night is dark` },
  { quantity: 'solar_radiation', shortMin: 120, longMin: 1440, rest: 0, why: 'as illuminance' },
  {
    quantity: 'uv_index',
    shortMin: null,
    longMin: 1440,
    rest: 0,
    why: 'coarse: whole numbers stand for hours',
  },
  { quantity: 'wind_speed', shortMin: 360, longMin: 1440, wetPct: 85, freezes: 'zero', why: weather },
  { quantity: 'wind_gust', shortMin: 360, longMin: 1440, wetPct: 85, freezes: 'zero', why: 'as wind speed' },
  { quantity: 'wind_direction', shortMin: 360, longMin: 1440, wetPct: 85, freezes: 'any', why: weather },
  { quantity: 'pm1', shortMin: 360, longMin: 1440, rest: 5, why: 'whole numbers stand still in clean air' },
  { quantity: 'pm2_5', shortMin: 360, longMin: 1440, rest: 5, why: 'whole numbers stand still in clean air' },
  { quantity: 'pm4', shortMin: 360, longMin: 1440, rest: 5, why: 'whole numbers stand still in clean air' },
  { quantity: 'pm10', shortMin: 360, longMin: 1440, rest: 5, why: 'whole numbers stand still in clean air' },
  { quantity: 'n0_3', shortMin: 360, longMin: 1440, rest: 10, why: 'few or no particles in clean air' },
  { quantity: 'n0_5', shortMin: 360, longMin: 1440, rest: 10, why: 'few or no particles in clean air' },
  { quantity: 'n1', shortMin: 360, longMin: 1440, rest: 10, why: 'few or no particles in clean air' },
  { quantity: 'n2_5', shortMin: 360, longMin: 1440, rest: 10, why: 'few or no particles in clean air' },
  { quantity: 'co2_equivalent', shortMin: null, longMin: 1440, rest: 450, why: 'rests at 400 in clean air' },
  { quantity: 'n5', shortMin: 360, longMin: 1440, rest: 10, why: 'few or no particles in clean air' },
  { quantity: 'n10', shortMin: 360, longMin: 1440, rest: 10, why: 'few or no particles in clean air' },
  { quantity: 'nc0_5', shortMin: 360, longMin: 1440, rest: 1, why: 'few particles in clean air' },
  { quantity: 'nc1', shortMin: 360, longMin: 1440, rest: 1, why: 'few particles in clean air' },
  { quantity: 'nc2_5', shortMin: 360, longMin: 1440, rest: 1, why: 'few particles in clean air' },
  { quantity: 'nc4', shortMin: 360, longMin: 1440, rest: 1, why: 'few particles in clean air' },
  { quantity: 'nc10', shortMin: 360, longMin: 1440, rest: 1, why: 'few particles in clean air' },
  { quantity: 'typical_size', shortMin: null, longMin: 1440, rest: 0, why: 'steady aerosol keeps its size' },
  { quantity: 'co2', shortMin: 360, longMin: 1440, why: 'moves by a few ppm within minutes' },
  {
    quantity: 'voc_index',
    shortMin: null,
    longMin: 1440,
    why: 'rests at its own average, 100, in steady air',
  },
  { quantity: 'iaq', shortMin: null, longMin: 1440, why: 'rests at its own average in steady air' },
  { quantity: 'gas_resistance', shortMin: 240, longMin: 1440, why: 'drifts with heat and damp' },
  { quantity: 'noise', shortMin: 360, longMin: 1440, why: 'quiet nights rest on the microphone floor' },
  { quantity: 'radiation', shortMin: 360, longMin: 1440, why: 'decay is random; zero is a dead tube' },
  { quantity: 'count_rate', shortMin: 360, longMin: 1440, why: 'decay is random; zero is a dead tube' },
  { quantity: 'formaldehyde', shortMin: 360, longMin: 1440, rest: 0.01, why: 'clean air reads nearly zero' },
  { quantity: 'nh3', shortMin: 360, longMin: 1440, rest: 0, why: 'clean air reads zero' },
  { quantity: 'no2', shortMin: 360, longMin: 1440, rest: 0, why: 'clean air reads zero' },
  { quantity: 'o3', shortMin: 360, longMin: 1440, rest: 0, why: 'traffic eats it up at night: zero' },
]

/** Quantities for which standing still says nothing. */
export const constancyExempt: ReadonlyMap<string, string> = new Map<QuantityName, string>([
  ['rain', 'dry for weeks; WeatherXM excludes it too'],
  ['rain_rate', 'dry for weeks; WeatherXM excludes it too'],
  ['rain_day', 'dry for weeks; WeatherXM excludes it too'],
  ['rain_total', 'dry for weeks; WeatherXM excludes it too'],
  ['hail', 'none for months'],
  ['lightning_strikes', 'none for months'],
  ['lightning_distance', 'none for months'],
  ['indoor_temperature', 'a thermostat holds it'],
  ['indoor_humidity', 'air conditioning holds it'],
  ['ec', 'steady in still water and soil'],
  ['ph', 'steady in still water and soil'],
  ['soil_moisture', 'steady for days without rain, and when frozen'],
  ['soil_temperature', 'deep soil moves by less than a step a day'],
  ['dew_point', 'computed from temperature and humidity, which are judged'],
  ['heat_index', 'computed from temperature and humidity, which are judged'],
])

const minuteMs = 60_000

/** Beyond this silence, or three of its usual ones, nobody can say that the value stood still meanwhile. */
const longestGapMs = 60 * minuteMs
const longestGapIntervals = 3

// A short stillness is a doubt; WeatherXM pays nothing for it, but marks it afterwards, knowing how it went on.
const short: Verdict = { code: 'SHORT_CONST', factor: 0.5 }
const long: Verdict = { code: 'LONG_CONST', factor: 0 }
const frozen: Verdict = { code: 'FROZEN_SENSOR', factor: 0 }

type Limits = {
  readonly shortMs: number
  readonly longMs: number
  readonly rest: number
  readonly wetPct: number
  readonly wetLong: boolean
  readonly freezes: 'zero' | 'any' | undefined
}

const limits: (Limits | undefined)[] = []
for (const row of constancyRows) {
  const { code, decimals } = quantity(row.quantity)
  limits[code] = {
    shortMs: row.shortMin === null ? Number.POSITIVE_INFINITY : row.shortMin * minuteMs,
    longMs: row.longMin * minuteMs,
    rest: row.rest === undefined ? Number.NEGATIVE_INFINITY : Math.round(row.rest * 10 ** decimals),
    wetPct: row.wetPct ?? Number.POSITIVE_INFINITY,
    wetLong: row.wetLong ?? false,
    freezes: row.freezes,
  }
}

// Memory: the value, when it was last seen, since when it stands, since when it stands while not wet.
const [standing, lastMs, sinceMs, drySinceMs] = [0, 1, 2, 3]

/** Calm, wet and icy air all hold a vane or cup still; which it is takes temperature and humidity to tell. */
const judgeHeld = (sample: Sample, row: Limits, stoodMs: number, dryMs: number): Verdict | undefined => {
  const { temperatureC, humidityPct } = sample
  if (temperatureC <= 0) return stoodMs >= row.shortMs ? frozen : undefined
  if (stoodMs >= row.longMs) return long
  return temperatureC > 0 && humidityPct < row.wetPct && dryMs >= row.shortMs ? short : undefined
}

const judge = (sample: Sample, memory: Float64Array, at: number): Verdict | undefined => {
  const { scaled, timeMs, intervalMs } = sample
  const row = limits[sample.quantity.code]!
  const gapMs = timeMs - memory[at + lastMs]!
  memory[at + lastMs] = timeMs
  const unbroken = gapMs <= longestGapMs || gapMs <= longestGapIntervals * intervalMs
  if (scaled !== memory[at + standing]! || !unbroken || scaled <= row.rest) {
    memory[at + standing] = scaled
    memory[at + sinceMs] = timeMs
    memory[at + drySinceMs] = timeMs
    return undefined
  }
  if (sample.humidityPct >= row.wetPct) {
    memory[at + drySinceMs] = timeMs
    if (row.wetLong) memory[at + sinceMs] = timeMs
  }
  const stoodMs = timeMs - memory[at + sinceMs]!
  // Most values stand for a moment only.
  if (stoodMs < row.shortMs && stoodMs < row.longMs) return undefined
  const dryMs = timeMs - memory[at + drySinceMs]!
  if (row.freezes === 'any' || (row.freezes === 'zero' && scaled === 0)) {
    return judgeHeld(sample, row, stoodMs, dryMs)
  }
  if (stoodMs >= row.longMs) return long
  // A wind that blows and does not change is wrong in any weather.
  return (row.freezes ? stoodMs : dryMs) >= row.shortMs ? short : undefined
}

export const constancy: SeriesRule = {
  kind: 'series',
  name: 'constancy',
  title: 'Standing still for too long',
  source: 'WeatherXM obc-sqc-documentation s3a, Table 6; qod constant_data_check.py',
  version: '2026.1',
  codes: [short.code, long.code, frozen.code],
  slots: 4,
  applies: ({ code }: Quantity) => limits[code] !== undefined,
  judge,
}
