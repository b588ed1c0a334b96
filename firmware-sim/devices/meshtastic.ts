/** A Meshtastic radio and the nodes of its mesh: it tells nothing until a client asks for its configuration. */

import type { Measurement } from '../../gateway/reading/reading.ts'
import { chanceAt, generator } from '../random.ts'
import { around, type Conditions, type Place } from '../world.ts'
import { answer, commandReader, type Device, type Emission, type Kind, rounded } from './device.ts'

// Meshtastic client API and field numbers of meshtastic/protobufs (mesh.proto, telemetry.proto, portnums.proto).
const magic = [0x94, 0xc3] as const
const maxPayload = 512
const apiForgetsMs = 900_000
const ports = { text: 1, position: 3, nodeInfo: 4, telemetry: 67 } as const
const broadcast = 0xffff_ffff

/** Varint of an unsigned number below 2^53, or of a negative int32 in its ten bytes. */
const varint = (value: number): number[] => {
  let rest = BigInt.asUintN(64, BigInt(value))
  const bytes: number[] = []
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80)
    rest >>= 7n
  }
  return [...bytes, Number(rest)]
}
const tag = (field: number, wire: number): number[] => varint(field * 8 + wire)
const number = (field: number, value: number): number[] => [...tag(field, 0), ...varint(value)]
const bytesField = (field: number, bytes: Iterable<number>): number[] => {
  const content = [...bytes]
  return [...tag(field, 2), ...varint(content.length), ...content]
}
const fixed = (field: number, write: (buffer: Buffer) => void): number[] => {
  const buffer = Buffer.alloc(4)
  write(buffer)
  return [...tag(field, 5), ...buffer]
}
const fixed32 = (field: number, value: number): number[] =>
  fixed(field, (buffer) => buffer.writeUInt32LE(value))
const sfixed32 = (field: number, value: number): number[] =>
  fixed(field, (buffer) => buffer.writeInt32LE(value))
const float = (field: number, value: number): number[] => fixed(field, (buffer) => buffer.writeFloatLE(value))

const framed = (payload: readonly number[]): Uint8Array =>
  Uint8Array.of(...magic, payload.length >> 8, payload.length & 0xff, ...payload)

/** A node of the mesh; the first is the radio itself. */
export type MeshNode = {
  readonly number: number
  readonly place: Place
  readonly air: (timeMs: number) => Conditions
}

export type MeshtasticOptions = {
  readonly seed: number
  readonly nodes: readonly MeshNode[]
  /** How often each node sends. */
  readonly nodeIntervalMs?: number
}

const whole = (bytes: Uint8Array): { readonly drop: number; readonly command?: Uint8Array } => {
  if (bytes[0] !== magic[0] || (bytes.length > 1 && bytes[1] !== magic[1])) return { drop: 1 }
  if (bytes.length < 4) return { drop: 0 }
  const length = bytes[2]! * 256 + bytes[3]!
  if (length > maxPayload) return { drop: 1 }
  return bytes.length < 4 + length ? { drop: 0 } : { drop: 4 + length, command: bytes.slice(4, 4 + length) }
}

const float32 = Math.fround

