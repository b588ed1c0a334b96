import { expect, test } from 'vitest'
import { openExporter } from './exports-world.ts'
import { openChecked } from './market-schema.ts'
import { nowMs, openWorld, stationA, stationB, stationSilent, viennaCell } from './market-world.ts'

type Node = { readonly [name: string]: unknown }

const hour = { from: `${nowMs - 3_600_000}`, to: `${nowMs}` }

const list = (value: unknown): Node[] => (value === undefined ? [] : [value].flat()) as Node[]

/** What is wrong with a Croissant document, by the tables of properties in the specification, 1.0. */
const croissantFaults = (doc: Node): string[] => {
  const faults: string[] = []
  const need = (what: string, node: Node, names: readonly string[]) => {
    for (const name of names)
      if (node[name] === undefined || node[name] === '' || list(node[name]).length === 0)
        faults.push(`${what} lacks ${name}`)
  }
  // Dataset-level Information, Required; Modified and Added Properties.
  need('the data set', doc, [
    '@context',
    '@type',
    'conformsTo',
    'description',
    'license',
    'name',
    'url',
    'creator',
    'datePublished',
    'distribution',
  ])
  if (doc['@type'] !== 'sc:Dataset') faults.push('no sc:Dataset')
  if (doc.conformsTo !== 'http://mlcommons.org/croissant/1.0') faults.push('no version of Croissant')
  const context = doc['@context'] as Record<string, unknown>
  // Appendix 1, and the terms of the vocabulary that are used.
  const terms =
    'column data dataType extract field format includes jsonPath parentField path recordSet references regex repeated replace sc separator source subField transform cr dct conformsTo citeAs key fileObject isLiveDataset'
  for (const term of terms.split(' ')) if (context[term] === undefined) faults.push(`no term ${term}`)
  if (context['@vocab'] !== 'https://schema.org/') faults.push('another vocabulary')
  const ids = new Map<string, Node>()
  const name = (node: Node) => {
    const id = node['@id'] as string
    if (typeof id !== 'string') faults.push('a part has no @id')
    if (ids.has(id)) faults.push(`${id} is there twice`)
    ids.set(id, node)
  }
  for (const file of list(doc.distribution)) {
    need('a file', file, ['@id', 'name', 'contentUrl', 'contentSize', 'encodingFormat', 'sha256'])
    if (file['@type'] !== 'cr:FileObject') faults.push('no cr:FileObject')
    if (!/^\d+ B$/.test(String(file.contentSize))) faults.push(`a size of ${file.contentSize}`)
    if (!/^[0-9a-f]{64}$/.test(String(file.sha256))) faults.push('no SHA-256')
    name(file)
  }
  const fields: Node[] = []
  for (const set of list(doc.recordSet)) {
    need('a record set', set, ['@id', 'name', 'field'])
    if (set['@type'] !== 'cr:RecordSet') faults.push('no cr:RecordSet')
    name(set)
    for (const field of list(set.field)) {
      need(`a field of ${set['@id']}`, field, ['@id', 'name', 'dataType', 'description'])
      if (field['@type'] !== 'cr:Field') faults.push('no cr:Field')
      if (!String(field['@id']).startsWith(`${set['@id']}/`)) faults.push(`${field['@id']} is no name in it`)
      if (!/^sc:(Text|Float|Integer|DateTime|Date|Boolean)$/.test(String(field.dataType)))
        faults.push(`a type ${field.dataType}`)
      if ((set.data === undefined) !== (field.source !== undefined))
        faults.push(`${field['@id']} has no source`)
      name(field)
      fields.push(field)
    }
    for (const row of list(set.data))
      for (const key of Object.keys(row)) if (!ids.has(key)) faults.push(`${key} in data is no field`)
  }
  const known = (reference: unknown, what: string) => {
    const id = (reference as Node | undefined)?.['@id'] as string
    if (!ids.has(id)) faults.push(`${what} refers to ${id}`)
  }
  for (const set of list(doc.recordSet)) for (const key of list(set.key)) known(key, 'a key')
  for (const field of fields) {
    const source = field.source as Node | undefined
    if (source !== undefined) {
      known(source.fileObject, 'a source')
      const extract = Object.entries(source.extract as object)
      if (extract.length !== 1 || !['column', 'jsonPath'].includes(extract[0]![0])) faults.push('no extract')
    }
    const { references } = field as { references?: Node }
    if (references !== undefined) known(references.field, 'a reference')
  }
  return faults
}

