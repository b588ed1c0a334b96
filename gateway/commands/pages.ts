/** Puts the pages of one query together, in the format that they came in. */
import type { Format } from '../client/pages.ts'
import { BuyingError } from './buying-error.ts'

type Page = Record<string, unknown> & { next: unknown }

const lists = ['readings', 'buckets', 'features'] as const

const rowsOf = (page: Page): { readonly name: (typeof lists)[number]; readonly rows: unknown[] } => {
  for (const name of lists) {
    const rows = page[name]
    if (Array.isArray(rows)) return { name, rows }
  }
  throw new BuyingError('a page has no list of rows')
}

const parsePage = (text: string): Page => {
  try {
    const page: unknown = JSON.parse(text)
    if (typeof page === 'object' && page !== null && 'next' in page) return page as Page
  } catch {
    // Told below.
  }
  throw new BuyingError('a page is not the JSON that was asked for')
}

const joinObjects = (texts: readonly string[]): string => {
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

/** How pages of text become one, and how many rows a page has. */
type TextForm = {
  readonly join: (texts: readonly string[]) => string
  readonly count: (text: string) => number
}

const objects: TextForm = { join: joinObjects, count: (text) => rowsOf(parsePage(text)).rows.length }

const textForms: Readonly<Partial<Record<Format, TextForm>>> = {
  json: objects,
  geojson: objects,
  // No field of a reading has a line end in it.
  csv: { join: joinCsv, count: (text) => Math.max(0, text.split(csvEnd).length - 2) },
  ndjson: { join: (texts) => texts.join(''), count: (text) => text.split('\n').length - 1 },
}

/** Whether each page of a format has to be a file of its own: Parquet files have their directory at the end. */
export const isFilePerPage = (format: Format): boolean => format === 'parquet'

/** What happens to pages that are not put together as one document; undefined where there is nothing to say. */
export const pagesNote = (format: Format, pages: number): string | undefined =>
  format === 'cbor' && pages > 1 ? `a sequence of ${pages} CBOR maps (RFC 8742), one a page` : undefined

/**
 * All pages as one file, or one each, and their rows counted where that can be told from text. A page that stays alone is
 * as it came, byte for byte; CBOR becomes a sequence (RFC 8742).
 */
export const joinPages = (
  format: Format,
  pages: readonly Uint8Array[],
): { readonly files: readonly Uint8Array[]; readonly rows?: number } => {
  const form = textForms[format]
  if (form === undefined) return { files: isFilePerPage(format) ? pages : [Buffer.concat(pages)] }
  const texts = pages.map((page) => Buffer.from(page).toString('utf8'))
  const rows = texts.reduce((sum, text) => sum + form.count(text), 0)
  return { files: [texts.length === 1 ? pages[0]! : Buffer.from(form.join(texts))], rows }
}
