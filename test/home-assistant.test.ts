/** Home Assistant finds a station's sensors by itself, and is told in its own words what they measure. */
import { expect, test } from 'vitest'
import { discoveryTopic, homeAssistant } from '#gateway/market/home-assistant.ts'
import { quantities, quantity } from '#gateway/reading/quantity.ts'
import type { StoredReading } from '#gateway/store/store.ts'

const station = '0123456789abcdef0123456789abcdef'

const reading = (sensor: string, codes: readonly number[]): StoredReading => ({
  station,
  sensor,
  model: 'text-lines',
  timeMs: 1,
  seq: 1,
  place: 0,
  score: 1,
  flags: [],
  rules: '1',
  values: codes.map((code) => ({ quantity: code, scaled: 1 })),
})

type Message = {
  readonly device: { readonly identifiers: readonly string[] }
  readonly origin: { readonly name: string }
  readonly availability: readonly { readonly topic: string }[]
  readonly components: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

const told = () => {
  const messages: (readonly [topic: string, message: Message])[] = []
  const discover = homeAssistant({
    network: 'net',
    version: '1',
    publish: (topic, message) => void messages.push([topic, JSON.parse(message) as Message]),
  })
  return { messages, discover }
}

test('a station is told once, and again when it measures something more', () => {
  const { messages, discover } = told()
  const temperature = quantity('temperature').code
  discover([reading('garden', [temperature]), reading('garden', [temperature])])
  discover([reading('garden', [temperature])])
  expect(messages).toHaveLength(1)
  discover([reading('roof', [temperature, quantity('wind_direction').code])])
  expect(messages.map(([topic]) => topic)).toEqual([discoveryTopic(station), discoveryTopic(station)])
  const [, message] = messages[1]!
  expect(message.device.identifiers).toEqual([`gt_${station}`])
  expect(message.availability[0]!.topic).toBe(`gt/1/net/${station}/status`)
  expect(Object.keys(message.components)).toEqual([
    'garden_temperature',
    'roof_temperature',
    'roof_wind_direction',
  ])
  expect(message.components.garden_temperature).toEqual({
    platform: 'sensor',
    unique_id: `gt_${station}_garden_temperature`,
    name: 'garden Air temperature',
    state_topic: `gt/1/net/${station}/reading/garden`,
    value_template: "{{ value_json['values']['temperature'] }}",
    state_class: 'measurement',
    suggested_display_precision: 2,
    expire_after: 900,
    unit_of_measurement: '°C',
    device_class: 'temperature',
  })
})

test('a place is told to nobody', () => {
  const { messages, discover } = told()
  discover([
    reading(
      'gnss',
      quantities.filter((one) => one.private).map(({ code }) => code),
    ),
  ])
  expect(messages).toEqual([])
})

test('every quantity is described, and the number of values is bounded', () => {
  const { messages, discover } = told()
  for (let at = 0; at < 10; at += 1)
    discover([
      reading(
        `s${at}`,
        quantities.map(({ code }) => code),
      ),
    ])
  const components = Object.values(messages.at(-1)![1].components)
  expect(components).toHaveLength(200)
  expect(new Set(components.map(({ unique_id }) => unique_id)).size).toBe(200)
  // Core refuses device classes whose unit is another than it knows; a noise level is in dBA there.
  expect(components.find(({ device_class }) => device_class === 'sound_pressure')).toMatchObject({
    unit_of_measurement: 'dBA',
  })
})
