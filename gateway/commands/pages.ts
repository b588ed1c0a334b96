/** Puts the pages of one query together, in the format that they came in. */
import { BuyingError } from './asking.ts'

export type FormatName = 'json' | 'csv' | 'ndjson'

type JsonPage = Record<string, unknown> & { next: unknown }

const rowsOf = (page: JsonPage): { readonly name: 'readings' | 'buckets'; readonly rows: unknown[] } => {
  const name = 'buckets' in page ? 'buckets' : 'readings'
  const rows = page[name]
  if (!Array.isArray(rows)) throw new BuyingError(`a page has no list of ${name}`)
  return { name, rows }
}

const parsePage = (text: string): JsonPage => {
  try {
    const page: unknown = JSON.parse(text)
    if (typeof page === 'object' && page !== null && 'next' in page) return page as JsonPage
  } catch {
    // Told below.
  }
  throw new BuyingError('a page is not the JSON that was asked for')
}

const joinJson = (texts: readonly string[]): string => {
  const pages = texts.map(parsePage)
  const { name } = rowsOf(pages[0]!)
  const { [name]: _, next: __, ...head } = pages[0]!
  const rows = pages.flatMap((page) => rowsOf(page).rows)
  const opening = JSON.stringify(head).slice(0, -1)
  const separator = opening === '{' ? '' : ','
  return `${opening}${separator}"${name}":[\n${rows.map((row) => JSON.stringify(row)).join(',\n')}\n],"next":null}\n`
}

const csvEnd = '\r\n'

const joinCsv = (texts: readonly string[]): string => {
  const header = texts[0]!.slice(0, texts[0]!.indexOf(csvEnd) + csvEnd.length)
  return texts
    .map((text, at) => {
      if (!text.startsWith(header)) throw new BuyingError('the pages have different columns')
      return at === 0 ? text : text.slice(header.length)
    })
    .join('')
}

const join = { json: joinJson, csv: joinCsv, ndjson: (texts: readonly string[]) => texts.join('') } as const

const count = {
  json: (text: string): number => rowsOf(parsePage(text)).rows.length,
  // No field of a reading has a line end in it.
  csv: (text: string): number => Math.max(0, text.split(csvEnd).length - 2),
  ndjson: (text: string): number => text.split('\n').length - 1,
} as const

/** All pages as one document, and its rows counted. A single page stays as it came, byte for byte. */
export const joinPages = (
  format: FormatName,
  pages: readonly Uint8Array[],
): { readonly bytes: Uint8Array; readonly rows: number } => {
  const texts = pages.map((page) => Buffer.from(page).toString('utf8'))
  const rows = texts.reduce((sum, text) => sum + count[format](text), 0)
  return { bytes: texts.length === 1 ? pages[0]! : Buffer.from(join[format](texts)), rows }
}
