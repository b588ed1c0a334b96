/**
 * What an export is, for programs that load data sets: Croissant 1.0 of MLCommons
 * (docs.mlcommons.org/croissant/docs/croissant-spec.html), JSON-LD over schema.org. Names of sections are that document's.
 */
import { quantityNamed } from '../../reading/quantity.ts'
import type { Format } from '../formats/format.ts'
import { type ColumnKind, tableOf } from '../formats/table.ts'
import type { JsonLd } from '../json-ld.ts'
import { licenceAddress, licencesOf } from '../licence.ts'
import type { Plan } from '../query.ts'
import { stampText, timeText } from '../time.ts'
import type { About, AboutStation, ExportFile } from './book.ts'

/** An export that is done, as it is described. `base` is where the API is, without a slash at the end. */
export type Described = {
  readonly base: string
  readonly network: string
  readonly id: string
  readonly plan: Plan
  readonly format: Pick<Format, 'name' | 'mediaType' | 'title'>
  readonly file: ExportFile
  readonly about: About
  readonly doneMs: number
}

// Appendix 1, JSON-LD context, with the terms that the published data sets add to it.
const context = {
  '@language': 'en',
  '@vocab': 'https://schema.org/',
  citeAs: 'cr:citeAs',
  column: 'cr:column',
  conformsTo: 'dct:conformsTo',
  cr: 'http://mlcommons.org/croissant/',
  data: { '@id': 'cr:data', '@type': '@json' },
  dataType: { '@id': 'cr:dataType', '@type': '@vocab' },
  dct: 'http://purl.org/dc/terms/',
  examples: { '@id': 'cr:examples', '@type': '@json' },
  extract: 'cr:extract',
  field: 'cr:field',
  fileObject: 'cr:fileObject',
  fileProperty: 'cr:fileProperty',
  fileSet: 'cr:fileSet',
  format: 'cr:format',
  includes: 'cr:includes',
  isLiveDataset: 'cr:isLiveDataset',
  jsonPath: 'cr:jsonPath',
  key: 'cr:key',
  parentField: 'cr:parentField',
  path: 'cr:path',
  recordSet: 'cr:recordSet',
  references: 'cr:references',
  regex: 'cr:regex',
  repeated: 'cr:repeated',
  replace: 'cr:replace',
  sc: 'https://schema.org/',
  separator: 'cr:separator',
  source: 'cr:source',
  subField: 'cr:subField',
  transform: 'cr:transform',
} as const

// Loaders know these names of formats, which are older than the registered ones.
const loaderTypes: Readonly<Record<string, string>> = {
  parquet: 'application/x-parquet',
  ndjson: 'application/jsonlines',
}

// Data types, DataType: the atomic ones.
const dataTypes: Readonly<Record<ColumnKind, string>> = {
  time: 'sc:DateTime',
  text: 'sc:Text',
  number: 'sc:Float',
  integer: 'sc:Integer',
}

const meanings: Readonly<Record<string, string>> = {
  time: 'When it was measured, or the start of the interval; RFC 3339, UTC',
  station: 'Id of the station that signed it',
  sensor: 'Id of the sensor at its station',
  model: 'Model of the sensor',
  absent: 'Quantities without a value, each with the reason, as quantity:reason',
  score: 'How good it is, from 0 to 1',
  flags: 'What is doubtful, as quantity:code or code',
  rules: 'Version of the rules that gave score and flags',
  seq: 'Sequence number of the signed envelope of the station',
  place: 'Position in that envelope, from 0',
  batch: 'Number of the batch whose root is on the chain',
  status: 'How far its proof had come when the file was made',
}

const meaningOf = (column: string): string => {
  const quantity = quantityNamed(column)
  if (quantity !== undefined) return `${quantity.title}${quantity.unit && `, in ${quantity.unit}`}`
  const counted = quantityNamed(column.replace(/_count$/, ''))
  return counted === undefined ? meanings[column]! : `How many values of ${counted.name} were taken together`
}

const quality = new Set(['score', 'flags', 'rules'])
const proof = new Set(['seq', 'place', 'batch', 'status'])

/** Where JSON has what a table has in a column. */
const jsonPath = (column: string, quantities: readonly string[]): string => {
  if (quantities.includes(column)) return `$.values.${column}`
  const counted = column.replace(/_count$/, '')
  if (counted !== column && quantities.includes(counted)) return `$.counts.${counted}`
  const group = quality.has(column) ? 'quality.' : proof.has(column) ? 'proof.' : ''
  return `$.${group}${column}`
}

/** How a field is found in the file; undefined in a format that Croissant cannot look into. */
const extractOf = (format: string, column: string, quantities: readonly string[]): object | undefined => {
  if (format === 'csv' || format === 'parquet') return { column }
  return format === 'ndjson' ? { jsonPath: jsonPath(column, quantities) } : undefined
}