/** A simulated radio. Nodes take turns, and each sends in turn: its air, its particles, its battery, its place, a text. */
export const meshtastic = ({ seed, nodes, nodeIntervalMs = 5000 }: MeshtasticOptions): Device => {
  const commands = commandReader(whole)
  let turn = 0
  let messages = 0
  let servedUntilMs = Number.NEGATIVE_INFINITY

  const fromRadio = (content: readonly number[]): Uint8Array => {
    messages += 1
    return framed([...number(1, messages), ...content])
  }
  const says = (content: readonly number[]): Emission => answer(fromRadio(content))

  const contents: readonly ((
    node: MeshNode,
    timeMs: number,
  ) => {
    readonly port: number
    readonly payload: readonly number[]
    readonly measurements: readonly Measurement[]
  })[] = [
    ({ air }, timeMs) => {
      const conditions = air(timeMs)
      const [temperature, humidity, pressure] = [
        float32(conditions.temperature),
        float32(conditions.humidity),
        float32(conditions.pressure),
      ]
      return {
        port: ports.telemetry,
        payload: [
          ...fixed32(1, Math.floor(timeMs / 1000)),
          ...bytesField(3, [...float(1, temperature), ...float(2, humidity), ...float(3, pressure)]),
        ],
        measurements: [
          { quantity: 'temperature', value: temperature },
          { quantity: 'humidity', value: humidity },
          { quantity: 'pressure', value: pressure },
        ],
      }
    },
    ({ air }, timeMs) => {
      const { pm1, pm2_5, pm10 } = air(timeMs)
      const [small, fine, coarse] = [Math.round(pm1), Math.round(pm2_5), Math.round(pm10)]
      return {
        port: ports.telemetry,
        payload: [
          ...fixed32(1, Math.floor(timeMs / 1000)),
          ...bytesField(4, [...number(4, small), ...number(5, fine), ...number(6, coarse)]),
        ],
        measurements: [
          { quantity: 'pm1', value: small },
          { quantity: 'pm2_5', value: fine },
          { quantity: 'pm10', value: coarse },
        ],
      }
    },
    ({ number: node }, timeMs) => {
      const level = Math.floor(101 * chanceAt(seed, node, Math.floor(timeMs / 3_600_000)))
      const voltage = float32(3.3 + level / 120)
      return {
        port: ports.telemetry,
        payload: [
          ...fixed32(1, Math.floor(timeMs / 1000)),
          ...bytesField(2, [...number(1, level), ...float(2, voltage)]),
        ],
        measurements: [
          { quantity: 'battery', value: level },
          { quantity: 'battery_voltage', value: voltage },
        ],
      }
    },
    ({ place: { latitude, longitude, altitudeM } }) => {
      const [north, east] = [Math.round(latitude * 1e7), Math.round(longitude * 1e7)]
      return {
        port: ports.position,
        payload: [...sfixed32(1, north), ...sfixed32(2, east), ...number(3, altitudeM)],
        measurements: [
          { quantity: 'latitude', value: north / 1e7 },
          { quantity: 'longitude', value: east / 1e7 },
          { quantity: 'altitude', value: altitudeM },
        ],
      }
    },
    ({ air }, timeMs) => {
      const value = rounded(air(timeMs).temperature, 1)
      return {
        port: ports.text,
        payload: [...Buffer.from(`T=${value.toFixed(1)}`)],
        measurements: [{ quantity: 'temperature', value }],
      }
    },
  ]

  const configuration = (nonce: number): readonly Emission[] => [
    says(bytesField(3, number(1, nodes[0]!.number))),
    ...nodes.map(({ number: node }) =>
      says(
        bytesField(4, [
          ...number(1, node),
          ...bytesField(2, [
            ...bytesField(2, Buffer.from(`Node ${node & 0xffff}`)),
            ...bytesField(3, Buffer.from('N')),
          ]),
        ]),
      ),
    ),
    says(bytesField(5, bytesField(6, [...number(1, 1), ...number(7, 3)]))),
    says(number(7, nonce)),
  ]

  /** ToRadio: want_config_id is field 3, a varint; heartbeat is field 7. */
  const obey = (bytes: Uint8Array, timeMs: number): readonly Emission[] => {
    if (bytes[0] === tag(3, 0)[0]) {
      const nonce = [...bytes.slice(1, 6)].reduce((sum, byte, index) => sum + (byte & 0x7f) * 128 ** index, 0)
      servedUntilMs = timeMs + apiForgetsMs
      return configuration(nonce)
    }
    if (timeMs <= servedUntilMs) servedUntilMs = timeMs + apiForgetsMs
    return []
  }

  return {
    model: 'meshtastic',
    settings: { radio: { frequencyMHz: 869.525, spreadingFactor: 11 } },
    baudRate: 115_200,
    intervalMs: Math.max(1, Math.floor(nodeIntervalMs / nodes.length)),
    speak: (timeMs) => {
      const node = nodes[turn % nodes.length]!
      const content = contents[Math.floor(turn / nodes.length) % contents.length]!
      turn += 1
      if (timeMs > servedUntilMs) return undefined
      const { port, payload, measurements } = content(node, timeMs)
      const own = node === nodes[0]
      const rssi = Math.round(-70 - 40 * chanceAt(seed, node.number))
      const snr = Math.round(4 * (8 - 16 * chanceAt(seed, node.number, 1))) / 4
      const packet = [
        ...fixed32(1, node.number),
        ...fixed32(2, broadcast),
        ...bytesField(4, [...number(1, port), ...bytesField(2, payload)]),
        ...fixed32(6, Math.floor(2 ** 32 * chanceAt(seed, node.number, turn))),
        ...fixed32(7, Math.floor(timeMs / 1000)),
        ...(own || snr === 0 ? [] : float(8, snr)),
        ...number(9, 3),
        ...(own ? [] : number(12, rssi)),
      ]
      // Its log comes on the same wire.
      const log =
        turn % 4 === 0 ? Buffer.from('\x1b[32mINFO  | 12:00:00 10 [Router] Received\x1b[0m\r\n') : []
      return {
        bytes: Uint8Array.of(...log, ...fromRadio(bytesField(2, packet))),
        meant: [
          {
            node: `mesh-${node.number.toString(16).padStart(8, '0')}`,
            measurements: own
              ? measurements
              : [
                  ...measurements,
                  { quantity: 'rssi', value: rssi },
                  { quantity: 'snr', value: snr },
                  { quantity: 'frequency', value: 869.525 },
                  { quantity: 'spreading_factor', value: 11 },
                ],
          },
        ],
      }
    },
    hear: (bytes, timeMs) => commands(bytes).flatMap((command) => obey(command, timeMs)),
    powerOn: () => {
      servedUntilMs = Number.NEGATIVE_INFINITY
      return [answer(new Uint8Array(Buffer.from('\r\n//\\ E S H T /\\ S T / C\r\n'))), says(number(8, 1))]
    },
  }
}

/** A radio with two nodes within five kilometres. */
export const meshtasticKind: Kind = {
  sensor: 'mesh',
  make: ({ seed, place, airAt, intervalMs }) => {
    const random = generator(seed)
    const places = [place, around(place, 5, random), around(place, 5, random)]
    return meshtastic({
      seed,
      nodeIntervalMs: intervalMs,
      nodes: places.map((where, index) => ({
        number: Math.floor(2 ** 32 * chanceAt(seed, index)),
        place: where,
        air: airAt(where),
      })),
    })
  },
}