test.each(['parquet', 'csv', 'ndjson', 'json', 'geojson', 'cbor'])(
  'an export in %s is described as Croissant 1.0',
  async (format) => {
    const { anybody } = await openExporter({ sells: false })
    const { shown } = await anybody.bought({ ...hour, format })
    const { response, json } = await anybody.ask(`/v1/exports/${shown.id}/croissant.json`)
    expect(response.headers.get('content-type')).toBe('application/ld+json')
    const doc = json as Node
    expect(croissantFaults(doc)).toEqual([])
    const [file] = list(doc.distribution)
    expect(file).toMatchObject({
      contentUrl: `http://localhost${shown.files[0]!.href}`,
      contentSize: `${shown.files[0]!.bytes} B`,
      sha256: shown.files[0]!.sha256,
    })
    expect(list(doc.recordSet).map((set) => set['@id'])).toEqual(
      ['parquet', 'csv', 'ndjson'].includes(format) ? ['readings', 'stations'] : ['stations'],
    )
  },
)

test('each field of the description is where it says in the file', async () => {
  const { anybody } = await openExporter({ sells: false })
  const at = (row: unknown, path: string): unknown =>
    path
      .split('.')
      .slice(1)
      .reduce<unknown>((node, name) => (node as Node | undefined)?.[name], row)
  for (const query of [hour, { ...hour, every: '10m' }]) {
    const csv = await anybody.bought({ ...query, format: 'csv' })
    const columns = Buffer.from(csv.bytes).toString().split('\r\n')[0]!.split(',')
    const described = (await anybody.ask(`/v1/exports/${csv.shown.id}/croissant.json`)).json as Node
    const named = list(list(described.recordSet)[0]!.field).map(
      ({ source }) => (source as { extract: { column: string } }).extract.column,
    )
    expect(named).toEqual(columns)

    const ndjson = await anybody.bought({ ...query, format: 'ndjson' })
    const rows = Buffer.from(ndjson.bytes)
      .toString()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Node)
    const paths = (await anybody.ask(`/v1/exports/${ndjson.shown.id}/croissant.json`)).json as Node
    for (const { name, source } of list(list(paths.recordSet)[0]!.field)) {
      const { jsonPath } = (source as { extract: { jsonPath: string } }).extract
      expect(
        rows.some((row) => at(row, jsonPath) !== undefined),
        `${name} at ${jsonPath}`,
      ).toBe(true)
    }
  }
})

test('licences are the stations’ own, each said where they differ, and places are cells', async () => {
  const { anybody } = await openExporter({ sells: false })
  const both = await anybody.bought(hour)
  const doc = (await anybody.ask(`/v1/exports/${both.shown.id}/croissant.json`)).json as Node
  expect(doc.license).toEqual([
    'https://spdx.org/licenses/CC-BY-4.0',
    { '@type': 'sc:CreativeWork', name: 'LicenseRef-ask' },
  ])
  expect(list(doc.recordSet)[1]!.data).toEqual([
    {
      'stations/station': stationA,
      'stations/licence': 'CC-BY-4.0',
      'stations/name': 'Garden',
      'stations/cell': viennaCell,
    },
    { 'stations/station': stationB, 'stations/licence': 'LicenseRef-ask' },
  ])
  expect(doc.spatialCoverage).toEqual([{ '@type': 'sc:Place', identifier: `h3:${viennaCell}` }])
  expect(JSON.stringify(doc)).not.toMatch(/latitude|longitude/i)
  const one = await anybody.bought({ ...hour, station: stationA })
  const alone = (await anybody.ask(`/v1/exports/${one.shown.id}/croissant.json`)).json as Node
  expect(alone.license).toBe('https://spdx.org/licenses/CC-BY-4.0')
  const empty = await anybody.bought({ ...hour, station: 'nobody' })
  const nothing = (await anybody.ask(`/v1/exports/${empty.shown.id}/croissant.json`)).json as Node
  expect(croissantFaults(nothing)).toEqual([])

  const dcat = (await anybody.ask(both.shown.id && `/v1/exports/${both.shown.id}/dcat.jsonld`)).json as Node
  expect(dcat['dcat:distribution']).toMatchObject({
    'dct:rights': { 'rdfs:label': 'By station: CC-BY-4.0, LicenseRef-ask' },
    'dct:hasPart': [
      {
        '@id': `http://localhost/v1/stations/${stationA}`,
        'dct:license': { '@id': 'https://spdx.org/licenses/CC-BY-4.0' },
      },
      { '@id': `http://localhost/v1/stations/${stationB}`, 'dct:rights': { 'rdfs:label': 'LicenseRef-ask' } },
    ],
  })
})

