/** Columns of an answer: what stands in them, and what they are called. */
import { publicQuantities } from '../parameters.ts'
import type { SelectColumn, SelectStatement } from './influxql.ts'
import { type InfluxTag, influxTags, isTag, scoreField } from './names.ts'

export type Column = Exclude<SelectColumn, { readonly kind: 'all' | 'time' }>

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** Names of the fields there are, by the quantities (codes) that sensors have; in the order of the names. */
export const fieldNames = (known: ReadonlySet<number>): string[] =>
  [...publicQuantities.filter(({ code }) => known.has(code)).map(({ name }) => name), scoreField].sort(
    compare,
  )

/** The columns of a statement behind the time; `*` is every field there is, and every tag that is not grouped by. */
export const columnsOf = ({ columns, groupTags }: SelectStatement, known: ReadonlySet<number>): Column[] => {
  const everything = (): Column[] =>
    [...fieldNames(known), ...influxTags.filter((tag) => !groupTags.includes(tag))]
      .sort(compare)
      .map((field) => ({ kind: 'plain', field }))
  return columns.flatMap((column): Column[] =>
    column.kind === 'all' ? everything() : column.kind === 'time' ? [] : [column],
  )
}

/** Names of all columns, the time first; who has no name of its own gets a number behind where others are called so. */
export const namesOf = (statement: SelectStatement, columns: readonly Column[]): string[] => {
  const time = statement.columns.find(({ kind }) => kind === 'time')
  const taken = new Map<string, number>()
  for (const { name } of columns) if (name !== undefined) taken.set(name, 1)
  const named = columns.map((column) => {
    if (column.name !== undefined) return column.name
    const plain = column.kind === 'call' ? column.fn : column.field
    let count = taken.get(plain)
    if (count === undefined) {
      taken.set(plain, 1)
      return plain
    }
    while (taken.has(`${plain}_${count}`)) count++
    taken.set(plain, count + 1)
    taken.set(`${plain}_${count}`, 1)
    return `${plain}_${count}`
  })
  return [time?.kind === 'time' && time.name !== undefined ? time.name : 'time', ...named]
}

export const isTagColumn = (column: Column): column is Column & { readonly field: InfluxTag } =>
  column.kind === 'plain' && isTag(column.field)
