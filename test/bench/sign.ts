import { sign } from 'node:crypto'
import { noPrevious, signEnvelope } from '#gateway/reading/envelope.ts'
import { encodeReadings } from '#gateway/reading/payload.ts'
import { type Measurement, row } from './measurement.ts'
import { computeInTurns } from './rounds.ts'
import { batch, batches, network, newKeys, steadyClock, weather } from './samples.ts'

const sampleCount = 64

/** Signing an envelope beside signing as many bytes. */
export const signing: Measurement = {
  name: 'sign',
  title: `Sign an envelope of ${batch} readings`,
  baseline: 'crypto.sign of as many bytes, cached key',
  unit: 'envelopes/CPU-s',
  run: async (context) => {
    const { signer, privateKey } = newKeys()
    const groups = batches(weather(sampleCount * batch, Date.now(), 30_000))
    const payloads = groups.map(encodeReadings)
    const head = { seq: 1_000_000, prev: noPrevious, clock: steadyClock }
    const messages: Uint8Array[] = []
    const listening = {
      publicKey: signer.publicKey,
      sign: (message: Uint8Array) => {
        messages.push(message)
        return new Uint8Array(64)
      },
    }
    for (const payload of payloads) signEnvelope(head, payload, network, listening)

    const { raw, envelope, whole } = await computeInTurns(context, {
      raw: (turn) => sign(null, messages[turn % sampleCount]!, privateKey),
      envelope: (turn) => signEnvelope(head, payloads[turn % sampleCount]!, network, signer),
      whole: (turn) => signEnvelope(head, encodeReadings(groups[turn % sampleCount]!), network, signer),
    })
    return [
      row('head, signature, frame', envelope, raw, { aim: { least: 0.85 } }),
      row('the same, and the readings encoded', whole, raw),
    ]
  },
}
