/** The port of the bench: something of ours measured beside a baseline, in turns, in the same run. */

/** What a ratio should reach. */
export type Aim = { readonly least: number } | { readonly most: number }

/**
 * One line of the result. `ours` and `baseline` are medians in the measurement's unit; `ratios` are ours by baseline, one
 * for each round, because two numbers taken a second apart on a busy machine can be compared and others cannot.
 */
export type Row = {
  readonly what: string
  readonly ours: number
  readonly baseline: number | null
  readonly ratios: readonly number[]
  readonly aim?: Aim
  /** Where it differs from the measurement's own. */
  readonly unit?: string
  readonly note?: string
}

export type Context = {
  /** How often ours and the baseline take turns. */
  readonly rounds: number
  /** Factor on the work of one round: 1, or less with --quick. */
  readonly share: number
  /** An empty directory on the disk to be measured; removed afterwards. */
  readonly directory: string
}

/** One file, one question. */
export type Measurement = {
  /** For `--only`: lower-case letters. */
  readonly name: string
  readonly title: string
  /** What the baseline does, for people. */
  readonly baseline: string
  readonly unit: string
  /** Answers its rows, or why it cannot be measured here. */
  run(context: Context): Promise<readonly Row[] | { readonly skipped: string }>
}

export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** A row from what each round gave. */
export const row = (
  what: string,
  ours: readonly number[],
  baseline: readonly number[],
  more: Pick<Row, 'aim' | 'unit' | 'note'> = {},
): Row => ({
  what,
  ours: median(ours),
  baseline: median(baseline),
  ratios: ours.map((value, round) => value / baseline[round]!),
  ...more,
})
