/** Answers to SHOW: what a query builder offers. They cost nothing. */
import type { SensorSummary } from '../../store/store.ts'
import { fieldNames } from './columns.ts'
import type { ShowStatement } from './influxql.ts'
import type { Row, Series } from './json.ts'
import { database, influxTags, measurement, policy } from './names.ts'
import { heardSensors, meantSensors, quantitiesOf } from './sensors.ts'

const listed = (
  name: string | undefined,
  columns: readonly string[],
  values: readonly Row['cells'][],
  { limit, offset }: ShowStatement,
): Series[] => {
  const rows = values
    .slice(offset, limit === undefined ? undefined : offset + limit)
    .map((cells) => ({ cells }))
  return rows.length === 0 ? [] : [{ ...(name === undefined ? {} : { name }), columns, rows }]
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** The series of an answer. The only measurement is there as soon as a sensor is. */
export const answerShow = (statement: ShowStatement, all: readonly SensorSummary[]): Series[] => {
  const { what, names, source } = statement
  const list = (
    ...[name, columns, values]: [string | undefined, readonly string[], readonly Row['cells'][]]
  ) => listed(name, columns, values, statement)
  if (what === 'databases') return list('databases', ['name'], [[database]])
  if (what === 'retention policies')
    return list(
      undefined,
      ['name', 'duration', 'shardGroupDuration', 'replicaN', 'default'],
      [[policy, '0s', '168h0m0s', 1, true]],
    )
  if (source !== undefined && source.measurement !== measurement) return []
  const sensors = heardSensors(meantSensors(all, statement.where), statement.where)
  if (sensors.length === 0) return []
  switch (what) {
    case 'measurements':
      return list('measurements', ['name'], names(measurement) ? [[measurement]] : [])
    case 'tag keys':
      return list(
        measurement,
        ['tagKey'],
        influxTags.map((tag) => [tag]),
      )
    case 'field keys':
      return list(
        measurement,
        ['fieldKey', 'fieldType'],
        fieldNames(quantitiesOf(all)).map((name) => [name, 'float']),
      )
    case 'series': {
      const keys = sensors.map((one) =>
        [measurement, ...influxTags.map((tag) => `${tag}=${one[tag]}`)].join(','),
      )
      return list(
        undefined,
        ['key'],
        keys.sort(compare).map((key) => [key]),
      )
    }
    case 'tag values': {
      const values = influxTags.filter(names).flatMap((tag) => {
        const different = [...new Set(sensors.map((one) => one[tag]))].sort(compare)
        return different.map((value) => [tag, value] as const)
      })
      return list(measurement, ['key', 'value'], values)
    }
  }
}
