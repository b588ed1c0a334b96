/** How readings look to InfluxQL: one database, one measurement, a field for each quantity, and what sensors are told by as tags. */
import { nearestName, publicQuantities, publicQuantityNames } from '../parameters.ts'
import { InfluxRefusal } from './token.ts'

export const database = 'groundtruth'
export const policy = 'autogen'
export const measurement = 'readings'

/** The quality score of a reading, 0..1: a field beside the quantities. */
export const scoreField = 'score'

/** In the order of their names. `model` is what a sensor is now. */
export const influxTags = ['model', 'sensor', 'station'] as const
export type InfluxTag = (typeof influxTags)[number]

export const isTag = (name: string): name is InfluxTag => influxTags.some((tag) => tag === name)

const codes = new Map(publicQuantities.map(({ name, code }) => [name, code]))

/** Code of the quantity that a field stands for, undefined where it stands for none. */
export const fieldCode = (name: string): number | undefined => codes.get(name)

const near = (name: string, names: readonly string[]): string => {
  const nearest = nearestName(name, names)
  return nearest === undefined ? '' : `; did you mean "${nearest}"?`
}

/** The same name, if it is one of a field; InfluxDB would answer nothing, which looks like no data. */
export const knownField = (name: string): string => {
  if (name === scoreField || fieldCode(name) !== undefined) return name
  throw new InfluxRefusal(
    `there is no field "${name.slice(0, 64)}"${near(name, [...publicQuantityNames, scoreField]) || ';'} SHOW FIELD KEYS lists them`,
  )
}

/** The tag of that name. */
export const knownTag = (name: string): InfluxTag => {
  if (isTag(name)) return name
  throw new InfluxRefusal(`there is no tag "${name.slice(0, 64)}"; there are ${influxTags.join(', ')}`)
}
