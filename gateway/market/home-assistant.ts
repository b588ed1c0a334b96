/**
 * Home Assistant's MQTT discovery: one retained message a station, from which its sensors appear by themselves. Written
 * after DEVICE_DISCOVERY_SCHEMA in home-assistant/core components/mqtt/schemas.py.
 */
import { quantityCoded } from '../reading/quantity.ts'
import { topicsOf } from '../reading/topics.ts'
import type { StoredReading } from '../store/store.ts'

// Stations name their sensors themselves: so many values of one station are more than any house has.
const maxComponents = 200
// Kept for stations heard since the start; more than this are a network, not a home.
const maxStations = 1_000
// A value that does not come for so long is shown as unavailable.
const expireAfterS = 900

/** Where a station's discovery message goes. */
export const discoveryTopic = (station: string): string => `homeassistant/device/gt_${station}/config`

type Seen = Map<string, { readonly sensor: string; readonly quantity: number }>

// core's SensorStateClass: what only ever grows, and what has no mean that could be taken like that of a number.
const stateClasses: Readonly<Partial<Record<string, string>>> = {
  rain_total: 'total_increasing',
  hail: 'total_increasing',
  lightning_strikes: 'total_increasing',
  wind_direction: 'measurement_angle',
}

// Where core spells a unit in another way (homeassistant/const.py).
const unitSpellings: Readonly<Partial<Record<string, string>>> = { 'dB(A)': 'dBA' }

const component = (network: string, station: string, sensor: string, code: number) => {
  const { name, title, unit, decimals, haDeviceClass } = quantityCoded(code)!
  return {
    platform: 'sensor',
    unique_id: `gt_${station}_${sensor}_${name}`,
    name: `${sensor} ${title}`,
    state_topic: topicsOf(network, station).reading(sensor),
    value_template: `{{ value_json['values']['${name}'] }}`,
    state_class: stateClasses[name] ?? 'measurement',
    suggested_display_precision: decimals,
    expire_after: expireAfterS,
    ...(unit === '' ? {} : { unit_of_measurement: unitSpellings[unit] ?? unit }),
    ...(haDeviceClass === null ? {} : { device_class: haDeviceClass }),
  }
}

/** The discovery message of a station with these values. */
const discovery = (network: string, station: string, version: string, seen: Seen) => ({
  device: {
    identifiers: [`gt_${station}`],
    name: `Groundtruth ${station.slice(0, 8)}`,
    manufacturer: 'Groundtruth',
    model: 'Station',
    serial_number: station,
  },
  origin: { name: 'groundtruth', sw_version: version },
  availability: [
    {
      topic: topicsOf(network, station).status,
      value_template: '{{ value_json.state }}',
      payload_available: 'online',
      payload_not_available: 'offline',
    },
  ],
  components: Object.fromEntries(
    [...seen].map(([key, { sensor, quantity }]) => [key, component(network, station, sensor, quantity)]),
  ),
  qos: 1,
})

/** Publishes a station's discovery message whenever its readings show a value that was not there before. */
export const homeAssistant = (deps: {
  readonly network: string
  readonly version: string
  readonly publish: (topic: string, message: string) => void
}) => {
  const stations = new Map<string, Seen>()
  return (readings: readonly StoredReading[]): void => {
    const changed = new Set<string>()
    for (const { station, sensor, values } of readings) {
      let seen = stations.get(station)
      if (seen === undefined) {
        if (stations.size >= maxStations) continue
        seen = new Map()
        stations.set(station, seen)
      }
      for (const { quantity } of values) {
        const row = quantityCoded(quantity)
        if (row === undefined || row.private) continue
        const key = `${sensor}_${row.name}`
        if (seen.has(key) || seen.size >= maxComponents) continue
        seen.set(key, { sensor, quantity })
        changed.add(station)
      }
    }
    for (const station of changed)
      deps.publish(
        discoveryTopic(station),
        JSON.stringify(discovery(deps.network, station, deps.version, stations.get(station)!)),
      )
  }
}
