/**
 * GeoJSON (RFC 7946): a feature per row, with the row's fields as properties. Its geometry is the H3 cell that the
 * station's owner tells, as a polygon: a point would look like a place. Null where none is told (s3.2).
 */
import { outlineOf } from '../outline.ts'
import type { Format, FormatContext } from './format.ts'
import { objectText } from './object.ts'
import { type Field, tableOf } from './table.ts'

/** Geometries as JSON; each is made once. */
const geometriesOf = (cellOf: FormatContext['cellOf']) => {
  const made = new Map<string, string>()
  return (station: string): string => {
    const known = made.get(station)
    if (known !== undefined) return known
    const cell = cellOf(station)
    const geometry = JSON.stringify(cell === undefined ? null : outlineOf(cell))
    made.set(station, geometry)
    return geometry
  }
}

export const geojson = {
  name: 'geojson',
  title: 'features for maps, each in the cell of its station',
  mediaType: 'application/geo+json',
  contentType: 'application/geo+json',
  isText: true,
  needs: ['columns', 'cells'],
  render: (pages, context) => {
    const geometryOf = geometriesOf(context.cellOf)
    return objectText(pages, {
      constant: { type: 'FeatureCollection' },
      list: () => 'features',
      *rows(page) {
        const { columns } = tableOf(page, context.columns)
        for (const [at, { station }] of page.rows.entries()) {
          const properties: Record<string, Field> = {}
          for (const column of columns) properties[column.name] = column.at(at)
          yield `{"type":"Feature","geometry":${geometryOf(station)},"properties":${JSON.stringify(properties)}}`
        }
      },
    })
  },
} as const satisfies Format
