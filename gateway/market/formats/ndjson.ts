/** One JSON object per line, a line per row; the link to the next page is in the Link header. */
import type { Format } from './format.ts'

export const ndjson = {
  name: 'ndjson',
  title: 'one object per line',
  mediaType: 'application/x-ndjson',
  contentType: 'application/x-ndjson',
  isText: true,
  needs: [],
  async *render(pages) {
    for await (const { rows } of pages) for (const row of rows) yield `${JSON.stringify(row)}\n`
  },
} as const satisfies Format
