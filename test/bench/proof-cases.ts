/** Bundles to be verified: a hundred stations, a batch an hour, and of one station some readings or many. */
import { buildBundle } from '#gateway/market/bundle.ts'
import { toBeSigned } from '#gateway/reading/cose.ts'
import { decodeEnvelope } from '#gateway/reading/envelope.ts'
import { openWorld } from '#test/bundle-world.ts'
import { batch, newSigner, weather } from './samples.ts'

const stations = 100
const intervalMs = 30_000
const startMs = 1_763_700_000_000
const hourMs = 3_600_000

/** How many readings each bundle is of. */
export const counts = [1, 100, 10_000] as const

/** An envelope as the baseline sees it: what its signature is over, and the whole. */
export type Bare = {
  readonly bytes: Uint8Array
  readonly message: Uint8Array
  readonly signature: Uint8Array
}

export type ProofCase = {
  readonly readings: number
  readonly bundle: Uint8Array
  readonly publicKey: Uint8Array
  /** The envelopes that hold these readings, no neighbours. */
  readonly envelopes: readonly Bare[]
}

/** Makes the cases; signing takes some seconds. */
export const makeCases = async (): Promise<ProofCase[]> => {
  const world = openWorld('bench')
  const signer = newSigner()
  const station = world.addStation(signer)
  const others = Array.from({ length: stations - 1 }, () => world.addStation(newSigner()))
  const all = weather(Math.max(...counts) + 3 * batch, startMs, intervalMs)
  const own = Array.from({ length: Math.floor(all.length / batch) }, (_, at) =>
    world.sign(station, all.slice(at * batch, (at + 1) * batch)),
  )
  const hours = Math.ceil((all.length * intervalMs) / hourMs)
  // An hour of the others is one small envelope each: they make the trees and the statements as large as they are.
  const beside = others.map((other, at) =>
    weather(hours, startMs, hourMs, at + 2).map((reading) => world.sign(other, [reading])),
  )
  for (let hour = 0; hour < hours; hour++) {
    const endMs = startMs + (hour + 1) * hourMs
    const mine = own.filter(({ lastMs }) => lastMs >= endMs - hourMs && lastMs < endMs)
    world.closeBatch([...mine, ...beside.map((envelopes) => envelopes[hour]!)])
    world.anchor(hour + 1)
  }
  return Promise.all(
    counts.map(async (readings) => {
      // The second envelope on, so that there is a neighbour on either side.
      const fromMs = all[batch]!.timeMs
      const toMs = all[batch + readings]!.timeMs
      const built = await buildBundle(world.deps, { stations: [station], fromMs, toMs })
      if (!built.ok) throw new Error(`a bundle of our own cannot be built: ${built.detail}`)
      const envelopes = own.slice(1, 1 + Math.ceil(readings / batch)).map(({ bytes }): Bare => {
        const taken = decodeEnvelope(bytes)
        if (!taken.ok) throw new Error(`an envelope of our own is refused: ${taken.detail}`)
        const { protectedBytes, payload, signature } = taken.envelope
        return { bytes, message: toBeSigned(protectedBytes, payload, 'bench'), signature }
      })
      return { readings, bundle: built.bytes, publicKey: signer.publicKey, envelopes }
    }),
  )
}
