/** Every output format of readings, the preferred one first. */
import { cbor } from './cbor.ts'
import { csv } from './csv.ts'
import type { Format } from './format.ts'
import { geojson } from './geojson.ts'
import { json } from './json.ts'
import { ndjson } from './ndjson.ts'
import { parquet } from './parquet.ts'

export const formats = [json, csv, ndjson, geojson, cbor, parquet] as const satisfies readonly Format[]

export const formatNames = formats.map(({ name }) => name)
