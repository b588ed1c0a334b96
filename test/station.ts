import { generateKeyPairSync, sign } from 'node:crypto'
import { holdPositions } from '#gateway/reading/contents.ts'
import type { Signer } from '#gateway/reading/cose.ts'
import { type Clock, envelopeHash, noPrevious, signEnvelope } from '#gateway/reading/envelope.ts'
import { encodeReadings } from '#gateway/reading/payload.ts'
import { type Reading, toValues } from '#gateway/reading/reading.ts'

export const network = 'testnet'

/** A fresh key as the gateway would use it. */
export const newSigner = (): Signer => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const raw = new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }).subarray(-32))
  return { publicKey: raw, sign: (message) => sign(null, message, privateKey) }
}

export const steadyClock: Clock = { source: 'ntp', ageS: 12, errorMs: 5 }

export const aReading = (timeMs: number, temperature = 21.53): Reading => ({
  sensor: 'garden',
  model: 'text-lines',
  timeMs,
  values: toValues([
    { quantity: 'temperature', value: temperature },
    { quantity: 'humidity', value: 45.1 },
    { quantity: 'pressure', value: 1013.25 },
  ]),
})

/** Signs one envelope after the other, each following the one before and counting those with positions. */
export const envelopeChain = (signer: Signer, net: string = network) => {
  let seq = 0
  let prev = noPrevious
  let withheld = 0
  return (readings: readonly Reading[]): Uint8Array => {
    if (holdPositions(readings)) withheld++
    const bytes = signEnvelope(
      { seq: ++seq, prev, clock: steadyClock, withheld },
      encodeReadings(readings),
      net,
      signer,
    )
    prev = envelopeHash(bytes)
    return bytes
  }
}
