/** What is measured with: believable weather, the same in every run. */
import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import type { Signer } from '#gateway/reading/cose.ts'
import { type Clock, envelopeHash, noPrevious, signEnvelope } from '#gateway/reading/envelope.ts'
import { encodeReadings } from '#gateway/reading/payload.ts'
import { fromScaled, quantityCoded } from '#gateway/reading/quantity.ts'
import { type Reading, toValues } from '#gateway/reading/reading.ts'
import { newPem, signerOf } from '#gateway/sign/key.ts'

export const network = 'bench'

/** Readings in one envelope, as stations send them by default. */
export const batch = 50

export const steadyClock: Clock = { source: 'ntp', ageS: 12, errorMs: 5 }

/** A new station's key, for ours through the gateway's signer and for the baseline as a key object. */
export const newKeys = (): { signer: Signer; privateKey: ReturnType<typeof createPrivateKey> } => {
  const pem = newPem()
  return { signer: signerOf(pem, 'bench'), privateKey: createPrivateKey(pem) }
}

/** A key without its PEM, for stations by the dozen. */
export const newSigner = (): Signer =>
  signerOf(
    generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    'bench',
  )

/** Numbers from 0 to 1 that are the same in every run (mulberry32). */
const random = (seed: number) => (): number => {
  seed = (seed + 0x6d2b79f5) | 0
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
}

/**
 * Readings of one sensor, three quantities each, in order: air that changes slowly, a sensor that is noisy in its
 * last digits, and a host that is some milliseconds late.
 */
export const weather = (count: number, startMs: number, intervalMs: number, seed = 1): Reading[] => {
  const next = random(seed)
  const noise = (size: number): number => (next() - 0.5) * 2 * size
  let [temperature, humidity, pressure] = [21.5, 45, 1013.2]
  return Array.from({ length: count }, (_, at) => {
    temperature += noise(0.05)
    humidity = Math.min(95, Math.max(20, humidity + noise(0.2)))
    pressure += noise(0.02)
    return {
      sensor: 'garden',
      model: 'text-lines',
      timeMs: Math.floor(startMs + at * intervalMs + next() * Math.min(8, intervalMs / 2)),
      values: toValues([
        { quantity: 'temperature', value: temperature + noise(0.02) },
        { quantity: 'humidity', value: humidity + noise(0.05) },
        { quantity: 'pressure', value: pressure + noise(0.01) },
      ]),
    }
  })
}

/** A reading as a gateway without proofs would publish it: one flat JSON object, numbers in their unit. */
export const plain = ({ sensor, model, timeMs, values }: Reading): Record<string, string | number> => ({
  sensor,
  model,
  time: timeMs,
  ...Object.fromEntries(
    values.map(({ quantity, scaled }) => {
      const known = quantityCoded(quantity)!
      return [known.name, fromScaled(known, scaled ?? 0)]
    }),
  ),
})

/** Signs one envelope after the other, each naming the one before. */
export const envelopeChain = (signer: Signer) => {
  let seq = 0
  let prev = noPrevious
  return (readings: readonly Reading[]): Uint8Array => {
    const head = { seq: ++seq, prev, clock: steadyClock }
    const bytes = signEnvelope(head, encodeReadings(readings), network, signer)
    prev = envelopeHash(bytes)
    return bytes
  }
}

/** Readings cut into batches. */
export const batches = (readings: readonly Reading[], size = batch): Reading[][] =>
  Array.from({ length: Math.ceil(readings.length / size) }, (_, at) =>
    readings.slice(at * size, (at + 1) * size),
  )