/** What DCAT-AP 3.0 makes mandatory, and what its classes are. */
const dcatFaults = (node: unknown, at = '$'): string[] => {
  if (Array.isArray(node)) return node.flatMap((one, place) => dcatFaults(one, `${at}[${place}]`))
  if (typeof node !== 'object' || node === null) return []
  const mandatory: Readonly<Record<string, readonly string[]>> = {
    'dcat:Catalog': ['dct:title', 'dct:description', 'dct:publisher', 'dcat:dataset'],
    'dcat:Dataset': ['dct:title', 'dct:description'],
    'dcat:Distribution': ['dcat:accessURL'],
    'dcat:DataService': ['dct:title', 'dcat:endpointURL'],
    'foaf:Agent': ['foaf:name'],
    'spdx:Checksum': ['spdx:algorithm', 'spdx:checksumValue'],
  }
  const { '@type': type } = node as Node
  const faults = (mandatory[String(type)] ?? []).flatMap((name) =>
    (node as Node)[name] === undefined ? [`${at} lacks ${name}`] : [],
  )
  return faults.concat(Object.entries(node).flatMap(([name, value]) => dcatFaults(value, `${at}.${name}`)))
}

test('an export and the catalogue are DCAT, with every prefix explained', async () => {
  const { signUp, anybody } = await openExporter()
  const buyer = signUp(100_000n)
  const { shown } = await buyer.bought(hour)
  const set = (await buyer.ask(`/v1/exports/${shown.id}/dcat.jsonld`)).json as Node
  const { response, json } = await anybody.ask('/v1/catalogue.jsonld')
  expect(response.headers.get('cache-control')).toBe('public, max-age=300')
  for (const doc of [set, json as Node]) {
    expect(dcatFaults(doc)).toEqual([])
    const context = doc['@context'] as Record<string, string>
    const prefixes = [...JSON.stringify({ ...doc, '@context': 0 }).matchAll(/"([a-z]+):[A-Za-z]+":/g)]
    for (const [, prefix] of prefixes) expect(context, prefix).toHaveProperty([prefix!])
  }
  expect(set['dcat:distribution']).toMatchObject({
    'dcat:byteSize': { '@value': `${shown.files[0]!.bytes}` },
    'spdx:checksum': { 'spdx:checksumValue': { '@value': shown.files[0]!.sha256 } },
    'dcat:downloadURL': { '@id': `http://localhost${shown.files[0]!.href}` },
  })
  const datasets = list((json as Node)['dcat:dataset'])
  expect(datasets.map((one) => one['dct:identifier'])).toEqual([stationA, stationB, stationSilent])
  expect(datasets[0]).toMatchObject({
    'dct:title': 'Garden',
    'dct:spatial': { 'dct:identifier': `h3:${viennaCell}` },
    'dct:accessRights': { '@id': 'http://publications.europa.eu/resource/authority/access-right/RESTRICTED' },
    'dcat:keyword': ['Air temperature', 'PM2.5', 'Relative humidity'],
  })
  expect(JSON.stringify(json)).not.toMatch(/latitude|longitude/i)
  const first = await anybody.ask('/v1/catalogue.jsonld?limit=2')
  const next = /<([^>]+)>; rel="next"/.exec(first.response.headers.get('link')!)![1]!
  const rest = (await anybody.ask(next)).json as Node
  expect(list(rest['dcat:dataset']).map((one) => one['dct:identifier'])).toEqual([stationSilent])
  await using free = await openWorld({ publicUrl: 'https://data.example' })
  const open = (await (await openChecked(free.api)).ask('/v1/catalogue.jsonld')).json as Node
  expect(open['@id']).toBe('https://data.example/v1/catalogue.jsonld')
  expect(JSON.stringify(open)).toContain('access-right/PUBLIC')
})

test('nobody else sees what an export is, and nothing is described before it is done', async () => {
  const { signUp, work } = await openExporter({ works: false })
  const [buyer, other] = [signUp(100_000n), signUp(100_000n)]
  const ordered = await buyer.order(hour)
  for (const name of ['croissant.json', 'dcat.jsonld']) {
    const address = `/v1/exports/${ordered.id}/${name}`
    expect((await buyer.ask(address)).response.status).toBe(404)
  }
  work()
  await buyer.finished(ordered)
  for (const name of ['croissant.json', 'dcat.jsonld']) {
    const address = `/v1/exports/${ordered.id}/${name}`
    expect((await other.ask(address)).response.status).toBe(404)
    expect((await buyer.ask(address)).response.status).toBe(200)
  }
})
