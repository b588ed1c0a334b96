/** One JSON object (RFC 8259), a row per line. */
import { durationText, timeText } from '../time.ts'
import type { Format } from './format.ts'

export const json = {
  name: 'json',
  title: 'one object with all rows',
  mediaType: 'application/json',
  contentType: 'application/json',
  needsColumns: false,
  *render(answer) {
    const member = (name: string, value: string): string => `"${name}":${JSON.stringify(value)},`
    yield '{'
    if (answer.kind !== 'latest')
      yield member('from', timeText(answer.fromMs)) + member('to', timeText(answer.toMs))
    if (answer.kind === 'buckets')
      yield member('every', durationText(answer.everyMs)) + member('fn', answer.fn)
    yield answer.kind === 'buckets' ? '"buckets":[' : '"readings":['
    let separator = '\n'
    for (const row of answer.rows) {
      yield separator + JSON.stringify(row)
      separator = ',\n'
    }
    yield answer.kind === 'latest' ? '\n]}\n' : `\n],"next":${JSON.stringify(answer.next)}}\n`
  },
} as const satisfies Format
