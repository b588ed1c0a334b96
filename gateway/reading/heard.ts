/**
 * Frames that radio nodes signed, as a station heard them: `application/vnd.groundtruth.heard+cbor`. The station signs
 * when, how strongly and under which name it heard a frame; what was measured stays signed by the node. Layout:
 * nodes.cddl.
 */
import { verify } from '#ed25519'
import { equalBytes, toHex } from './bytes.ts'
import { CborWriter, decodeCbor, envelopeBounds, isUint } from './cbor.ts'
import { toBeSigned } from './cose.ts'
import { keyId, knownKeyFault } from './key.ts'
import { decodeNodeMessage, type NodeMessage } from './node-frame.ts'
import { maxReadings } from './payload.ts'
import { quantity, scaledMax, scaledMin } from './quantity.ts'
import { idPattern, type Reading, type Value } from './reading.ts'
import { type Refused, refused } from './refusal.ts'

export const heardContentType = 'application/vnd.groundtruth.heard+cbor'

/** Frames in one envelope, at most: its 8 KiB hold fewer. */
export const maxHeard = 64

/** What a station says of how it heard a frame, in the order of their codes. */
export const radioCodes: readonly number[] = (['rssi', 'snr', 'frequency', 'spreading_factor'] as const).map(
  (name) => quantity(name).code,
)

// Year 9999, as for readings that a station measured itself.
const latestMs = 253_402_300_799_999

/**
 * A frame as heard: when (UTC ms), the name and model that its node has at this station, the radio's scaled values
 * (`radioCodes`, ascending, none absent), the node's public key (32 bytes), and the exact COSE_Sign1.
 */
export type Heard = {
  readonly receivedMs: number
  readonly sensor: string
  readonly model: string
  readonly radio: readonly (Value & { readonly scaled: number })[]
  readonly publicKey: Uint8Array
  readonly sign1: Uint8Array
}

/** The same taken apart. `node` is the key id that the frame names, in hex; `readings` are what it says. */
export type HeardFrame = Heard & {
  readonly node: string
  readonly seq: number
  readonly readings: readonly Reading[]
  readonly message: NodeMessage
}

/** The payload of frames in the order they were heard. Throws RangeError for none or more than `maxHeard`. */
export const encodeHeard = (frames: readonly Heard[]): Uint8Array => {
  if (frames.length === 0 || frames.length > maxHeard)
    throw new RangeError(`1 to ${maxHeard} frames make a payload, not ${frames.length}`)
  const writer = new CborWriter().array(frames.length)
  for (const { receivedMs, sensor, model, radio, publicKey, sign1 } of frames) {
    writer.array(6).int(receivedMs).text(sensor).text(model).map(radio.length)
    for (const { quantity: code, scaled } of radio) writer.int(code).int(scaled)
    writer.bytes(publicKey).bytes(sign1)
  }
  return writer.finish()
}

/**
 * A frame's readings: each as much before the time of receipt as its node says it is old. The newest carries how the
 * frame was heard, but for a quantity that the node signed itself. A string says why there are none.
 */
const readingsOfFrame = (heard: Heard, { readings }: NodeMessage): Reading[] | string => {
  const { receivedMs, sensor, model, radio } = heard
  if (readings[0]!.ageS * 1000 > receivedMs) return 'a reading from before 1970'
  return readings.map(({ ageS, values }, at) => ({
    sensor,
    model,
    timeMs: receivedMs - ageS * 1000,
    values:
      at < readings.length - 1
        ? values
        : [
            ...values,
            ...radio.filter((one) => values.every(({ quantity: code }) => code !== one.quantity)),
          ].sort((a, b) => a.quantity - b.quantity),
  }))
}

/** Takes one heard frame apart. Its form is checked, not its signature. */
export const openHeard = (heard: Heard): { readonly ok: true; readonly frame: HeardFrame } | Refused => {
  const decoded = decodeNodeMessage(heard.sign1)
  if (!decoded.ok) return decoded
  const { message } = decoded
  const readings = readingsOfFrame(heard, message)
  if (typeof readings === 'string') return refused('bad-payload', `a node's frame: ${readings}`)
  return { ok: true, frame: { ...heard, node: toHex(message.kid), seq: message.seq, readings, message } }
}

