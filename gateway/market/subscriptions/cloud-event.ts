/** Readings as CloudEvents 1.0 in the JSON format, one by one or in batches (JSON Event Format s4). */
import type { ReadingRow } from '../row.ts'

/** A row, and where it stands for ever: `index` in the evidence, `place` in its envelope. */
export type PlacedRow = { readonly index: number; readonly place: number; readonly row: ReadingRow }

export const eventContentType = 'application/cloudevents+json; charset=utf-8'
export const batchContentType = 'application/cloudevents-batch+json; charset=utf-8'

export const readingEventType = 'groundtruth.reading.v1'

/** The same row has the same id whenever it is sent, so that a receiver sees what it has already. */
export const eventId = ({ index, place }: Pick<PlacedRow, 'index' | 'place'>): string => `${index}-${place}`

/** One reading as an event of a source (a URI reference). */
export const readingEvent = (source: string, placed: PlacedRow) => {
  const { row } = placed
  return {
    specversion: '1.0',
    id: eventId(placed),
    source,
    type: readingEventType,
    subject: `${row.station}/${row.sensor}`,
    time: row.time,
    datacontenttype: 'application/json',
    data: row,
  } as const
}

/** The body of a request with rows, at least one: a batch, or where `single` the first alone as it is. */
export const eventBody = (
  source: string,
  rows: readonly PlacedRow[],
  single: boolean,
): { readonly contentType: string; readonly body: string } =>
  single
    ? { contentType: eventContentType, body: JSON.stringify(readingEvent(source, rows[0]!)) }
    : { contentType: batchContentType, body: JSON.stringify(rows.map((row) => readingEvent(source, row))) }
