/** A radio node that measures, signs, and sends when the rules of its region let it. */
import { createHash } from 'node:crypto'
import * as ed25519 from '@noble/ed25519'
import { sha512 } from '@noble/hashes/sha2.js'
import { signNodeFrame } from '../../gateway/reading/node-frame.ts'
import { type Measurement, toValues } from '../../gateway/reading/reading.ts'
import { rounded } from '../devices/device.ts'
import type { Conditions } from '../world.ts'
import { type RegionName, transmitter } from './region.ts'

// The portable implementation, as a node has one of its own: what it signs, the station's other one verifies.
ed25519.hashes.sha512 = sha512

export type SignedNodeOptions = {
  readonly seed: number
  readonly network: string
  readonly region: RegionName
  readonly dataRate: number
  /** Channels that it hops over; those of LoRaWAN unless told. */
  readonly channelsMHz?: readonly number[]
  readonly air: (timeMs: number) => Conditions
  /** How often it measures. */
  readonly measureMs: number
  /** Readings under one signature, where as many fit. */
  readonly readings: number
  /**
   * The number of its first frame, 1 unless told. A node that was used before has kept it; one that forgets is heard by
   * nobody until it is past what it has used.
   */
  readonly firstSeq?: number
}

/** What a frame that was sent says: measurements and how old each was, from old to new. */
export type SentFrame = {
  readonly bytes: Uint8Array
  readonly frequencyMHz: number
  readonly readings: readonly { readonly ageS: number; readonly measurements: readonly Measurement[] }[]
}

const measured = ({ temperature, humidity, pressure }: Conditions): readonly Measurement[] => [
  { quantity: 'temperature', value: rounded(temperature, 2) },
  { quantity: 'humidity', value: rounded(humidity, 2) },
  { quantity: 'pressure', value: rounded(pressure, 2) },
]

/** A node whose key follows from its seed. `tick` is called as often as one likes, with a clock that never jumps. */
export const signedNode = ({
  seed,
  network,
  region,
  dataRate,
  channelsMHz,
  air,
  measureMs,
  readings: perFrame,
  firstSeq = 1,
}: SignedNodeOptions) => {
  const secret = new Uint8Array(createHash('sha256').update(`node ${seed}`).digest())
  const publicKey = ed25519.getPublicKey(secret)
  const signer = { publicKey, sign: (message: Uint8Array) => ed25519.sign(message, secret) }
  const radio = transmitter(region, dataRate, channelsMHz)
  const waiting: { readonly atMs: number; readonly measurements: readonly Measurement[] }[] = []
  let measuredMs = Number.NEGATIVE_INFINITY
  let quietUntilMs = Number.NEGATIVE_INFINITY
  let seq = firstSeq - 1

  const frameOf = (readings: SentFrame['readings']): Uint8Array =>
    signNodeFrame(
      readings.map(({ ageS, measurements }) => ({ ageS, values: toValues(measurements) })),
      seq + 1,
      network,
      signer,
    )

  /** The oldest of what waits, as many as fit; where not even one does, the radio will say so. */
  const fitting = (nowMs: number): Pick<SentFrame, 'bytes' | 'readings'> => {
    const readings = waiting.map(({ atMs, measurements }) => ({
      ageS: Math.floor((nowMs - atMs) / 1000),
      measurements,
    }))
    let bytes = frameOf(readings)
    while (bytes.length > radio.maxPayload && readings.length > 1) {
      readings.pop()
      bytes = frameOf(readings)
    }
    return { bytes, readings }
  }

  return {
    publicKey,
    /** The frame it sends at this moment; undefined where it measures, waits for its share of the air, or has nothing. */
    tick: (nowMs: number): SentFrame | undefined => {
      if (nowMs - measuredMs >= measureMs) {
        measuredMs = nowMs
        waiting.push({ atMs: nowMs, measurements: measured(air(nowMs)) })
        // What cannot be sent in time grows old: the newest are what fits.
        if (waiting.length > perFrame) waiting.shift()
      }
      if (waiting.length < perFrame || nowMs < quietUntilMs) return undefined
      const { bytes, readings } = fitting(nowMs)
      const sent = radio.send(bytes.length, nowMs)
      if (!sent.ok) {
        quietUntilMs = nowMs + sent.againMs
        return undefined
      }
      seq += 1
      waiting.splice(0, readings.length)
      // Its share lasts for the whole hour: who uses it up at once is silent for the rest.
      quietUntilMs = nowMs + Math.ceil(sent.airtimeMs + sent.restMs)
      return { bytes, frequencyMHz: sent.frequencyMHz, readings }
    },
  }
}
