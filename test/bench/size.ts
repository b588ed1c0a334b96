import type { Aim, Measurement, Row } from './measurement.ts'
import { batches, envelopeChain, newSigner, plain, weather } from './samples.ts'

const readingCount = 3_000

const jsonBytes = (objects: readonly unknown[]): number =>
  Buffer.byteLength(JSON.stringify(objects)) / objects.length

/** Bytes on the wire and in evidence for each reading, signature included. */
export const size: Measurement = {
  name: 'size',
  title: 'Bytes of a signed reading, one every 30 s',
  baseline: 'unsigned JSON of the same readings, flat',
  unit: 'bytes/reading',
  run: async () => {
    const readings = weather(readingCount, Date.now(), 30_000)
    const objects = readings.map(plain)
    const whole = jsonBytes(objects)
    const withoutModel = jsonBytes(objects.map(({ model: _, ...rest }) => rest))
    const beside = (what: string, count: number, baseline: number, aim?: Aim): Row => {
      const ours =
        batches(readings, count)
          .map(envelopeChain(newSigner()))
          .reduce((sum, { length }) => sum + length, 0) / readingCount
      return { what, ours, baseline, ratios: [ours / baseline], ...(aim && { aim }) }
    }
    return [
      beside('1 reading in an envelope', 1, whole),
      beside('50 readings in an envelope', 50, whole, { most: 0.07 }),
      beside('50, beside JSON that leaves the model out', 50, withoutModel),
    ]
  },
}
