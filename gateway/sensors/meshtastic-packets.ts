/** What a Meshtastic radio says to its client: which fields matter, and what they measure. */
import type { QuantityName } from '../reading/quantity.ts'
import type { Measurement } from '../reading/reading.ts'
import { bytesAt, type Fields, fieldsOf, float, int, uint } from './protobuf.ts'
import type { Outcome, Radio } from './sensors.ts'
import { radioMeasurements } from './uplink.ts'

// Numbers of meshtastic/protobufs: mesh.proto, portnums.proto, telemetry.proto. Numbers are facts; nothing else is theirs.
const fromRadio = { packet: 2, myInfo: 3, nodeInfo: 4, logRecord: 6, configComplete: 7, rebooted: 8 } as const
const meshPacket = { from: 1, decoded: 4, encrypted: 5, rxTime: 7, rxSnr: 8, rxRssi: 12 } as const
const data = { port: 1, payload: 2 } as const
const ports = {
  text: 1,
  position: 3,
  nodeInfo: 4,
  telemetry: 67,
  firstPrivate: 256,
  lastPrivate: 511,
} as const
const telemetry = { device: 2, environment: 3, airQuality: 4 } as const
const user = { longName: 2, shortName: 3 } as const
const position = { latitude: 1, longitude: 2, altitude: 3, satellites: 19 } as const

type Row = readonly [field: number, kind: 'float' | 'uint', quantity: QuantityName, factor: number]

// Percent, °C, hPa, V, m/s, degrees, lux, mm are as here. Otherwise:
const perMilli = 0.001
// telemetry.proto says megohms, but the firmware's BME680 driver divides ohms by 1000, and such a sensor has kilohms.
const kilo = 1000
// 100 roentgen of gamma rays are taken for one sievert.
const microroentgen = 0.01

const environmentRows: readonly Row[] = [
  [1, 'float', 'temperature', 1],
  [2, 'float', 'humidity', 1],
  [3, 'float', 'pressure', 1],
  [4, 'float', 'gas_resistance', kilo],
  [5, 'float', 'voltage', 1],
  [6, 'float', 'current', perMilli],
  [7, 'uint', 'iaq', 1],
  [9, 'float', 'illuminance', 1],
  [13, 'uint', 'wind_direction', 1],
  [14, 'float', 'wind_speed', 1],
  [16, 'float', 'wind_gust', 1],
  [18, 'float', 'radiation', microroentgen],
  // What fell in the last hour is the rate over that hour.
  [19, 'float', 'rain_rate', 1],
  [21, 'uint', 'soil_moisture', 1],
  [22, 'float', 'soil_temperature', 1],
]

// Fields 1 to 3 are masses for factory air (CF=1); 10 stands for 1.0 µm, 100 for 10 µm.
const airQualityRows: readonly Row[] = [
  [4, 'uint', 'pm1', 1],
  [5, 'uint', 'pm2_5', 1],
  [6, 'uint', 'pm10', 1],
  [7, 'uint', 'n0_3', 1],
  [8, 'uint', 'n0_5', 1],
  [9, 'uint', 'n1', 1],
  [10, 'uint', 'n2_5', 1],
  [11, 'uint', 'n5', 1],
  [12, 'uint', 'n10', 1],
  [13, 'uint', 'co2', 1],
]

const batteryField = 1
const voltageField = 2
const fullPercent = 100

const measured = (quantity: QuantityName, value: number): Measurement =>
  Number.isFinite(value) ? { quantity, value } : { quantity, value: null, absent: 'not-a-number' }

const rowsOf = (fields: Fields, rows: readonly Row[]): Measurement[] =>
  rows.flatMap(([field, kind, quantity, factor]) => {
    const value = kind === 'float' ? float(fields, field) : uint(fields, field)
    return value === undefined ? [] : [measured(quantity, factor === 1 ? value : value * factor)]
  })

/** Above 100 % the node says that it is powered from outside: then it knows nothing of a battery. */
const deviceOf = (fields: Fields): Measurement[] => {
  const level = uint(fields, batteryField)
  const voltage = float(fields, voltageField)
  return [
    ...(level === undefined
      ? []
      : [
          level <= fullPercent
            ? measured('battery', level)
            : { quantity: 'battery' as const, value: null, absent: 'no-data' as const },
        ]),
    ...(voltage === undefined ? [] : [measured('battery_voltage', voltage)]),
  ]
}

const positionOf = (fields: Fields): Measurement[] => {
  const [latitude, longitude] = [int(fields, position.latitude), int(fields, position.longitude)]
  // Without a fix a node sends nothing, or zeros.
  if (latitude === undefined || longitude === undefined || (latitude === 0 && longitude === 0)) return []
  const altitude = int(fields, position.altitude)
  const satellites = uint(fields, position.satellites)
  return [
    measured('latitude', latitude / 1e7),
    measured('longitude', longitude / 1e7),
    ...(altitude === undefined ? [] : [measured('altitude', altitude)]),
    ...(satellites ? [measured('satellites', satellites)] : []),
  ]
}

/** The name of a node, from its number. */
export const meshName = (node: number): string => `mesh-${node.toString(16).padStart(8, '0')}`

const control = (what: string): Outcome => ({ kind: 'control', what: what.slice(0, 120) })

type Heard = { readonly node: string; readonly radio: Radio; readonly timeMs: number | undefined }

