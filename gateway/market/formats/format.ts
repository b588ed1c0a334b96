/** The port of an output format: rows in, text out, a piece at a time. */
import type { Answer } from '../query.ts'

/** What a format may need beside the rows: names of all quantities that the answer's rows and its next pages can hold. */
export type FormatContext = { readonly columns: readonly string[] }

/**
 * One format. `name` is what `format=` takes; `mediaType` is matched with the Accept header, `contentType` is sent.
 * `needsColumns` asks for `columns`, which cost a look at the store. `render` gives the whole answer in pieces.
 */
export type Format = {
  readonly name: string
  readonly title: string
  readonly mediaType: string
  readonly contentType: string
  readonly needsColumns: boolean
  render(answer: Answer, context: FormatContext): Iterable<string>
}
