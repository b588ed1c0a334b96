/** Frames that radio nodes signed, as a station hears them. */
import type { Signer } from '#gateway/reading/cose.ts'
import { envelopeHash, noPrevious, signEnvelope } from '#gateway/reading/envelope.ts'
import { encodeHeard, type Heard, heardContentType } from '#gateway/reading/heard.ts'
import { stationId } from '#gateway/reading/key.ts'
import { decodeNodeFrame, expandNodeFrame, signNodeFrame } from '#gateway/reading/node-frame.ts'
import type { NodeReading } from '#gateway/reading/node-payload.ts'
import type { Value } from '#gateway/reading/reading.ts'
import { weather } from './reading/samples.ts'
import type { startHub } from './relay-world.ts'
import { network, newSigner, steadyClock } from './station.ts'

export type Content = { readonly ages?: readonly number[]; readonly values?: readonly Value[] }

/** What a node measured at these ages in seconds, from old to new: the weather, or always these values. */
export const nodeReadings = (seq: number, { ages = [60, 0], values }: Content = {}): NodeReading[] =>
  weather(ages.length, 0, 'env', seq).map((reading, at) => ({
    ageS: ages[at]!,
    values: values ?? reading.values,
  }))

/** A frame on the air. */
export const frameFrom = (node: Signer, seq: number, network: string, content?: Content): Uint8Array =>
  signNodeFrame(nodeReadings(seq, content), seq, network, node)

/** The same as the station's driver hands it on. */
export const heardFrom = (
  node: Signer,
  seq: number,
  receivedMs: number,
  network: string,
  content?: Content,
): Heard => {
  const decoded = decodeNodeFrame(frameFrom(node, seq, network, content))
  if (!decoded.ok) throw new Error(decoded.detail)
  const sign1 = expandNodeFrame(decoded.frame, node.publicKey, network)
  if (sign1 === undefined) throw new Error('not verified')
  return {
    receivedMs,
    sensor: 'field-shed',
    model: 'reyax-rylr',
    radio: [
      { quantity: 33, scaled: -870 },
      { quantity: 34, scaled: 75 },
      { quantity: 46, scaled: 8_681_000 },
      { quantity: 47, scaled: 9 },
    ],
    publicKey: node.publicKey,
    sign1,
  }
}

/** An envelope of a station that holds these frames, whether they are true or not. */
export const holding = (
  frames: readonly Heard[],
  signer: Signer = newSigner(),
  seq = 1,
  prev: Uint8Array = noPrevious,
  withheld = 0,
) => {
  const bytes = signEnvelope(
    { seq, prev, clock: steadyClock, contentType: heardContentType, withheld },
    encodeHeard(frames),
    network,
    signer,
  )
  return { signer, station: stationId(signer.publicKey), bytes, hash: envelopeHash(bytes) }
}

/** Offers an envelope to a hub: what it has kept and refused then, and why the newest refusal. */
export const offered = async (
  hub: Awaited<ReturnType<typeof startHub>>,
  station: string,
  bytes: Uint8Array,
) => {
  await hub.ingest.offer({ network, station, bytes, receivedMs: Date.now() })
  const [newest] = await hub.evidence.refusals(1)
  return { kept: hub.ingest.status.kept, refused: hub.ingest.status.refused, reason: newest?.reason }
}
