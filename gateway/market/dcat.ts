/**
 * Data sets for catalogues: DCAT 3 (www.w3.org/TR/vocab-dcat-3) as JSON-LD, with what DCAT-AP 3 asks of a catalogue, a
 * data set, a distribution, a data service and an agent. Places are H3 cells.
 */

import type { Profile } from '../reading/profile.ts'
import { quantityCoded, quantityNamed } from '../reading/quantity.ts'
import type { SensorSummary } from '../store/store.ts'
import type { Described } from './exports/croissant.ts'
import type { JsonLd } from './json-ld.ts'
import { licenceAddress, licencesOf } from './licence.ts'
import { timeText } from './time.ts'

const context = {
  dcat: 'http://www.w3.org/ns/dcat#',
  dct: 'http://purl.org/dc/terms/',
  foaf: 'http://xmlns.com/foaf/0.1/',
  rdfs: 'http://www.w3.org/2000/01/rdf-schema#',
  spdx: 'http://spdx.org/rdf/terms#',
  xsd: 'http://www.w3.org/2001/XMLSchema#',
} as const

const node = (id: string): object => ({ '@id': id })
const moment = (ms: number): object => ({ '@type': 'xsd:dateTime', '@value': timeText(ms) })
const mediaType = (type: string): object => node(`https://www.iana.org/assignments/media-types/${type}`)
const span = (fromMs: number, toMs: number): object => ({
  '@type': 'dct:PeriodOfTime',
  'dcat:startDate': moment(fromMs),
  'dcat:endDate': moment(toMs),
})
const place = (cell: string): object => ({ '@type': 'dct:Location', 'dct:identifier': `h3:${cell}` })

const accessRights = (sells: boolean): object =>
  node(`http://publications.europa.eu/resource/authority/access-right/${sells ? 'RESTRICTED' : 'PUBLIC'}`)

const statement = (label: string): object => ({ '@type': 'dct:RightsStatement', 'rdfs:label': label })

/** A licence, or words for what is none. */
const terms = (licence: string | null): object => {
  const address = licence === null ? undefined : licenceAddress(licence)
  if (address !== undefined) return { 'dct:license': node(address) }
  return { 'dct:rights': statement(licence ?? 'Not said; ask the owner of the station') }
}

const publisher = (network: string, base: string): object => ({
  '@type': 'foaf:Agent',
  'foaf:name': `Groundtruth network ${network}`,
  'foaf:homepage': node(base),
})

/** A station as a catalogue shows it. */
export type CataloguedStation = {
  readonly station: string
  readonly profile: Profile | undefined
  readonly sensors: readonly SensorSummary[]
}

export type CatalogueOf = {
  /** Where the API is, without a slash at the end. */
  readonly base: string
  readonly network: string
  readonly sells: boolean
  readonly formats: readonly { readonly name: string; readonly mediaType: string; readonly title: string }[]
}

const stationSet = (
  { base, network, sells, formats }: CatalogueOf,
  { station, profile, sensors }: CataloguedStation,
): object => {
  const url = `${base}/v1/stations/${station}`
  const name = profile?.name ?? `Station ${station}`
  const measured = new Set(
    sensors.flatMap(({ quantities }) =>
      quantities.flatMap((code) => {
        const quantity = quantityCoded(code)
        return quantity === undefined || quantity.private ? [] : [quantity.title]
      }),
    ),
  )
  return {
    '@type': 'dcat:Dataset',
    '@id': url,
    'dct:identifier': station,
    'dct:title': name,
    'dct:description': `Readings of ${sensors.length} sensors at ${name}, each signed where it was measured.`,
    'dct:publisher': publisher(network, base),
    'dcat:landingPage': node(url),
    'dcat:keyword': [...measured].sort(),
    'dct:accessRights': accessRights(sells),
    ...(sensors.length === 0
      ? {}
      : {
          'dct:temporal': span(
            Math.min(...sensors.map(({ firstMs }) => firstMs)),
            Math.max(...sensors.map(({ lastMs }) => lastMs)),
          ),
        }),
    ...(profile?.cell === undefined ? {} : { 'dct:spatial': place(profile.cell) }),
    'dcat:distribution': formats.map((format) => ({
      '@type': 'dcat:Distribution',
      'dct:title': `${name}, as ${format.title}`,
      'dcat:accessURL': node(`${base}/v1/readings?station=${station}&format=${format.name}`),
      'dcat:mediaType': mediaType(format.mediaType),
      'dcat:accessService': node(`${base}/#api`),
      ...terms(profile?.licence ?? null),
    })),
    'dcat:sample': {
      '@type': 'dcat:Distribution',
      'dcat:accessURL': node(`${base}/v1/sample?station=${station}`),
    },
  }
}

