/** A RAK811 with firmware 3 and the LoRa nodes that it hears in P2P mode. */
import { commandLines, hexOf, lines, says } from './command-lines.ts'
import type { Device, Emission, Kind } from './device.ts'
import { addressed, everyNode, heardAs, type LoraNode, radioNodes, threeNodes } from './radio-nodes.ts'

// RAK811 AT command manual, firmware 3.
const configuration = /^lorap2p:(\d{9}):(\d{1,2}):([012]):([1-4]):(\d{1,5}):(\d{1,2})$/

export type Rak811Options = {
  readonly seed: number
  readonly nodes: readonly LoraNode[]
  /** How often each node sends. */
  readonly nodeIntervalMs?: number
}

/** A simulated module: in LoRaWAN mode at first; it hears nothing until it is told to receive. */
export const rak811 = ({ seed, nodes, nodeIntervalMs = 5000 }: Rak811Options): Device => {
  const next = radioNodes(seed, nodes)
  const commands = commandLines()
  let mode = '0'
  let receiving = false

  const start = (): Emission => {
    receiving = false
    return says(
      'UART1 work mode: RUI_UART_NORMAL, 115200, N81',
      'UART3 work mode: RUI_UART_NORMAL, 115200, N81',
      `LoRa work mode:${mode === '1' ? 'LORA_P2P' : 'LoRaWAN, join_mode:OTAA'}`,
      'Initialization OK',
    )
  }

  const configure = (what: string): Emission => {
    const wanted = /^lora:work_mode:(\d)$/.exec(what)?.[1]
    if (wanted !== undefined) {
      if (!/[012]/.test(wanted)) return says('ERROR: 2')
      mode = wanted
      return start()
    }
    if (!what.startsWith('lorap2p:')) return says('ERROR: 1')
    if (mode !== '1') return says('ERROR: 1')
    const transfer = /^lorap2p:transfer_mode:([12])$/.exec(what)?.[1]
    if (transfer) receiving = transfer === '1'
    const factor = Number(configuration.exec(what)?.[2])
    return says(transfer || (factor >= 6 && factor <= 12) ? 'OK' : 'ERROR: 2')
  }

  return {
    model: 'rak811',
    settings: { address: 'first-two-bytes', radio: { frequencyMHz: 868.1, spreadingFactor: 7 } },
    baudRate: 115_200,
    intervalMs: everyNode(nodeIntervalMs, nodes),
    speak: (timeMs) => {
      if (!receiving) return undefined
      const sent = next(timeMs)
      const data = addressed(sent)
      return {
        bytes: lines(`at+recv=0,${sent.rssi},${sent.snr},${data.length}:${hexOf(data)}`),
        meant: sent.meant(`lora-${sent.address}`, [
          ...heardAs(sent),
          { quantity: 'frequency', value: 868.1 },
          { quantity: 'spreading_factor', value: 7 },
        ]),
      }
    },
    hear: (bytes) =>
      commands(bytes).map((text) => {
        if (text === 'at+version') return says('OK V3.0.0.14.H')
        const what = /^at\+set_config=(.+)$/i.exec(text)?.[1]
        return what === undefined ? says('ERROR: 1') : configure(what)
      }),
    powerOn: () => [start()],
  }
}

/** A module with three nodes. */
export const rak811Kind: Kind = {
  sensor: 'field',
  make: (site) => rak811({ seed: site.seed, nodeIntervalMs: site.intervalMs, nodes: threeNodes(site) }),
}
