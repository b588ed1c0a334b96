/** A RAK3172 (RUI3, or the firmware before it) and the LoRa nodes that it hears in P2P mode. */
import { commandLines, hexOf, lines, says } from './command-lines.ts'
import type { Device, Emission, Kind } from './device.ts'
import { addressed, everyNode, heardAs, type LoraNode, radioNodes, threeNodes } from './radio-nodes.ts'

// RUI3 AT command manual; the two lines of old firmware after RAK's migration guide.
const p2pShape = /^AT\+P2P=(\d{9,10}):(\d{1,2}):(125|250|500):([0-3]):(\d{1,5}):(\d{1,2})$/
const untilStopped = new Set([65_533, 65_534])

export type Rak3172Options = {
  readonly seed: number
  readonly nodes: readonly LoraNode[]
  readonly firmware?: 'rui3' | 'old'
  /** How often each node sends. */
  readonly nodeIntervalMs?: number
}

/** A simulated module: in LoRaWAN mode at first, as it is sold; it hears nothing until it is told to receive. */
export const rak3172 = ({
  seed,
  nodes,
  firmware = 'rui3',
  nodeIntervalMs = 5000,
}: Rak3172Options): Device => {
  const next = radioNodes(seed, nodes)
  const commands = commandLines()
  let mode = '1'
  let receivesUntilMs: number | undefined

  const banner = (): Emission =>
    says(
      'RAKwireless RAK3172-E',
      '------------------------------------------------------',
      `Current Work Mode: ${mode === '0' ? 'LoRa P2P' : 'LoRaWAN'}.`,
    )
  const status = (text: string): Emission => says('', text)

  const receive = (argument: number, timeMs: number): string => {
    if (mode !== '0') return 'AT_MODE_NO_SUPPORT'
    if (!(argument <= 65_535) || (firmware === 'old' && argument === 65_533)) return 'AT_PARAM_ERROR'
    if (argument === 0) receivesUntilMs = undefined
    else if (receivesUntilMs !== undefined) return 'AT_BUSY_ERROR'
    else receivesUntilMs = untilStopped.has(argument) ? Number.POSITIVE_INFINITY : timeMs + argument
    return 'OK'
  }

  const obey = (text: string, timeMs: number): Emission => {
    if (text === 'AT') return status('OK')
    if (text === 'AT+VER=?') return says('AT+VER=RUI_4.0.4_RAK3172-E', '', 'OK')
    if (text === 'AT+NWM=?') return says(`AT+NWM=${mode}`, '', 'OK')
    const wanted = /^AT\+NWM=(.*)$/.exec(text)?.[1]
    if (wanted !== undefined) {
      if (!/^[012]$/.test(wanted)) return status('AT_PARAM_ERROR')
      if (wanted === mode) return status('OK')
      mode = wanted
      receivesUntilMs = undefined
      return banner()
    }
    if (text.startsWith('AT+P2P=')) {
      if (mode !== '0') return status('AT_MODE_NO_SUPPORT')
      if (receivesUntilMs !== undefined) return status('AT_BUSY_ERROR')
      const [, , factor, , , preamble] = (p2pShape.exec(text) ?? []).map(Number)
      return status(factor! >= 5 && factor! <= 12 && preamble! >= 5 ? 'OK' : 'AT_PARAM_ERROR')
    }
    const argument = /^AT\+PRECV=(\d{1,5})$/.exec(text)?.[1]
    if (argument !== undefined) return status(receive(Number(argument), timeMs))
    if (/^AT\+PSEND=(?:[0-9A-Fa-f]{2})+$/.test(text)) {
      if (receivesUntilMs !== undefined) return status('AT_BUSY_ERROR')
      return says('', 'OK', '+EVT:TXP2P DONE')
    }
    return status(text.startsWith('AT+PRECV') ? 'AT_PARAM_ERROR' : 'AT_COMMAND_NOT_FOUND')
  }

  return {
    model: 'rak3172',
    settings: { address: 'first-two-bytes', radio: { frequencyMHz: 868.1, spreadingFactor: 7 } },
    baudRate: firmware === 'old' ? 9600 : 115_200,
    intervalMs: everyNode(nodeIntervalMs, nodes),
    speak: (timeMs) => {
      if (receivesUntilMs === undefined) return undefined
      if (timeMs > receivesUntilMs) {
        receivesUntilMs = undefined
        return says('+EVT:RXP2P RECEIVE TIMEOUT')
      }
      const sent = next(timeMs)
      const { rssi, snr } = sent
      const digits = hexOf(addressed(sent))
      return {
        bytes:
          firmware === 'old'
            ? lines(`+EVT:RXP2P, RSSI ${rssi}, SNR ${snr}`, `+EVT:${digits}`)
            : lines(`+EVT:RXP2P:${rssi}:${snr}:${digits}`),
        meant: sent.meant(`lora-${sent.address}`, [
          ...heardAs(sent),
          { quantity: 'frequency', value: 868.1 },
          { quantity: 'spreading_factor', value: 7 },
        ]),
      }
    },
    hear: (bytes, timeMs) => commands(bytes).map((text) => obey(text, timeMs)),
    powerOn: () => {
      receivesUntilMs = undefined
      return [banner()]
    },
  }
}

/** A module with three nodes. */
export const rak3172Kind: Kind = {
  sensor: 'field',
  make: (site) => rak3172({ seed: site.seed, nodeIntervalMs: site.intervalMs, nodes: threeNodes(site) }),
}
