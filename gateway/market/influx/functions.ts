/** SELECT with functions: what was gathered, as rows. */
import { type Tally, tallyValue } from './cells.ts'
import { extremeTime, searchEveryMs } from './extreme.ts'
import { fillColumn, gridOf } from './fill.ts'
import { type Asked, type OpenGroup, type OpenRow, openGather, quantityOf } from './gather.ts'
import { gatherIntervals, isPicked } from './intervals.ts'
import { gatherPicked } from './picked.ts'
import { checkCells, type Group, type MadeRow, type Part } from './rows.ts'
import { InfluxRefusal } from './token.ts'

// As many as the query core takes; first and last go past it.
const mostIntervals = 20_000

// Each series is searched for the time of its least or most value.
const mostSearched = 100

// An interval of the longest length is whatever is asked for.
const wholeMs = 366 * 86_400_000

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b))

/** The one function that stands alone and without intervals: its row has the time of its value. */
const ownTime = ({ statement: { interval }, calls: [call, ...others] }: Asked) => {
  if (interval !== undefined || call === undefined || others.length > 0) return undefined
  return isPicked(call) ? 'picked' : call.fn === 'min' || call.fn === 'max' ? 'searched' : undefined
}

/** What a row is made of: values of intervals by sensor, and readings that were picked. */
const partsOf = (row: OpenRow | undefined, timeMs: number, untilMs: number): Part[] => {
  if (row === undefined) return []
  const added = [...row.sensors].map(([{ station }, of]) => ({ station, values: of.size, timeMs, untilMs }))
  const picked = row.cells.flatMap(({ picked: one }): Part[] =>
    one === undefined
      ? []
      : [{ station: one.station, values: 1, timeMs: one.timeMs, untilMs: one.timeMs + 1, score: one.score }],
  )
  return [...added, ...picked]
}

const check = (asked: Asked, groups: readonly OpenGroup[], gridLength: number | undefined): void => {
  const rows = groups.reduce((sum, group) => sum + (gridLength ?? group.rows.size), 0)
  checkCells(rows, asked.statement.columns.length)
  if (ownTime(asked) === 'searched' && groups.length > mostSearched)
    throw new InfluxRefusal(
      `${asked.calls[0]!.fn}() alone is told with its time, for ${mostSearched} series at most: add GROUP BY time(), another function, or a condition`,
    )
}

/** Series of what the calls give. */
export const functionGroups = async (asked: Asked): Promise<Group[]> => {
  const { statement, calls, wanted } = asked
  const { interval, fill, descending } = statement
  const { fromMs, toMs } = wanted
  if (interval !== undefined && (toMs - fromMs) / interval.everyMs > mostIntervals)
    throw new InfluxRefusal(
      `this span has more than ${mostIntervals} intervals: take a longer one in time(), or a shorter span`,
    )
  if (interval === undefined && fill !== 'null' && fill !== 'none')
    throw new InfluxRefusal(`fill(${fill}) goes with GROUP BY time()`)
  const picked = calls.flatMap((call, at) => (isPicked(call) ? [at] : []))

  const timed = ownTime(asked)
  const everyMs =
    interval !== undefined
      ? gcd(interval.everyMs, Math.abs(interval.offsetMs % interval.everyMs))
      : timed === 'searched'
        ? searchEveryMs(fromMs, toMs)
        : wholeMs
  const gather = openGather(asked)
  await gatherIntervals(asked, everyMs, gather)
  if (picked.length > 0) await gatherPicked(asked, picked, gather)

  const groups = gather.groups().filter(({ rows }) => rows.size > 0)
  const grid = interval === undefined || fill === 'none' ? undefined : gridOf(fromMs, toMs, interval)
  check(asked, groups, grid?.length)

  const timeOf = async (group: OpenGroup, cell: Tally | undefined, start: number): Promise<number> => {
    if (cell === undefined || timed === undefined) return start
    return timed === 'picked' ? cell.picked!.timeMs : extremeTime(asked, group, cell, everyMs)
  }
  const made: Group[] = []
  for (const group of groups) {
    const starts = grid === undefined ? [...group.rows.keys()].sort((a, b) => a - b) : [...grid]
    if (descending) starts.reverse()
    const columns = calls.map((call, at) => {
      const values = starts.map((start) =>
        tallyValue(group.rows.get(start)?.cells[at], call.fn, quantityOf(call)),
      )
      if (interval === undefined) return fillColumn(values, 'none', { isWhole: false, nothing: null })
      const { code } = quantityOf(call)
      const isCount = call.fn === 'count'
      // Of what none of these sensors measures there is not even a number.
      const isMeasured = group.sensors.some(({ quantities }) => quantities.includes(code))
      return fillColumn(values, fill, { isWhole: isCount, nothing: isCount && isMeasured ? 0 : null })
    })
    const parts = starts.map((start) =>
      partsOf(group.rows.get(start), start, interval === undefined ? toMs : start + interval.everyMs),
    )
    const rows: MadeRow[] = []
    for (const [place, start] of starts.entries())
      rows.push({
        timeMs: await timeOf(group, group.rows.get(start)?.cells[0], start),
        cells: columns.map(({ values }) => values[place]!),
        parts: parts[place]!,
        filledFrom: columns.flatMap(({ takenFrom }) => takenFrom(place).map((from) => parts[from]!)),
      })
    made.push({ tags: group.sensors[0]!, rows })
  }
  return made
}
