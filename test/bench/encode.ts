import { noPrevious, signEnvelope } from '#gateway/reading/envelope.ts'
import { encodeReadings } from '#gateway/reading/payload.ts'
import { type Measurement, row } from './measurement.ts'
import { computeInTurns } from './rounds.ts'
import { batch, batches, network, newSigner, plain, steadyClock, weather } from './samples.ts'

const sampleCount = 64

/** Readings to the bytes of an envelope, all but the signature, beside readings to the bytes of JSON. */
export const encoding: Measurement = {
  name: 'encode',
  title: `Encode an envelope of ${batch} readings, unsigned`,
  baseline: `JSON.stringify of the same ${batch}, to bytes`,
  unit: 'readings/CPU-s',
  run: async (context) => {
    const groups = batches(weather(sampleCount * batch, Date.now(), 30_000))
    const flat = groups.map((readings) => readings.map(plain))
    const noSignature = new Uint8Array(64)
    const signer = { publicKey: newSigner().publicKey, sign: () => noSignature }
    const head = { seq: 1_000_000, prev: noPrevious, clock: steadyClock }

    const rates = await computeInTurns(context, {
      ours: (turn) => signEnvelope(head, encodeReadings(groups[turn % sampleCount]!), network, signer),
      payload: (turn) => encodeReadings(groups[turn % sampleCount]!),
      flat: (turn) => Buffer.from(JSON.stringify(flat[turn % sampleCount]!)),
      nested: (turn) => Buffer.from(JSON.stringify(groups[turn % sampleCount]!)),
    })
    const readings = (envelopes: readonly number[]) => envelopes.map((rate) => rate * batch)
    const [ours, json] = [readings(rates.ours), readings(rates.flat)]
    return [
      row('beside flat objects, numbers in their unit', ours, json, { aim: { least: 2 } }),
      row('beside the very same objects', ours, readings(rates.nested)),
      row('payload alone, beside flat objects', readings(rates.payload), json),
    ]
  },
}