/** The rows of the file, with a field for each column. */
const rowsSet = ({ plan, format, file, about }: Described): object[] => {
  const { selection, rollup } = plan
  const span = { fromMs: selection.fromMs, toMs: selection.toMs, next: null }
  const answer =
    rollup === undefined
      ? ({ kind: 'readings', rows: [], ...span } as const)
      : ({ kind: 'buckets', rows: [], ...span, ...rollup } as const)
  const name = rollup === undefined ? 'readings' : 'intervals'
  const fields = tableOf(answer, about.columns).columns.flatMap((column) => {
    const extract = extractOf(format.name, column.name, about.columns)
    if (extract === undefined) return []
    return {
      '@type': 'cr:Field',
      '@id': `${name}/${column.name}`,
      name: `${name}/${column.name}`,
      description: meaningOf(column.name),
      dataType: dataTypes[column.kind],
      source: { fileObject: { '@id': file.name }, extract },
      ...(column.name === 'station' ? { references: { field: { '@id': 'stations/station' } } } : {}),
    }
  })
  if (fields.length === 0) return []
  const key = rollup === undefined ? ['station', 'seq', 'place'] : ['time', 'station', 'sensor']
  return [
    {
      '@type': 'cr:RecordSet',
      '@id': name,
      name,
      description:
        rollup === undefined ? 'One reading of one sensor each.' : 'One interval of one sensor each.',
      key: key.map((column) => ({ '@id': `${name}/${column}` })),
      field: fields,
    },
  ]
}

const stationFields = {
  station: 'Id of the station',
  licence: 'Licence of its readings: SPDX identifier or LicenseRef-...',
  name: 'What its owner calls it',
  cell: 'H3 cell that it is in: all that is told of its place',
} as const

/** The stations of the file, whole: under which licence the readings of each are. */
const stationsSet = ({ stations }: About): object => ({
  '@type': 'cr:RecordSet',
  '@id': 'stations',
  name: 'stations',
  description: 'The stations that have readings here, and what the owner of each says of it.',
  key: { '@id': 'stations/station' },
  field: Object.entries(stationFields).map(([name, description]) => ({
    '@type': 'cr:Field',
    '@id': `stations/${name}`,
    name: `stations/${name}`,
    description,
    dataType: 'sc:Text',
  })),
  data: stations.map((one) =>
    Object.fromEntries(
      (Object.keys(stationFields) as (keyof AboutStation)[]).flatMap((name) => {
        const value = one[name]
        return value === undefined || value === null ? [] : [[`stations/${name}`, value]]
      }),
    ),
  ),
})

const licenceNode = (licence: string | null): string | object =>
  licence === null
    ? { '@type': 'sc:CreativeWork', name: 'Not said; ask the owner of the station' }
    : (licenceAddress(licence) ?? { '@type': 'sc:CreativeWork', name: licence })

const creatorOf = ({ station, name = `Station ${station}` }: AboutStation): object => ({
  '@type': 'sc:Organization',
  name,
  identifier: station,
})

/** The description of an export that is done. */
export const croissantOf = (described: Described): JsonLd => {
  const { base, network, id, plan, format, file, about, doneMs } = described
  const { fromMs, toMs } = plan.selection
  const [from, to] = [timeText(fromMs), timeText(toMs)]
  const name = `groundtruth-${network}-${stampText(fromMs)}-${stampText(toMs)}`
  const url = `${base}/v1/exports/${id}`
  const cells = [...new Set(about.stations.flatMap(({ cell }) => cell ?? []))].sort()
  const year = new Date(doneMs).getUTCFullYear()
  const licences = licencesOf(about.stations.map(({ licence }) => licence)).map(licenceNode)
  const publisher = {
    '@type': 'sc:Organization',
    name: `Groundtruth network ${network}`,
    url: base,
  }
  return {
    '@context': context,
    '@type': 'sc:Dataset',
    conformsTo: 'http://mlcommons.org/croissant/1.0',
    name,
    description: `Readings of environmental sensors at ${about.stations.length} stations from ${from} to ${to}, each signed where it was measured. Licences are the stations' own: the record set "stations" has each. Places are H3 cells.`,
    license: licences.length > 1 ? licences : (licences[0] ?? licenceNode(null)),
    url,
    creator: about.stations.length === 0 ? publisher : about.stations.map(creatorOf),
    publisher,
    datePublished: timeText(doneMs),
    version: '1.0.0',
    isLiveDataset: false,
    inLanguage: 'en',
    keywords: about.columns.map((column) => quantityNamed(column)!.title),
    citeAs: `@misc{groundtruth-${id.slice(0, 8)}, author = {{Stations of Groundtruth network ${network}}}, title = {Sensor readings from ${from} to ${to}}, year = {${year}}, url = {${url}}, note = {SHA-256 ${file.sha256}}}`,
    temporalCoverage: `${from}/${to}`,
    ...(cells.length === 0
      ? {}
      : { spatialCoverage: cells.map((cell) => ({ '@type': 'sc:Place', identifier: `h3:${cell}` })) }),
    variableMeasured: about.columns.map((column) => {
      const { title, unit } = quantityNamed(column)!
      return {
        '@type': 'sc:PropertyValue',
        name: column,
        description: title,
        ...(unit === '' ? {} : { unitText: unit }),
      }
    }),
    distribution: [
      {
        '@type': 'cr:FileObject',
        '@id': file.name,
        name: file.name,
        description: `All rows, as ${format.title}.`,
        contentUrl: `${url}/${file.name}`,
        contentSize: `${file.bytes} B`,
        encodingFormat: loaderTypes[format.name] ?? format.mediaType,
        sha256: file.sha256,
      },
    ],
    recordSet: [...rowsSet(described), stationsSet(about)],
  }
}
