/** One JSON object (RFC 8259), a row per line. */
import type { Format } from './format.ts'
import { objectText } from './object.ts'

export const json = {
  name: 'json',
  title: 'one object with all rows',
  mediaType: 'application/json',
  contentType: 'application/json',
  isText: true,
  needs: [],
  render: (pages) =>
    objectText(pages, {
      constant: {},
      list: ({ rows }) => rows,
      *rows(page) {
        for (const row of page.rows) yield JSON.stringify(row)
      },
    }),
} as const satisfies Format
