/** The port of an output format: rows in, text or bytes out, a piece at a time. */
import type { Answer } from '../query.ts'

/** What a format may need beside the rows. What it does not ask for, it finds empty. */
export type FormatContext = {
  /** Names of all quantities that the answer's rows and its next pages can hold. */
  readonly columns: readonly string[]
  /** The H3 cell of a station, where its owner tells one. */
  readonly cellOf: (station: string) => string | undefined
}

/**
 * An answer as one or more pages of one query, in order, at least one: the first says which span, the last whether there
 * is more. Each is read when the rows of the one before are written.
 */
export type Pages = Iterable<Answer> | AsyncIterable<Answer>

/** A rendered answer, in order; text is UTF-8. Nothing is made before it is read. */
export type Pieces = Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>

/**
 * One format. `name` is what `format=` takes; `mediaType` is matched with the Accept header, `contentType` is sent.
 * `isText` says whether a person could read it. `needs` are the parts of the context that it asks for: each costs a look
 * somewhere. `render` gives all pages as one answer, in pieces.
 */
export type Format = {
  readonly name: string
  readonly title: string
  readonly mediaType: string
  readonly contentType: string
  readonly isText: boolean
  readonly needs: readonly ('columns' | 'cells')[]
  render(pages: Pages, context: FormatContext): Pieces
}
