import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toHex } from '#gateway/reading/bytes.ts'
import { holdPositions, readingsOf, summarise } from '#gateway/reading/contents.ts'
import { decodeEnvelope, noPrevious, signEnvelope } from '#gateway/reading/envelope.ts'
import {
  decodeHeard,
  encodeHeard,
  framesFault,
  type Heard,
  heardContentType,
} from '#gateway/reading/heard.ts'
import { keyId, stationId } from '#gateway/reading/key.ts'
import { heardFrom } from '../node-samples.ts'
import { mutation, seed, signerOf } from './samples.ts'

const network = 'test'
const receivedMs = 1_763_700_000_000
const node = signerOf(51)

const decodedOf = (frames: readonly Heard[]) => {
  const decoded = decodeHeard(encodeHeard(frames))
  return decoded.ok ? decoded.frames : expect.fail(decoded.detail)
}

const faultOf = (frames: readonly Heard[], net = network): string | undefined =>
  framesFault(decodedOf(frames), net)?.reason

const small = new Uint8Array(32).with(0, 1)

describe('frames as a station heard them', () => {
  it('give readings as old as their node says, the newest with how it was heard', () => {
    const heard = heardFrom(node, 7, receivedMs, network, { ages: [120, 60, 0] })
    const [frame] = decodedOf([heard])
    expect(frame).toMatchObject({ node: stationId(node.publicKey), seq: 7, sensor: 'field-shed' })
    expect(frame!.readings.map(({ timeMs }) => receivedMs - timeMs)).toEqual([120_000, 60_000, 0])
    expect(frame!.readings.map(({ values }) => values.map(({ quantity }) => quantity))).toEqual([
      [1, 2, 3],
      [1, 2, 3],
      [1, 2, 3, 33, 34, 46, 47],
    ])
    expect(framesFault([frame!], network)).toBeUndefined()
  })

  it('keep what a node signed itself, also where the radio says the same quantity', () => {
    const heard = heardFrom(node, 1, receivedMs, network, {
      ages: [0],
      values: [{ quantity: 33, scaled: -5 }],
    })
    expect(decodedOf([heard])[0]!.readings[0]!.values[0]).toEqual({ quantity: 33, scaled: -5 })
  })

  it('are their node’s alone: another bit, key, network or an unfit key is a fault', () => {
    const heard = heardFrom(node, 7, receivedMs, network)
    expect(faultOf([heard])).toBeUndefined()
    expect(faultOf([heard], 'other')).toBe('forged-frame')
    expect(faultOf([{ ...heard, publicKey: signerOf(52).publicKey }])).toBe('forged-frame')
    const otherSignature = heard.sign1.with(heard.sign1.length - 1, heard.sign1.at(-1)! ^ 1)
    const others = [heardFrom(node, 8, receivedMs, network), heardFrom(signerOf(52), 1, receivedMs, network)]
    expect(faultOf([heard, ...others])).toBeUndefined()
    expect(faultOf([{ ...heard, sign1: otherSignature }])).toBe('forged-frame')
    // R and A are the identity and S is 0: some verifiers take that for any message.
    const sign1 = heard.sign1.slice()
    sign1.set(keyId(small), Buffer.from(sign1).indexOf(keyId(node.publicKey)))
    sign1.set([...small, ...new Uint8Array(32)], sign1.length - 64)
    expect(['forged-frame', 'weak-key']).toContain(faultOf([{ ...heard, publicKey: small, sign1 }]))
  })

  it('stand in the order of each node’s numbers', () => {
    const frames = [5, 6, 6].map((seq) => heardFrom(node, seq, receivedMs, network))
    const decoded = decodeHeard(encodeHeard(frames))
    expect(decoded).toMatchObject({ ok: false, reason: 'replayed-frame' })
    expect(decodeHeard(encodeHeard([frames[1]!, frames[0]!]))).toMatchObject({ reason: 'replayed-frame' })
    expect(decodedOf([frames[1]!, heardFrom(signerOf(52), 2, receivedMs, network)])).toHaveLength(2)
  })

  it('have one encoding, whatever was changed', () => {
    const whole = encodeHeard([1, 2, 3].map((seq) => heardFrom(node, seq, receivedMs + seq, network)))
    fc.assert(
      fc.property(mutation(whole), (bytes) => {
        const decoded = decodeHeard(bytes)
        if (decoded.ok) expect(toHex(encodeHeard(decoded.frames))).toBe(toHex(bytes))
        else expect(['bad-payload', 'replayed-frame']).toContain(decoded.reason)
      }),
      { seed, numRuns: 3000 },
    )
  })

  it('are refused with a radio that says anything else, a bad name, a time before 1970 or none at all', () => {
    const heard = heardFrom(node, 7, receivedMs, network, { ages: [60] })
    const changes: Partial<Heard>[] = [
      { radio: [{ quantity: 1, scaled: 2000 }] },
      { radio: [{ quantity: 33, scaled: 2 ** 40 }] },
      { sensor: 'no name' },
      { model: '' },
      { receivedMs: 59_999 },
      { receivedMs: 253_402_300_800_000 },
      { publicKey: new Uint8Array(31) },
      { sign1: new Uint8Array(3) },
    ]
    for (const change of changes)
      expect(decodeHeard(encodeHeard([{ ...heard, ...change }])), JSON.stringify(change)).toMatchObject({
        ok: false,
        reason: 'bad-payload',
      })
    expect(() => encodeHeard([])).toThrow(RangeError)
    expect(decodeHeard(Uint8Array.of(0x80))).toMatchObject({ ok: false })
  })

  it('fill an envelope like any readings, and are private where they tell a position', () => {
    const enveloped = (frames: readonly Heard[]) => {
      const bytes = signEnvelope(
        {
          seq: 1,
          prev: noPrevious,
          clock: { source: 'ntp', ageS: 1, errorMs: 1 },
          contentType: heardContentType,
        },
        encodeHeard(frames),
        network,
        signerOf(53),
      )
      const decoded = decodeEnvelope(bytes)
      const envelope = decoded.ok ? decoded.envelope : expect.fail(decoded.detail)
      const contents = readingsOf(envelope)
      if (!contents.ok) return expect.fail(contents.detail)
      return { ...contents, summary: summarise(bytes, envelope, contents.readings, contents.frames) }
    }
    const { readings, frames, summary } = enveloped(
      [3, 4].map((seq) => heardFrom(node, seq, receivedMs, network, { ages: [60, 0] })),
    )
    expect(readings).toHaveLength(4)
    expect(readings).toEqual(frames.flatMap((frame) => frame.readings))
    expect(holdPositions(readings)).toBe(false)
    const id = stationId(node.publicKey)
    expect(summary).toMatchObject({
      readings: 4,
      withheld: false,
      firstMs: receivedMs - 60_000,
      lastMs: receivedMs,
      frames: [
        { node: id, seq: 3 },
        { node: id, seq: 4 },
      ],
    })
    const position = heardFrom(node, 5, receivedMs, network, {
      ages: [0],
      values: [{ quantity: 35, scaled: 5 }],
    })
    expect(enveloped([position]).summary.withheld).toBe(true)
  })
})
