/**
 * Quality: how far one reading can be believed, judged from its own sensor alone.
 *
 *     score = availability x mean over the reading's scored quantities of (least factor among its verdicts)
 *
 * rounded to three decimals. A quantity without a verdict counts 1, so a reading nothing can be said against scores
 * 1.000, as does one that carries only what is not scored (`unscored.ts`). `availability` is the product of the
 * verdicts on the sensor as a whole. Every verdict that is not full marks shows as a flag.
 *
 * The checks and their thresholds are those of WeatherXM's OBC and SQC ("Out-of-Bounds Check, Self Quality Check",
 * WeatherXM/docs obc-sqc-documentation at 5599c01; code weatherxm-network/qod initial_params.py at 6f3c196), which
 * follow WMO-No. 8. Where these disagree, the rule's own file says what was chosen. What differs on purpose: WeatherXM
 * judges whole days afterwards and marks a constant window from its beginning; a reading here is judged once, when it
 * arrives, by what was known then, so that its score never changes and can be computed again.
 *
 * Rules are pure functions over a few numbers of memory, so the same evidence in the same order gives the same
 * scores, also across restarts. To compute old scores again, run the evidence through the rules of that version.
 */
import type { Quantity } from '../reading/quantity.ts'
import type { Reading, Value } from '../reading/reading.ts'

/**
 * What a rule has against a value or a sensor: `code` in capitals and underscores, and the `factor` (0..1) that is left of it.
 * No verdict means full marks.
 */
export type Verdict = { readonly code: string; readonly factor: number }

/**
 * One value in its reading, as a rule sees it; reused from call to call, so a rule keeps no reference to it.
 * `scaled` is NaN where the value is absent. `previousMs` is the time of the sensor's reading before this one, NaN for
 * its first. `intervalMs` is how often the sensor is expected to speak, NaN until known. `temperatureC` and `humidityPct`
 * are those of the same reading, NaN where it has none. `context` is what was handed to the scorer for rules that
 * look beyond one sensor.
 */
export type Sample<Context = unknown> = {
  readonly reading: Reading
  readonly quantity: Quantity
  readonly value: Value
  readonly scaled: number
  readonly timeMs: number
  readonly previousMs: number
  readonly intervalMs: number
  readonly temperatureC: number
  readonly humidityPct: number
  readonly context: Context
}

type Described = {
  readonly name: string
  readonly title: string
  /** Document and section the rule and its thresholds come from. */
  readonly source: string
  /** `<year>.<number>`, taken from the ledger in `all.ts` whenever the rule's answers change. Never reused. */
  readonly version: string
  /** Every code it can give. */
  readonly codes: readonly string[]
}

/** Judges a value by itself, late or not, present or absent. Where it objects, no history rule sees the value. */
export type ValueRule<Context = unknown> = Described & {
  readonly kind: 'value'
  readonly judge: (sample: Sample<Context>) => Verdict | undefined
}

/**
 * Judges a present value by those before it, in time order. It keeps `slots` numbers per sensor and quantity, in
 * `memory[at]` to `memory[at + slots - 1]`: NaN at first, its own to write.
 */
export type SeriesRule<Context = unknown> = Described & {
  readonly kind: 'series'
  readonly slots: number
  readonly applies: (quantity: Quantity) => boolean
  readonly judge: (sample: Sample<Context>, memory: Float64Array, at: number) => Verdict | undefined
}

/**
 * Judges the sensor as a whole, once per reading, in time order, with `slots` numbers of memory per sensor.
 * The sample's `quantity`, `value` and `scaled` mean nothing to it.
 */
export type SensorRule<Context = unknown> = Described & {
  readonly kind: 'sensor'
  readonly slots: number
  readonly judge: (sample: Sample<Context>, memory: Float64Array, at: number) => Verdict | undefined
}

/**
 * One quality rule. Adding one is one file here, one line in `all.ts`, and the next number in its ledger.
 * A rule that needs more than one sensor names the `Context` it asks for, and the hub hands that in.
 */
export type Rule<Context = unknown> = ValueRule<Context> | SeriesRule<Context> | SensorRule<Context>

/** `score` is 0..1 with three decimals; `flags` are `<quantity>:<CODE>` and `<CODE>`; `rules` is `rulesVersion`. */
export type Score = { readonly score: number; readonly flags: readonly string[]; readonly rules: string }

/** What is remembered of one sensor, to be kept under that key; null when it is to be forgotten. */
export type KeptState = readonly [key: string, state: Uint8Array | null]

/** How often a sensor speaks: configured, or learned; undefined until it is known. `newestMs` is of its newest reading. */
export type SensorPace = {
  readonly sensor: string
  readonly intervalMs: number | undefined
  readonly newestMs: number
}

export type Scorer = {
  /** The score of a reading of that station. Call it once per reading, in the order of the evidence. */
  readonly score: (station: string, reading: Reading) => Score
  /**
   * What changed since the last call, each key once. Keep it in the same transaction as the place reached in the evidence; if that
   * fails, drop this scorer and restore another from what was kept.
   */
  readonly changedStates: () => KeptState[]
  /** The sensors of a station that are remembered, and how often each speaks. */
  readonly paces: (station: string) => SensorPace[]
  /** Series (sensor and quantity) held in memory. */
  readonly series: () => number
}

/** Newer of two versions, by number and not by letter: 2026.10 comes after 2026.9. */
export const newerVersion = (a: string, b: string): string => {
  const [yearA = 0, numberA = 0] = a.split('.').map(Number)
  const [yearB = 0, numberB = 0] = b.split('.').map(Number)
  return yearA > yearB || (yearA === yearB && numberA >= numberB) ? a : b
}

/**
 * Version of a set of rules: the newest among its rules. Rules share one ledger of numbers, so any change of the set
 * takes a new number, and one string names what every rule did.
 */
export const rulesVersion = (rules: readonly Pick<Rule, 'version'>[]): string =>
  rules.map((rule) => rule.version).reduce(newerVersion, '0.0')
