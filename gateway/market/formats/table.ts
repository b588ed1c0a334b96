/** An answer as a flat table: the same columns, under the same names, in every format that has columns. */
import type { Answer } from '../query.ts'
import type { BucketRow, ReadingRow } from '../row.ts'

/** A field of a table; undefined and null where there is nothing. */
export type Field = string | number | null | undefined

/** What a column holds: `time` is RFC 3339 in UTC, `integer` is up to 2^53 - 1. */
export type ColumnKind = 'time' | 'text' | 'number' | 'integer'

type ColumnOf<Row> = {
  readonly name: string
  readonly kind: ColumnKind
  /** Whether every row has a field here. */
  readonly isFull: boolean
  readonly field: (row: Row) => Field
}

/** A column, and its field in the row at a position from 0. */
export type Column = Omit<ColumnOf<never>, 'field'> & { readonly at: (row: number) => Field }

export type Table = { readonly length: number; readonly columns: readonly Column[] }

const tabled = <Row>(rows: readonly Row[], columns: readonly ColumnOf<Row>[]): Table => ({
  length: rows.length,
  columns: columns.map(({ field, ...column }) => ({ ...column, at: (row) => field(rows[row]!) })),
})

type Make<Row> = (name: string, kind: ColumnKind, field: (row: Row) => Field) => ColumnOf<Row>

const columnsFor = <Row>(): { readonly full: Make<Row>; readonly partial: Make<Row> } => ({
  full: (name, kind, field) => ({ name, kind, isFull: true, field }),
  partial: (name, kind, field) => ({ name, kind, isFull: false, field }),
})

const textOrNone = (words: readonly string[]): string | undefined => words.join(' ') || undefined

const readingColumns = (quantities: readonly string[]): ColumnOf<ReadingRow>[] => {
  const { full, partial } = columnsFor<ReadingRow>()
  return [
    full('time', 'time', ({ time }) => time),
    full('station', 'text', ({ station }) => station),
    full('sensor', 'text', ({ sensor }) => sensor),
    full('model', 'text', ({ model }) => model),
    ...quantities.map((name) => partial(name, 'number', ({ values }) => values[name])),
    partial('absent', 'text', ({ absent }) =>
      textOrNone(Object.entries(absent ?? {}).map(([name, reason]) => `${name}:${reason}`)),
    ),
    full('score', 'number', ({ quality }) => quality.score),
    partial('flags', 'text', ({ quality }) => textOrNone(quality.flags)),
    full('rules', 'text', ({ quality }) => quality.rules),
    full('seq', 'integer', ({ proof }) => proof.seq),
    full('place', 'integer', ({ proof }) => proof.place),
    partial('batch', 'integer', ({ proof }) => proof.batch),
    full('status', 'text', ({ proof }) => proof.status),
  ]
}

const bucketColumns = (quantities: readonly string[]): ColumnOf<BucketRow>[] => {
  const { full, partial } = columnsFor<BucketRow>()
  return [
    full('time', 'time', ({ time }) => time),
    full('station', 'text', ({ station }) => station),
    full('sensor', 'text', ({ sensor }) => sensor),
    ...quantities.map((name) => partial(name, 'number', ({ values }) => values[name])),
    ...quantities.map((name) => partial(`${name}_count`, 'integer', ({ counts }) => counts[name])),
  ]
}

/** The table of an answer with a column per quantity; those of intervals have another one with how many values there were. */
export const tableOf = (answer: Answer, quantities: readonly string[]): Table =>
  answer.kind === 'buckets'
    ? tabled(answer.rows, bucketColumns(quantities))
    : tabled(answer.rows, readingColumns(quantities))
