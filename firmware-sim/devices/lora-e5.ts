/** A Seeed LoRa-E5 and the LoRa nodes that it hears in test mode. */
import { commandLines, hexOf, lines, says } from './command-lines.ts'
import type { Device, Emission, Kind } from './device.ts'
import { addressed, everyNode, heardAs, type LoraNode, radioNodes, threeNodes } from './radio-nodes.ts'

// LoRa-E5 AT command specification V1.0, MODE and TEST.
const rfConfig =
  /^RFCFG, ?(\d{3}(?:\.\d{1,6})?), ?SF(7|8|9|10|11|12), ?(125|250|500), ?(\d{1,5}), ?(\d{1,5}), ?(\d{1,2}), ?(ON|OFF), ?(ON|OFF), ?(ON|OFF)$/

export type LoraE5Options = {
  readonly seed: number
  readonly nodes: readonly LoraNode[]
  /** How often each node sends. */
  readonly nodeIntervalMs?: number
}

/** A simulated module: not in test mode at first; it stops receiving when it sends. */
export const loraE5 = ({ seed, nodes, nodeIntervalMs = 5000 }: LoraE5Options): Device => {
  const next = radioNodes(seed, nodes)
  const commands = commandLines()
  let testing = false
  let receiving = false

  const test = (what: string): Emission => {
    if (!testing) return says('+TEST: ERROR(-12)')
    const config = rfConfig.exec(what)
    if (config) {
      const [, megahertz, factor, bandwidth, tx, rx, power, crc, iq, net] = config
      receiving = false
      const hertz = Math.round(Number(megahertz) * 1e6)
      return says(
        `+TEST: RFCFG F:${hertz}, SF${factor}, BW${bandwidth}K, TXPR:${tx}, RXPR:${rx}, POW:${power}dBm, CRC:${crc}, IQ:${iq}, NET:${net}`,
      )
    }
    if (what === 'RXLRPKT' || what === 'STOP') {
      receiving = what === 'RXLRPKT'
      return says(`+TEST: ${what}`)
    }
    const sending = /^TXLRPKT, ?"((?:[0-9A-Fa-f]{2})+)"$/.exec(what)?.[1]
    if (!sending) return says('+TEST: ERROR(-1)')
    receiving = false
    return says(`+TEST: TXLRPKT "${sending}"`, '+TEST: TX DONE')
  }

  const obey = (text: string): Emission => {
    if (text === 'AT') return says('+AT: OK')
    const mode = /^AT\+MODE=(.+)$/.exec(text)?.[1]
    if (mode !== undefined) {
      if (!/^(?:TEST|LWABP|LWOTAA)$/.test(mode)) return says('+MODE: ERROR(-1)')
      testing = mode === 'TEST'
      receiving = false
      return says(`+MODE: ${mode}`)
    }
    const what = /^AT\+TEST=(.+)$/.exec(text)?.[1]
    return what === undefined ? says('+AT: ERROR(-10)') : test(what)
  }

  return {
    model: 'lora-e5',
    settings: { address: 'first-two-bytes', radio: { frequencyMHz: 868.1, preamble: 12 } },
    baudRate: 9600,
    intervalMs: everyNode(nodeIntervalMs, nodes),
    speak: (timeMs) => {
      if (!receiving) return undefined
      const sent = next(timeMs)
      const data = addressed(sent)
      return {
        bytes: lines(
          `+TEST: LEN:${data.length}, RSSI:${sent.rssi}, SNR:${sent.snr}`,
          `+TEST: RX "${hexOf(data)}"`,
        ),
        meant: sent.meant(`lora-${sent.address}`, [
          ...heardAs(sent),
          { quantity: 'frequency', value: 868.1 },
          { quantity: 'spreading_factor', value: 7 },
        ]),
      }
    },
    hear: (bytes) => commands(bytes).map(obey),
    powerOn: () => {
      testing = false
      receiving = false
      return []
    },
  }
}

/** A module with three nodes. */
export const loraE5Kind: Kind = {
  sensor: 'field',
  make: (site) => loraE5({ seed: site.seed, nodeIntervalMs: site.intervalMs, nodes: threeNodes(site) }),
}
