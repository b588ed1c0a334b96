import { verify as rawVerify } from 'node:crypto'
import { readingsOf, summarise } from '#gateway/reading/contents.ts'
import { toBeSigned } from '#gateway/reading/cose.ts'
import { keyObject, verify } from '#gateway/reading/ed25519.node.ts'
import { decodeEnvelope, type Envelope } from '#gateway/reading/envelope.ts'
import { type Measurement, row } from './measurement.ts'
import { computeInTurns } from './rounds.ts'
import { batch, batches, envelopeChain, network, newKeys, weather } from './samples.ts'

const sampleCount = 64

const decoded = (bytes: Uint8Array): Envelope => {
  const taken = decodeEnvelope(bytes)
  if (!taken.ok) throw new Error(`an envelope of our own is refused: ${taken.detail}`)
  return taken.envelope
}

const assertFits = (valid: boolean): void => {
  if (!valid) throw new Error('a good signature does not fit')
}

/** What the hub does to an envelope before it believes it, beside the signature alone. */
export const verifying: Measurement = {
  name: 'verify',
  title: `Verify an envelope of ${batch} readings`,
  baseline: 'crypto.verify of as many bytes, cached key',
  unit: 'envelopes/CPU-s',
  run: async (context) => {
    const { signer } = newKeys()
    const envelopes = batches(weather(sampleCount * batch, Date.now(), 30_000)).map(envelopeChain(signer))
    const bare = envelopes.map((bytes) => {
      const { protectedBytes, payload, signature } = decoded(bytes)
      return { message: toBeSigned(protectedBytes, payload, network), signature }
    })
    const key = keyObject(signer.publicKey)

    const check = (bytes: Uint8Array): Envelope => {
      const envelope = decoded(bytes)
      const message = toBeSigned(envelope.protectedBytes, envelope.payload, network)
      assertFits(verify(envelope.signature, message, signer.publicKey))
      return envelope
    }
    const { raw, envelope, whole } = await computeInTurns(context, {
      raw: (turn) => {
        const { message, signature } = bare[turn % sampleCount]!
        assertFits(rawVerify(null, message, key, signature))
      },
      envelope: (turn) => check(envelopes[turn % sampleCount]!),
      whole: (turn) => {
        const bytes = envelopes[turn % sampleCount]!
        const envelope = check(bytes)
        const contents = readingsOf(envelope)
        if (!contents.ok) throw new Error(`readings of our own are refused: ${contents.detail}`)
        summarise(bytes, envelope, contents.readings, contents.frames)
      },
    })
    return [
      row('form checked, decoded, signature', envelope, raw, { aim: { least: 0.85 } }),
      row('the same, and its readings and summary', whole, raw),
    ]
  },
}
