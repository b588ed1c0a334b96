/** A REYAX RYLR modem and the LoRa nodes that it hears. */
import assert from 'node:assert/strict'
import type { Measurement } from '../../gateway/reading/reading.ts'
import { commandLines, says } from './command-lines.ts'
import type { Device, Emission, Kind } from './device.ts'
import { everyNode, heardAs, type LoraNode, radioNodesAnd, threeNodes } from './radio-nodes.ts'
import { type SigningNode, signingNode } from './signing-node.ts'

export type { LoraNode } from './radio-nodes.ts'

// RYLR998 and RYLR896 AT command guides; versions as modems in the field print them.
const maxData = 240
const settable = /^AT\+(ADDRESS|NETWORKID|BAND|PARAMETER|CPIN|IPR|CRFOP|MODE)=([\x20-\x7e]{1,48})$/
const askable = /^AT\+(ADDRESS|NETWORKID|BAND|PARAMETER|IPR|CRFOP|MODE)\?$/
const variants = {
  rylr998: { version: 'RYLR998_REYAX_V1.2.2', passwordDigits: 8 },
  rylr896: { version: 'RYLR89C_V1.2.7', passwordDigits: 32 },
} as const

export type LoraModemOptions = {
  readonly seed: number
  readonly nodes: readonly LoraNode[]
  /** One that signs, beside them: the modem is then set to its channel. */
  readonly signing?: SigningNode
  readonly variant?: keyof typeof variants
  /** How often each node sends. */
  readonly nodeIntervalMs?: number
}

/** A simulated modem; its nodes take turns. */
export const loraModem = ({
  seed,
  nodes,
  signing,
  variant = 'rylr998',
  nodeIntervalMs = 5000,
}: LoraModemOptions): Device => {
  const { version, passwordDigits } = variants[variant]
  const next = radioNodesAnd(seed, nodes, signing)
  const all = signing ? [...nodes, signing] : nodes
  // PARAMETER: spreading factor, 7 for 125 kHz, 1 for 4/5, symbols of the preamble.
  const set = signing && {
    bandHz: signing.frequencyMHz * 1e6,
    parameter: `${signing.spreadingFactor},7,1,12`,
    signed: [signing.owned],
  }
  const known: readonly Measurement[] = signing
    ? [
        { quantity: 'frequency', value: signing.frequencyMHz },
        { quantity: 'spreading_factor', value: signing.spreadingFactor },
      ]
    : []
  const state = new Map<string, string>()
  const commands = commandLines()

  const obey = (text: string): Emission => {
    const [, name, value] = settable.exec(text) ?? []
    if (name === 'CPIN' && !new RegExp(`^[0-9A-F]{${passwordDigits}}$`).test(value!)) return says('+ERR=5')
    if (name) state.set(name, value!)
    if (name || text === 'AT') return says('+OK')
    if (text === 'AT+VER?') return says(`+VER=${version}`)
    const asked = askable.exec(text)?.[1]
    if (asked) return says(`+${asked}=${state.get(asked) ?? '0'}`)
    return says(text.startsWith('AT') ? '+ERR=4' : '+ERR=2')
  }

  return {
    model: 'reyax-rylr',
    settings: { address: 1, networkId: 18, nodes: all.map(({ address }) => `lora-${address}`), ...set },
    baudRate: 115_200,
    intervalMs: everyNode(nodeIntervalMs, all),
    speak: (timeMs) => {
      const sent = next(timeMs)
      if (!sent) return undefined
      const { address, data, rssi, snr } = sent
      assert(data.length <= maxData, `a payload of ${data.length} bytes is more than the modem sends`)
      return {
        bytes: new Uint8Array(
          Buffer.concat([
            Buffer.from(`+RCV=${address},${data.length},`),
            data,
            Buffer.from(`,${rssi},${snr}\r\n`),
          ]),
        ),
        meant: sent.meant(`lora-${address}`, [...heardAs(sent), ...known]),
      }
    },
    hear: (bytes) => commands(bytes).map(obey),
    powerOn: () => {
      // The password is in no memory that lasts.
      state.delete('CPIN')
      return [says('+READY')]
    },
  }
}

// A tenth of the time, which 869.4 to 869.65 MHz allow, carries five readings every seven seconds.
const air = { dataRate: 3, spreadingFactor: 9, frequencyMHz: 869.525 }

/** A modem with three nodes, and a fourth that signs. */
export const loraModemKind: Kind = {
  sensor: 'field',
  make: (site) =>
    loraModem({
      seed: site.seed,
      nodeIntervalMs: site.intervalMs,
      nodes: threeNodes(site),
      signing: signingNode(site, 14, air),
    }),
}