/** The catalogue: each station is a data set, the API is the service that serves them. */
export const catalogueOf = (of: CatalogueOf, stations: readonly CataloguedStation[]): JsonLd => {
  const { base, network } = of
  return {
    '@context': context,
    '@type': 'dcat:Catalog',
    '@id': `${base}/v1/catalogue.jsonld`,
    'dct:title': `Groundtruth network ${network}`,
    'dct:description':
      'Readings of environmental sensors, each signed where it was measured and anchored on a public chain.',
    'dct:publisher': publisher(network, base),
    'foaf:homepage': node(base),
    'dcat:service': {
      '@type': 'dcat:DataService',
      '@id': `${base}/#api`,
      'dct:title': 'Groundtruth query API',
      'dcat:endpointURL': node(base),
      'dcat:endpointDescription': node(`${base}/openapi.json`),
    },
    'dcat:dataset': stations.map((one) => stationSet(of, one)),
  }
}

/** An export that is done, as a data set with one distribution. */
export const exportSetOf = (described: Described, sells: boolean): JsonLd => {
  const { base, network, id, plan, format, file, about, doneMs } = described
  const { fromMs, toMs } = plan.selection
  const url = `${base}/v1/exports/${id}`
  const cells = [...new Set(about.stations.flatMap(({ cell }) => cell ?? []))].sort()
  const licences = licencesOf(about.stations.map(({ licence }) => licence))
  const [one = null] = licences
  const mixed = licences.map((licence) => licence ?? 'not said').join(', ')
  return {
    '@context': context,
    '@type': 'dcat:Dataset',
    '@id': url,
    'dct:identifier': id,
    'dct:title': `Sensor readings from ${timeText(fromMs)} to ${timeText(toMs)}`,
    'dct:description': `${file.rows} rows of ${about.stations.length} stations, each reading signed where it was measured.`,
    'dct:publisher': publisher(network, base),
    'dct:creator': about.stations.map(({ station, name }) => ({
      '@type': 'foaf:Agent',
      'foaf:name': name ?? `Station ${station}`,
    })),
    'dct:issued': moment(doneMs),
    'dct:temporal': span(fromMs, toMs),
    'dcat:keyword': about.columns.map((column) => quantityNamed(column)!.title),
    'dct:accessRights': accessRights(sells),
    ...(cells.length === 0 ? {} : { 'dct:spatial': cells.map(place) }),
    'dct:relation': node(`${url}/croissant.json`),
    'dcat:distribution': {
      '@type': 'dcat:Distribution',
      'dct:title': file.name,
      'dcat:accessURL': node(url),
      'dcat:downloadURL': node(`${url}/${file.name}`),
      'dcat:mediaType': mediaType(format.mediaType),
      'dcat:byteSize': { '@type': 'xsd:nonNegativeInteger', '@value': `${file.bytes}` },
      'spdx:checksum': {
        '@type': 'spdx:Checksum',
        'spdx:algorithm': node('spdx:checksumAlgorithm_sha256'),
        'spdx:checksumValue': { '@type': 'xsd:hexBinary', '@value': file.sha256 },
      },
      // Where licences differ, each station has its own.
      ...(licences.length > 1 ? { 'dct:rights': statement(`By station: ${mixed}`) } : terms(one)),
      ...(licences.length > 1
        ? {
            'dct:hasPart': about.stations.map(({ station, licence }) => ({
              '@id': `${base}/v1/stations/${station}`,
              ...terms(licence),
            })),
          }
        : {}),
    },
  }
}
