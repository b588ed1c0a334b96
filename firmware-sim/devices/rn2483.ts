/** A Microchip RN2483 and the LoRa nodes that it hears while its LoRaWAN stack is paused. */
import { commandLines, hexOf, lines, says } from './command-lines.ts'
import type { Device, Emission, Kind } from './device.ts'
import { addressed, everyNode, heardAs, type LoraNode, radioNodes, threeNodes } from './radio-nodes.ts'

// DS40001784G: values that `radio set` takes.
const allowed: Readonly<Record<string, RegExp>> = {
  mod: /^(?:lora|fsk)$/,
  freq: /^(?:433\d{6}|8[67]\d{7})$/,
  sf: /^sf(?:7|8|9|10|11|12)$/,
  bw: /^(?:125|250|500)$/,
  cr: /^4\/[5678]$/,
  prlen: /^\d{1,5}$/,
  wdt: /^\d{1,10}$/,
  crc: /^(?:on|off)$/,
  iqi: /^(?:on|off)$/,
  pwr: /^(?:-3|-2|-1|\d|1[0-5])$/,
}
const pauseMs = 4_294_967_245
const watchdogMs = 15_000
// What it answers before it has received anything.
const noSnr = -128

export type Rn2483Options = {
  readonly seed: number
  readonly nodes: readonly LoraNode[]
  /** 1.0.5 brought `radio rxstop` and `radio get rssi`. */
  readonly firmware?: '1.0.5' | '1.0.3'
  /** How often each node sends. */
  readonly nodeIntervalMs?: number
}

/** A simulated module: it receives one message for each `radio rx 0`, and no longer than its watchdog allows. */
export const rn2483 = ({ seed, nodes, firmware = '1.0.5', nodeIntervalMs = 5000 }: Rn2483Options): Device => {
  const next = radioNodes(seed, nodes)
  const commands = commandLines()
  const old = firmware === '1.0.3'
  let set = new Map<string, string>()
  let paused = false
  let sinceMs: number | undefined
  let last = { snr: noSnr, rssi: noSnr }

  const start = (): Emission => {
    set = new Map([['wdt', String(watchdogMs)]])
    paused = false
    sinceMs = undefined
    last = { snr: noSnr, rssi: noSnr }
    return says(`RN2483 ${firmware} Oct 31 2018 15:06:52`)
  }
  start()

  const radio = (verb: string, name: string, value: string, timeMs: number): string => {
    if (verb === 'rx' && name === '0' && value === '') {
      if (!paused || sinceMs !== undefined) return 'busy'
      sinceMs = timeMs
      return 'ok'
    }
    if (verb === 'rxstop' && name === '' && !old) {
      sinceMs = undefined
      return 'ok'
    }
    if (verb === 'get' && name === 'snr') return String(last.snr)
    if (verb === 'get' && name === 'rssi' && !old) return String(last.rssi)
    if (verb === 'get' && set.has(name)) return set.get(name)!
    if (verb === 'set' && allowed[name]?.test(value)) {
      // It is not documented; the newer firmware is taken to refuse what it could not do at once.
      if (sinceMs !== undefined && !old) return 'busy'
      set.set(name, value)
      return 'ok'
    }
    return 'invalid_param'
  }

  const obey = (text: string, timeMs: number): Emission => {
    if (text === 'sys get ver') return says(`RN2483 ${firmware} Oct 31 2018 15:06:52`)
    if (text === 'sys reset') return start()
    if (text === 'mac pause') {
      paused = true
      return says(String(pauseMs))
    }
    const [group, verb = '', name = '', value = '', ...rest] = text.split(' ')
    return says(group === 'radio' && rest.length === 0 ? radio(verb, name, value, timeMs) : 'invalid_param')
  }

  return {
    model: 'rn2483',
    settings: { address: 'first-two-bytes', radio: { frequencyMHz: 868.1 } },
    baudRate: 57_600,
    intervalMs: everyNode(nodeIntervalMs, nodes),
    speak: (timeMs) => {
      if (sinceMs === undefined) return undefined
      const limitMs = Number(set.get('wdt'))
      const barked = limitMs > 0 && timeMs - sinceMs > limitMs
      sinceMs = undefined
      if (barked) return says('radio_err')
      const sent = next(timeMs)
      last = { snr: sent.snr, rssi: sent.rssi }
      const heard = heardAs(sent).filter(({ quantity }) => !old || quantity !== 'rssi')
      return {
        bytes: lines(`radio_rx  ${hexOf(addressed(sent))}`),
        meant: sent.meant(`lora-${sent.address}`, [
          ...heard,
          { quantity: 'frequency', value: 868.1 },
          { quantity: 'spreading_factor', value: 7 },
        ]),
      }
    },
    hear: (bytes, timeMs) => commands(bytes).map((text) => obey(text, timeMs)),
    powerOn: () => [start()],
  }
}

/** A module with three nodes. */
export const rn2483Kind: Kind = {
  sensor: 'field',
  make: (site) => rn2483({ seed: site.seed, nodeIntervalMs: site.intervalMs, nodes: threeNodes(site) }),
}
