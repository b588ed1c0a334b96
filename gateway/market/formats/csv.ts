/** CSV (RFC 4180) with a header line; one column per quantity, the same ones on every page of a query. */
import type { Answer } from '../query.ts'
import type { BucketRow, ReadingRow } from '../row.ts'
import type { Format, Pages } from './format.ts'

/** A field; one that a spreadsheet would run as a formula gets an apostrophe in front. */
const field = (value: string | number | null | undefined): string => {
  if (value === null || value === undefined) return ''
  if (typeof value === 'number') return String(value)
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

const line = (fields: readonly (string | number | null | undefined)[]): string =>
  `${fields.map(field).join(',')}\r\n`

const readingTail = ['absent', 'score', 'flags', 'rules', 'seq', 'place', 'batch', 'status'] as const

const readingLine = (row: ReadingRow, columns: readonly string[]): string =>
  line([
    row.time,
    row.station,
    row.sensor,
    row.model,
    ...columns.map((name) => row.values[name]),
    Object.entries(row.absent ?? {})
      .map(([name, reason]) => `${name}:${reason}`)
      .join(' '),
    row.quality.score,
    row.quality.flags.join(' '),
    row.quality.rules,
    row.proof.seq,
    row.proof.place,
    row.proof.batch,
    row.proof.status,
  ])

const bucketLine = (row: BucketRow, columns: readonly string[]): string =>
  line([
    row.time,
    row.station,
    row.sensor,
    ...columns.map((name) => row.values[name]),
    ...columns.map((name) => row.counts[name]),
  ])

const header = ({ kind }: Answer, columns: readonly string[]): string =>
  kind === 'buckets'
    ? line(['time', 'station', 'sensor', ...columns, ...columns.map((name) => `${name}_count`)])
    : line(['time', 'station', 'sensor', 'model', ...columns, ...readingTail])

async function* lines(pages: Pages, columns: readonly string[]) {
  let isFirst = true
  for await (const page of pages) {
    if (isFirst) yield header(page, columns)
    isFirst = false
    if (page.kind === 'buckets') for (const row of page.rows) yield bucketLine(row, columns)
    else for (const row of page.rows) yield readingLine(row, columns)
  }
}

export const csv = {
  name: 'csv',
  title: 'a table for spreadsheets',
  mediaType: 'text/csv',
  contentType: 'text/csv; charset=utf-8; header=present',
  isText: true,
  needsColumns: true,
  render: (pages, { columns }) => lines(pages, columns),
} as const satisfies Format
