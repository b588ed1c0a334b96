/** CSV (RFC 4180) with a header line; one column per quantity, the same ones on every page of a query. */
import type { Format } from './format.ts'
import { type Field, tableOf } from './table.ts'

/** A field; one that a spreadsheet would run as a formula gets an apostrophe in front. */
const escaped = (value: Field): string => {
  if (value === null || value === undefined) return ''
  if (typeof value === 'number') return String(value)
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

const line = (fields: readonly Field[]): string => `${fields.map(escaped).join(',')}\r\n`

export const csv = {
  name: 'csv',
  title: 'a table for spreadsheets',
  mediaType: 'text/csv',
  contentType: 'text/csv; charset=utf-8; header=present',
  isText: true,
  needs: ['columns'],
  async *render(pages, context) {
    let isFirst = true
    for await (const page of pages) {
      const { length, columns } = tableOf(page, context.columns)
      if (isFirst) yield line(columns.map(({ name }) => name))
      isFirst = false
      for (let row = 0; row < length; row++) yield line(columns.map(({ at }) => at(row)))
    }
  },
} as const satisfies Format
