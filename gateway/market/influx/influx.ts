/** The door for clients of InfluxDB 1.x: InfluxQL over the query core. What of it is answered is an allow-list. */
import type { PricedRow } from '../../sales/price.ts'
import type { SensorSummary } from '../../store/store.ts'
import { startOf } from './fill.ts'
import type { SelectStatement, Statement } from './influxql.ts'
import { bodyJson, type Result } from './json.ts'
import { database, measurement, policy } from './names.ts'
import { parseInfluxql } from './parse.ts'
import type { InfluxRequest } from './request.ts'
import type { Box } from './rows.ts'
import { answerSelect, type SelectSources, spanOf } from './select.ts'
import { answerShow } from './show.ts'
import { InfluxRefusal } from './token.ts'

/** What answers need beside the request. */
export type InfluxSources = Omit<SelectSources, 'sensors'> & {
  readonly sensors: () => Promise<readonly SensorSummary[]>
}

/** An answer with what it costs; `box` is undefined where not one box holds what was given, and nothing else. */
export type InfluxAnswer = {
  readonly body: string
  readonly priced: readonly PricedRow[]
  readonly box: Box | undefined
}

/** Statements of a request. Throws InfluxRefusal with InfluxDB's words around what is wrong. */
export const readStatements = ({ query, bound }: InfluxRequest, nowMs: number): readonly Statement[] => {
  const parsed = parseInfluxql(query, bound, nowMs)
  if (!parsed.ok) throw new InfluxRefusal(`error parsing query: ${parsed.detail}`)
  return parsed.statements
}

const checkSource = (statement: Statement, request: InfluxRequest): void => {
  if (statement.kind === 'show' && statement.what === 'databases') return
  const { source } = statement
  const named = source?.database ?? (statement.kind === 'show' ? statement.database : undefined)
  const asked = named ?? request.database
  if (asked === '') throw new InfluxRefusal('database name required')
  if (asked !== database) throw new InfluxRefusal(`database not found: ${asked.slice(0, 64)}`)
  const kept = source?.policy ?? request.policy
  if (kept !== '' && kept !== policy)
    throw new InfluxRefusal(`retention policy not found: ${kept.slice(0, 64)}`)
  if (statement.kind === 'select' && statement.source.measurement !== measurement)
    throw new InfluxRefusal(
      `there is no measurement "${statement.source.measurement.slice(0, 64)}"; there is ${measurement}`,
    )
}

/** Answers statements one after the other; after one that fails the others are not executed, as in InfluxDB. */
export const answerInflux = async (
  statements: readonly Statement[],
  request: InfluxRequest,
  sources: InfluxSources,
): Promise<InfluxAnswer> => {
  const results: Result[] = []
  const priced: PricedRow[] = []
  const boxes: (Box | undefined)[] = []
  let failed = false
  for (const statement of statements) {
    if (failed) {
      results.push({ error: 'not executed' })
      continue
    }
    try {
      checkSource(statement, request)
      const sensors = await sources.sensors()
      if (statement.kind === 'show') results.push({ series: answerShow(statement, sensors) })
      else {
        const selected = await answerSelect(statement, { ...sources, sensors })
        results.push({ series: selected.series })
        for (const row of selected.priced) priced.push(row)
        if (selected.priced.length > 0) boxes.push(selected.box)
      }
    } catch (error) {
      if (!(error instanceof InfluxRefusal)) throw error
      failed = true
      results.push({ error: error.message })
    }
  }
  return {
    body: bodyJson(results, request.epoch, request.pretty),
    priced,
    box: boxes.length === 1 ? boxes[0] : undefined,
  }
}

// Bytes that were sold are kept for a day; a panel is given the same ones for so long at most.
const mostSameMs = 3_600_000

/** How a statement is the same as another one: everything but its times, and these as they are asked for here. */
const textOf = ({ where, ...rest }: SelectStatement, ...span: readonly (number | string)[]): string =>
  JSON.stringify([rest, where.tags ?? null, where.minScore ?? null, ...span])

/** What a request asks for in one text, its times resolved. */
export const resolvedText = (
  statements: readonly Statement[],
  request: InfluxRequest,
  nowMs: number,
): string => {
  const { database: db, policy: rp, epoch, pretty } = request
  const texts = statements.map((statement) => {
    const { fromMs = 0, toMs = nowMs } = statement.where
    return statement.kind === 'select' ? textOf(statement, fromMs, toMs) : JSON.stringify(statement)
  })
  return JSON.stringify([db, rp, epoch, pretty, texts])
}

/**
 * One text for all requests of one account that one answer serves: spans that are over, and intervals until the last of
 * them is over (an hour at most). Undefined where every request wants what is newest.
 */
export const sharedText = (
  statements: readonly Statement[],
  request: InfluxRequest,
  nowMs: number,
): string | undefined => {
  const { database: db, policy: rp, epoch, pretty } = request
  let sameMs = mostSameMs
  const texts: string[] = []
  for (const statement of statements) {
    if (statement.kind === 'show' || statement.where.fromMs === undefined) return undefined
    const { fromMs, toMs } = spanOf(statement, nowMs)
    const { interval } = statement
    // Without an end it is the newest that is wanted, and that is another one each time.
    const isOver =
      interval === undefined
        ? statement.where.toMs !== undefined && toMs <= nowMs
        : toMs <= startOf(nowMs, interval)
    if (isOver) texts.push(textOf(statement, 'over', fromMs, toMs))
    else if (interval === undefined) return undefined
    else {
      texts.push(textOf(statement, 'going on', startOf(fromMs, interval), startOf(toMs, interval)))
      sameMs = Math.min(sameMs, interval.everyMs)
    }
  }
  return JSON.stringify([db, rp, epoch, pretty, texts, Math.floor(nowMs / sameMs)])
}
