/** The retained status of a station: what everybody on the broker may know of how it is doing. */

import { sensorAdvice, sensorState } from './sensor-state.ts'
import type { SensorStatus, StationStatus } from './status.ts'

// A status is one MQTT message of at most 64 KiB; a sensor takes some 300 bytes, an error text at most this many.
const maxSensors = 120
const maxText = 200

const short = (text: string): string => (text.length > maxText ? `${text.slice(0, maxText)}...` : text)

/** One sensor: its counters, and in words what is wrong where something is. */
const published = (sensor: SensorStatus): Record<string, unknown> => {
  const { id, model, link, readings, refused, lastRefusal, lastReadingMs } = sensor
  const state = sensorState(sensor)
  const advice = sensorAdvice[state]
  return {
    id,
    model,
    state,
    link: link.name,
    ...(link.caution === undefined ? {} : { caution: link.caution }),
    readings,
    refused,
    frames: link.frames,
    skippedBytes: link.skippedBytes,
    opens: link.opens,
    failedOpens: link.failedOpens,
    lastReadingMs,
    ...(link.trouble !== null && link.lastError !== null ? { error: short(link.lastError) } : {}),
    ...(state === 'refused' && lastRefusal !== null
      ? { error: short(`${lastRefusal.reason}: ${lastRefusal.detail}`) }
      : {}),
    ...(advice === undefined ? {} : { next: advice }),
  }
}

const isWell = (sensor: SensorStatus): boolean => sensorState(sensor) === 'ok'

/** The status as JSON; of very many sensors those that are not well come first, and `moreSensors` counts the rest. */
export const publishedStatus = (
  status: StationStatus,
  about: {
    readonly publicKey: string
    readonly version: string
    readonly timeMs: number
    readonly uptimeS: number
  },
): Record<string, unknown> => {
  const sensors = [...status.sensors].sort((a, b) => Number(isWell(a)) - Number(isWell(b)))
  const { station, troubles, time, outbox, relay, readings, refused } = status
  return {
    station,
    ...about,
    troubles,
    time,
    readings,
    refused,
    outbox,
    relay,
    sensors: sensors.slice(0, maxSensors).map(published),
    ...(sensors.length > maxSensors ? { moreSensors: sensors.length - maxSensors } : {}),
  }
}
