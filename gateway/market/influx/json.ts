/** Answers in InfluxDB's JSON (HTTP API 1.x). */

/** Unit of times in an answer; `rfc3339` where none was asked for. */
export type Epoch = 'rfc3339' | 'ns' | 'u' | 'ms' | 's' | 'm' | 'h'

export type Cell = string | number | boolean | null

/** A row; with `timeMs` (UTC) its time stands before the cells. */
export type Row = { readonly timeMs?: number; readonly cells: readonly Cell[] }

export type Series = {
  readonly name?: string
  readonly tags?: Readonly<Record<string, string>>
  readonly columns: readonly string[]
  readonly rows: readonly Row[]
}

/** What one statement is answered with. */
export type Result = { readonly series: readonly Series[] } | { readonly error: string }

const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const

/** A time in a unit, whole ones; RFC 3339 without zeros at the end of the fraction. */
const timeIn = (epoch: Epoch, ms: number): string | number => {
  switch (epoch) {
    case 'rfc3339':
      return new Date(ms).toISOString().replace(/\.?0{0,3}Z$/, 'Z')
    case 'ns':
      // Beyond 2^53, and yet written with all digits right: of the 19 only 13 are not zero.
      return ms * 1e6
    case 'u':
      return ms * 1000
    default:
      return Math.floor(ms / unitMs[epoch])
  }
}

const seriesJson = ({ name, tags, columns, rows }: Series, epoch: Epoch): object => ({
  ...(name === undefined ? {} : { name }),
  ...(tags === undefined ? {} : { tags }),
  columns,
  values: rows.map(({ timeMs, cells }) => (timeMs === undefined ? cells : [timeIn(epoch, timeMs), ...cells])),
})

/** The whole body, a line end included. */
export const bodyJson = (results: readonly Result[], epoch: Epoch, pretty: boolean): string => {
  const shown = results.map((result, statement_id) => {
    if ('error' in result) return { statement_id, error: result.error }
    const series = result.series.map((one) => seriesJson(one, epoch))
    return { statement_id, ...(series.length === 0 ? {} : { series }) }
  })
  return `${JSON.stringify({ results: shown }, null, pretty ? 4 : 0)}\n`
}
