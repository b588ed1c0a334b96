/** Observations as arrays, one for each Datastream (OGC 18-088 s12, resultFormat=dataArray). */
import { model } from './model.ts'
import type { Observation } from './observation.ts'

const all = ['id', ...model.Observations.properties]

/** The value of an answer: for each Datastream the names of what stands in its rows, and the rows. */
export const dataArrays = (
  root: string,
  observations: readonly Observation[],
  select: readonly string[] | undefined,
) => {
  const components = all.filter(
    (name) => select === undefined || select.includes(name) || (name === 'id' && select.includes('@iot.id')),
  )
  const byStream = Map.groupBy(observations, ({ stream }) => stream)
  return [...byStream].map(([stream, own]) => ({
    'Datastream@iot.navigationLink': `${root}/Datastreams('${stream}')`,
    components,
    'dataArray@iot.count': own.length,
    dataArray: own.map(({ id, body }) => components.map((name) => (name === 'id' ? id : body[name]))),
  }))
}
