/**
 * Apache Parquet: the columns of CSV with their types, Snappy-compressed, readable by pandas, DuckDB, Spark and others.
 * What JSON says beside its rows is in the file's key-value metadata, under the same names.
 */
import type { ParquetWriter, SchemaElement } from 'hyparquet-writer'
import type { Format, Pages } from './format.ts'
import { type Members, membersOf } from './members.ts'
import { type Column, type ColumnKind, type Field, tableOf } from './table.ts'

// Rows that are held at once, and for which a core is busy without a pause.
const groupRows = 5000

type Value = string | number | bigint | null

/** How each kind of column is stored; the writer takes a dictionary where that is shorter. */
const kinds = {
  time: {
    schema: {
      type: 'INT64',
      converted_type: 'TIMESTAMP_MILLIS',
      logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MILLIS' },
    },
    encoding: 'DELTA_BINARY_PACKED',
    value: (field) => BigInt(Date.parse(String(field))),
  },
  text: {
    schema: { type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } },
    encoding: undefined,
    value: (field) => field,
  },
  number: { schema: { type: 'DOUBLE' }, encoding: undefined, value: (field) => field },
  integer: { schema: { type: 'INT64' }, encoding: 'DELTA_BINARY_PACKED', value: (field) => BigInt(field) },
} as const satisfies Record<
  ColumnKind,
  {
    readonly schema: Omit<SchemaElement, 'name'>
    readonly encoding: 'DELTA_BINARY_PACKED' | undefined
    readonly value: (field: NonNullable<Field>) => Value
  }
>

const schemaOf = (columns: readonly Column[]): SchemaElement[] => [
  { name: 'rows', num_children: columns.length },
  ...columns.map(
    ({ name, kind, isFull }): SchemaElement => ({
      name,
      ...kinds[kind].schema,
      repetition_type: isFull ? 'REQUIRED' : 'OPTIONAL',
    }),
  ),
]

const fieldValue = ({ kind, at }: Column, row: number): Value => {
  const field = at(row)
  return field === null || field === undefined ? null : kinds[kind].value(field)
}

async function* files(pages: Pages, quantities: readonly string[]): AsyncGenerator<Uint8Array> {
  // Loaded by whoever asks for Parquet first: most hubs never need it.
  const { ByteWriter, ParquetWriter } = await import('hyparquet-writer')
  const bytes = new ByteWriter()
  const written = (): Uint8Array => {
    const piece = bytes.getBytes().slice()
    bytes.index = 0
    return piece
  }
  let writer: ParquetWriter | undefined
  let held: { readonly column: Column; readonly data: Value[] }[] = []
  const endGroup = (): Uint8Array => {
    writer!.write({
      columnData: held.map(({ column: { name, kind }, data }) => {
        const { encoding } = kinds[kind]
        return { name, data, ...(encoding === undefined ? {} : { encoding }) }
      }),
      rowGroupSize: groupRows,
    })
    for (const { data } of held) data.length = 0
    return written()
  }
  let last: Members | undefined
  for await (const page of pages) {
    last = membersOf(page)
    const { length, columns } = tableOf(page, quantities)
    writer ??= new ParquetWriter({ writer: bytes, schema: schemaOf(columns), createdBy: 'groundtruth' })
    held = columns.map((column, at) => ({ column, data: held[at]?.data ?? [] }))
    for (let row = 0; row < length; row++) {
      for (const { column, data } of held) data.push(fieldValue(column, row))
      if (held[0]!.data.length === groupRows) yield endGroup()
    }
  }
  if (writer === undefined || last === undefined) throw new Error('an answer has at least one page')
  if (held[0]!.data.length > 0) yield endGroup()
  writer.kvMetadata = Object.entries({ ...last.head, ...last.tail }).flatMap(([key, value]) =>
    value === null ? [] : [{ key, value }],
  )
  writer.finish()
  yield written()
}

export const parquet = {
  name: 'parquet',
  title: 'an Apache Parquet file',
  mediaType: 'application/vnd.apache.parquet',
  contentType: 'application/vnd.apache.parquet',
  isText: false,
  needs: ['columns'],
  render: (pages, { columns }) => files(pages, columns),
} as const satisfies Format