// No receiver hears less, and none is hit harder.
const [leastRssi, mostRssi] = [-200, 50]

/** SNR 0 is not sent at all; without RSSI a packet came by no radio: the radio's own, or from a network. */
const heardIn = (packet: Fields, own: Radio): Heard | undefined => {
  const rssi = int(packet, meshPacket.rxRssi) ?? 0
  if (rssi < leastRssi || rssi > mostRssi) return undefined
  const snr = float(packet, meshPacket.rxSnr) ?? 0
  const seconds = uint(packet, meshPacket.rxTime) ?? 0
  return {
    node: meshName(uint(packet, meshPacket.from) ?? 0),
    radio: rssi === 0 ? {} : { rssi, ...(Number.isFinite(snr) ? { snr } : {}), ...own },
    // The radio's own clock when it heard it; it may hold a packet until a client comes. Zero where it knows no time.
    timeMs: seconds === 0 ? undefined : seconds * 1000,
  }
}

const readingOf = (
  { node, radio, timeMs }: Heard,
  measurements: readonly Measurement[],
  what: string,
): Outcome =>
  measurements.length === 0
    ? control(`${node} sent ${what} without a value`)
    : {
        kind: 'reading',
        node,
        measurements: [...measurements, ...radioMeasurements(radio)],
        ...(timeMs === undefined ? {} : { timeMs }),
      }

const telemetryOf = (fields: Fields, heard: Heard): Outcome | undefined => {
  for (const [field, name, read] of [
    [telemetry.device, 'device telemetry', deviceOf],
    [telemetry.environment, 'environment telemetry', (inner: Fields) => rowsOf(inner, environmentRows)],
    [telemetry.airQuality, 'air quality telemetry', (inner: Fields) => rowsOf(inner, airQualityRows)],
  ] as const) {
    const bytes = bytesAt(fields, field)
    if (!bytes) continue
    const inner = fieldsOf(bytes)
    return inner && readingOf(heard, read(inner), name)
  }
  return control(`${heard.node} sent telemetry of another kind`)
}

/** Undefined where the bytes are no such message after all. */
const payloadOf = (bytes: Uint8Array, heard: Heard): Outcome | undefined => {
  const fields = fieldsOf(bytes)
  if (!fields) return undefined
  const port = uint(fields, data.port) ?? 0
  const payload = bytesAt(fields, data.payload) ?? new Uint8Array()
  if (port === ports.text || (port >= ports.firstPrivate && port <= ports.lastPrivate))
    return { kind: 'uplink', node: heard.node, payload: payload.slice(), radio: heard.radio }
  const inner = port === ports.telemetry || port === ports.position || port === ports.nodeInfo
  const message = inner ? fieldsOf(payload) : undefined
  if (!inner) return control(`${heard.node} sent something for application ${port}`)
  if (!message) return undefined
  if (port === ports.telemetry) return telemetryOf(message, heard)
  if (port === ports.position) return readingOf(heard, positionOf(message), 'its position')
  const name = bytesAt(message, user.longName) ?? bytesAt(message, user.shortName) ?? new Uint8Array()
  return control(`${heard.node} is called ${JSON.stringify(Buffer.from(name).toString('utf8').slice(0, 40))}`)
}

/** A message of the radio: what it says, or that it is one of the talk with its client. */
export type FromRadio =
  | { readonly kind: 'packet'; readonly outcome: Outcome }
  | { readonly kind: 'configured' | 'rebooted' | 'other'; readonly outcome: Outcome }

/**
 * What a FromRadio message says; undefined where the bytes are none, looked at as deeply as they are understood. `own` is
 * what the owner knows about the radio. Node numbers are eight hexadecimal digits, as Meshtastic shows them.
 */
export const fromRadioOf = (bytes: Uint8Array, own: Radio): FromRadio | undefined => {
  const fields = fieldsOf(bytes)
  if (!fields) return undefined
  const packetBytes = bytesAt(fields, fromRadio.packet)
  if (packetBytes) {
    const packet = fieldsOf(packetBytes)
    const heard = packet && heardIn(packet, own)
    if (!heard) return undefined
    const decoded = bytesAt(packet, meshPacket.decoded)
    const outcome = decoded
      ? payloadOf(decoded, heard)
      : packet.has(meshPacket.encrypted)
        ? control(`an encrypted packet of ${heard.node}`)
        : control(`an empty packet of ${heard.node}`)
    return outcome && { kind: 'packet', outcome }
  }
  if (fields.has(fromRadio.configComplete))
    return { kind: 'configured', outcome: control('the radio has told its configuration') }
  if (uint(fields, fromRadio.rebooted)) return { kind: 'rebooted', outcome: control('the radio has started') }
  const myInfo = bytesAt(fields, fromRadio.myInfo)
  const info = myInfo && fieldsOf(myInfo)
  if (info) return { kind: 'other', outcome: control(`the radio is ${meshName(uint(info, 1) ?? 0)}`) }
  // What it remembers of other nodes is old, and of no known time: no reading.
  if (fields.has(fromRadio.nodeInfo))
    return { kind: 'other', outcome: control('a node that the radio knows') }
  if (fields.has(fromRadio.logRecord)) return { kind: 'other', outcome: control('a line of its log') }
  return { kind: 'other', outcome: control('a part of its configuration') }
}
