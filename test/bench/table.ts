/** The result as text. */
import type { Machine } from './machine.ts'
import { type Aim, type Measurement, median, type Row } from './measurement.ts'

/** A measurement with its rows, or with why there are none. */
export type Measured = {
  readonly measurement: Measurement
  readonly rows: readonly Row[]
  readonly skipped?: string
  readonly failed?: string
}

/** Four digits are more than a busy machine can promise. */
const figure = (value: number): string => {
  const digits = Math.abs(value) >= 1000 ? 0 : Math.abs(value) >= 100 ? 1 : Math.abs(value) >= 10 ? 1 : 2
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

const ratio = (value: number): string => value.toFixed(value < 0.1 ? 3 : 2)

const aimText = (aim: Aim | undefined): string =>
  aim === undefined ? '' : 'least' in aim ? `>= ${aim.least}` : `<= ${aim.most}`

/** Whether the median ratio reaches the aim; undefined where there is none. */
export const met = ({ aim, ratios }: Row): boolean | undefined => {
  if (aim === undefined || ratios.length === 0) return undefined
  const middle = median(ratios)
  return 'least' in aim ? middle >= aim.least : middle <= aim.most
}

const verdict = (row: Row): string => {
  const reached = met(row)
  return reached === undefined ? '' : reached ? 'met' : 'NOT MET'
}

const spread = ({ ratios }: Row): string => {
  if (ratios.length === 0) return ''
  const middle = ratio(median(ratios))
  return ratios.length === 1
    ? middle
    : `${middle} (${ratio(Math.min(...ratios))}..${ratio(Math.max(...ratios))})`
}

const columns = ['', 'ours', 'baseline', 'unit', 'ratio (least..most)', 'aim', ''] as const

// Numbers end, and words begin, where those above and below them do.
const numeric: ReadonlySet<number> = new Set([1, 2])

const cells = (measurement: Measurement, row: Row): string[] => [
  `  ${row.what}`,
  figure(row.ours),
  row.baseline === null ? '' : figure(row.baseline),
  row.unit ?? measurement.unit,
  spread(row),
  aimText(row.aim),
  verdict(row),
]

/** The table, one block for each measurement. */
export const table = (results: readonly Measured[]): string => {
  const all = results.flatMap(({ measurement, rows }) => rows.map((row) => cells(measurement, row)))
  const widths = columns.map((title, at) => Math.max(title.length, ...all.map((line) => line[at]!.length)))
  const line = (parts: readonly string[]): string =>
    parts
      .map((part, at) => (numeric.has(at) ? part.padStart(widths[at]!) : part.padEnd(widths[at]!)))
      .join('  ')
      .trimEnd()
  const blocks = results.map(({ measurement, rows, skipped, failed }) =>
    [
      '',
      `${measurement.title}`,
      `  beside: ${measurement.baseline}`,
      ...(skipped === undefined ? [] : [`  SKIPPED: ${skipped}`]),
      ...(failed === undefined ? [] : [`  FAILED: ${failed}`]),
      ...rows.flatMap((row) => [
        line(cells(measurement, row)),
        ...(row.note === undefined ? [] : [`      ${row.note}`]),
      ]),
    ].join('\n'),
  )
  return [line(columns), ...blocks].join('\n')
}

/** The machine, one fact a line. */
export const facts = (machine: Machine): string =>
  Object.entries(machine)
    .map(([name, value]) => `${name.padEnd(13)} ${value}`)
    .join('\n')