const radioOf = (value: unknown): Heard['radio'] | undefined => {
  if (!(value instanceof Map)) return undefined
  const radio: { quantity: number; scaled: number }[] = []
  for (const [code, scaled] of value) {
    if (typeof code !== 'number' || !radioCodes.includes(code)) return undefined
    if (typeof scaled !== 'number' || !Number.isInteger(scaled)) return undefined
    if (scaled < scaledMin || scaled > scaledMax) return undefined
    radio.push({ quantity: code, scaled })
  }
  return radio
}

/**
 * Reads a payload back: frames in the order they stand in it, each node's with ascending numbers. Bad bytes are an
 * answer, never an exception; signatures are for `framesFault`.
 */
export const decodeHeard = (
  payload: Uint8Array,
): { readonly ok: true; readonly frames: readonly HeardFrame[] } | Refused => {
  const bad = (what: string): Refused => refused('bad-payload', what)
  const decoded = decodeCbor(payload, envelopeBounds)
  if (!decoded.ok) return bad(decoded.detail)
  const items = decoded.value
  if (!Array.isArray(items) || items.length === 0 || items.length > maxHeard)
    return bad(`a payload is a list of 1 to ${maxHeard} heard frames`)
  const frames: HeardFrame[] = []
  const newest = new Map<string, number>()
  let readings = 0
  for (const item of items) {
    if (!Array.isArray(item) || item.length !== 6) return bad('a heard frame is an array of six')
    const [receivedMs, sensor, model, radioItem, publicKey, sign1] = item
    if (!isUint(receivedMs) || receivedMs > latestMs) return bad('a time of receipt is no time')
    if (typeof sensor !== 'string' || !idPattern.test(sensor)) return bad('a sensor id out of form')
    if (typeof model !== 'string' || !idPattern.test(model)) return bad('a model name out of form')
    const radio = radioOf(radioItem)
    if (radio === undefined) return bad('how a frame was heard cannot be read')
    if (!(publicKey instanceof Uint8Array) || publicKey.length !== 32) return bad('a public key has 32 bytes')
    if (!(sign1 instanceof Uint8Array)) return bad('a frame is a byte string')
    const opened = openHeard({
      receivedMs,
      sensor,
      model,
      radio,
      publicKey: publicKey.slice(),
      sign1: sign1.slice(),
    })
    if (!opened.ok) return opened
    const { frame } = opened
    if (frame.seq <= (newest.get(frame.node) ?? 0))
      return refused(
        'replayed-frame',
        `frame ${frame.seq} of node ${frame.node} stands behind ${newest.get(frame.node)}`,
      )
    newest.set(frame.node, frame.seq)
    readings += frame.readings.length
    if (readings > maxReadings) return bad(`more than ${maxReadings} readings`)
    frames.push(frame)
  }
  return { ok: true, frames }
}

/** What is wrong with the first frame that is not its node's: another key's id, an unfit key, or a signature. */
export const framesFault = (frames: readonly HeardFrame[], network: string): Refused | undefined => {
  for (const { node, seq, publicKey, message } of frames) {
    const { kid, sign1 } = message
    const name = `frame ${seq} of node ${node}`
    if (!equalBytes(kid, keyId(publicKey)))
      return refused('forged-frame', `${name} comes with the key of ${toHex(keyId(publicKey))}`)
    if (!verify(sign1.signature, toBeSigned(sign1.protectedBytes, sign1.payload, network), publicKey))
      return refused(
        'forged-frame',
        `the signature of ${name} does not fit its bytes, its key and ${network}`,
      )
    const weak = knownKeyFault(publicKey)
    if (weak !== undefined) return refused('weak-key', `the public key of node ${node} is unfit: ${weak}`)
  }
  return undefined
}
