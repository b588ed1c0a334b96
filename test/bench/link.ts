import { framer } from '#gateway/link/frame.ts'
import { drivers } from '#gateway/sensors/all.ts'
import { decoderOf } from '#gateway/sensors/read.ts'
import type { Driver } from '#gateway/sensors/sensors.ts'
import { checkingSurroundings } from '#gateway/surroundings.ts'
import type { Measurement, Row } from './measurement.ts'
import { computeInTurns } from './rounds.ts'

// 8N1: ten bits a byte.
const lineBytesPerS = 921_600 / 10
// What a serial adapter hands over at a time.
const chunkBytes = 512
const streamBytes = 64 * 1024

// One of each kind of framing: text by lines, a checksum behind a header, flags, lengths.
const measured: readonly Driver['model'][] = [
  'text-lines',
  'nmea',
  'plantower-pms',
  'sensirion-sps30',
  'ubx',
  'rtl-433',
]

/** A driver's first example over and over, cut without regard to frames, with how many there are. */
const streamOf = (
  driver: Driver,
): { readonly chunks: readonly Uint8Array[]; readonly frames: number; readonly bytes: number } => {
  const { bytes } = driver.examples[0]!
  const frames = Math.ceil(streamBytes / bytes.length)
  const stream = Buffer.concat(Array.from({ length: frames }, () => bytes))
  const chunks = Array.from(
    { length: Math.ceil(stream.length / chunkBytes) },
    (_, at) => new Uint8Array(stream.subarray(at * chunkBytes, (at + 1) * chunkBytes)),
  )
  return { chunks, frames, bytes: stream.length }
}

/** How much faster than the fastest serial line bytes become measurements, on one core. */
export const linking: Measurement = {
  name: 'link',
  title: 'From bytes to measurements: framing and decoding',
  baseline: 'a line of 921,600 baud that is never silent',
  unit: 'kB/CPU-s',
  run: async (context) => {
    const rows: Row[] = []
    for (const driver of drivers.filter(({ model }) => measured.includes(model))) {
      const { chunks, frames, bytes } = streamOf(driver)
      const decoder = decoderOf(driver, driver.examples[0]!.settings ?? {}, checkingSurroundings)
      const cutter = framer(decoder.framing ?? driver.framing)
      let atMs = 0
      let outcomes = 0
      const { work } = await computeInTurns(context, {
        work: () => {
          for (const chunk of chunks)
            for (const frame of cutter.push(chunk)) {
              atMs += 10_000
              outcomes += decoder.decode(frame, atMs).length
            }
        },
      })
      if (outcomes === 0) throw new Error(`${driver.model} decoded nothing`)
      const perS = work.map((passes) => passes * bytes)
      const middle = perS.toSorted((a, b) => a - b)[perS.length >> 1]!
      rows.push({
        what: driver.model,
        ours: middle / 1000,
        baseline: lineBytesPerS / 1000,
        ratios: perS.map((rate) => rate / lineBytesPerS),
        aim: { least: 50 },
        note: `${Math.round((middle / bytes) * frames).toLocaleString('en-US')} frames a second`,
      })
    }
    return rows
  },
}
