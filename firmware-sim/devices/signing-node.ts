/** A node that signs, as a modem hears it: some readings at a time, when the rules of the air let them. */
import type { Measurement } from '../../gateway/reading/reading.ts'
import type { Settings } from '../../gateway/sensors/sensors.ts'
import { signedNode } from '../radio/signed-node.ts'
import { chanceAt, generator } from '../random.ts'
import { around } from '../world.ts'
import type { Site } from './device.ts'
import type { Transmission } from './radio-nodes.ts'

/**
 * `frequencyMHz` and `spreadingFactor` are what the modem must listen to, `owned` is what the owner writes of the node
 * in the setting `signed`. `next` is its turn: what it sends now, or nothing.
 */
export type SigningNode = {
  readonly address: number
  readonly frequencyMHz: number
  readonly spreadingFactor: number
  readonly owned: Settings
  readonly next: (timeMs: number) => Transmission | undefined
}

/** The air that a node and its modem share: an EU868 data rate of 125 kHz, its spreading factor, and one channel. */
export type Air = {
  readonly dataRate: number
  readonly spreadingFactor: number
  readonly frequencyMHz: number
}

// They fit EU868 data rate 3 in any weather that changes no faster than by the hour.
const readings = 5
// A real node keeps its number; this one, made anew at each start of the simulation, counts on from the seconds since
// then: it has never sent more than one frame a second.
const countedFromMs = Date.UTC(2025, 0, 1)

/** One such node within two kilometres of a site, at this address; it measures as often as the site's devices do. */
export const signingNode = (
  { seed, network, place, airAt, intervalMs }: Site,
  address: number,
  { dataRate, spreadingFactor, frequencyMHz }: Air,
): SigningNode => {
  const own = seed + address
  const make = (firstSeq: number) =>
    signedNode({
      seed: own,
      network,
      region: 'EU868',
      dataRate,
      channelsMHz: [frequencyMHz],
      air: airAt(around(place, 2, generator(own))),
      measureMs: intervalMs,
      readings,
      firstSeq,
    })
  let node: ReturnType<typeof make> | undefined
  const { publicKey } = make(1)
  return {
    address,
    frequencyMHz,
    spreadingFactor,
    owned: { publicKey: Buffer.from(publicKey).toString('hex'), name: `lora-${address}` },
    next: (timeMs) => {
      node ??= make(Math.max(1, Math.floor((timeMs - countedFromMs) / 1000)))
      const sent = node.tick(timeMs)
      if (!sent) return undefined
      const newest = sent.readings.length - 1
      return {
        address,
        data: sent.bytes,
        rssi: Math.round(-60 - 50 * chanceAt(seed, address) - 6 * chanceAt(seed, address, timeMs)),
        snr: Math.round(12 - 14 * chanceAt(seed, address, 1)),
        meant: (name, radio: readonly Measurement[]) =>
          sent.readings.map(({ measurements }, at) => ({
            node: name,
            measurements: at === newest ? [...measurements, ...radio] : measurements,
          })),
      }
    },
  }
}
