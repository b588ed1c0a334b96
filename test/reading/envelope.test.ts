import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { equalBytes, toHex } from '#gateway/reading/bytes.ts'
import { CborWriter } from '#gateway/reading/cbor.ts'
import { toBeSigned } from '#gateway/reading/cose.ts'
import { verify } from '#gateway/reading/ed25519.node.ts'
import { type Clock, decodeEnvelope, noPrevious, signEnvelope } from '#gateway/reading/envelope.ts'
import { keyId } from '#gateway/reading/key.ts'
import { encodeReadings, readingsContentType } from '#gateway/reading/payload.ts'
import { mutation, seed, signerOf, weather } from './samples.ts'

const station = signerOf(9)
const clock: Clock = { source: 'ntp', ageS: 12, errorMs: 8 }
const payload = encodeReadings(weather(12, 1_763_700_000_000))
const envelope = signEnvelope({ seq: 1, prev: noPrevious, clock }, payload, 'test', station)

const fits = (bytes: Uint8Array, network = 'test'): boolean => {
  const decoded = decodeEnvelope(bytes)
  if (!decoded.ok) return false
  const { signature, protectedBytes, payload: content } = decoded.envelope
  return verify(signature, toBeSigned(protectedBytes, content, network), station.publicKey)
}

describe('an envelope', () => {
  it('comes apart into head and payload, and its signature fits its own network only', () => {
    const decoded = decodeEnvelope(envelope)
    expect(decoded).toMatchObject({
      ok: true,
      envelope: { contentType: readingsContentType, seq: 1, clock, prev: noPrevious, payload },
    })
    expect(decoded.ok && equalBytes(decoded.envelope.kid, keyId(station.publicKey))).toBe(true)
    expect(fits(envelope)).toBe(true)
    expect(fits(envelope, 'other')).toBe(false)
  })

  it('costs at most 8 bytes per reading with 50 readings of 3 quantities, noise and clock jitter', () => {
    const readings = weather(50, 1_763_700_000_123)
    const bytes = signEnvelope(
      { seq: 123_456, prev: new Uint8Array(32).fill(7), clock },
      encodeReadings(readings),
      'test',
      station,
    )
    const json = JSON.stringify(readings).length
    console.log(
      `50 readings x 3 quantities: ${bytes.length} bytes signed, ${(bytes.length / 50).toFixed(2)} per reading (JSON ${(json / 50).toFixed(0)})`,
    )
    expect(bytes.length / 50).toBeLessThanOrEqual(8)
    expect(fits(bytes)).toBe(true)
  })

  it('carries the count of withheld envelopes only where there is one to carry', () => {
    const signed = (withheld?: number) =>
      signEnvelope(
        { seq: 300, prev: noPrevious, clock, ...(withheld === undefined ? {} : { withheld }) },
        payload,
        'test',
        station,
      )
    expect(toHex(signed(0))).toBe(toHex(signed()))
    expect(decodeEnvelope(signed())).toMatchObject({ ok: true, envelope: { withheld: 0 } })
    for (const withheld of [1, 23, 24, 300]) {
      expect(decodeEnvelope(signed(withheld))).toMatchObject({ ok: true, envelope: { seq: 300, withheld } })
      expect(fits(signed(withheld))).toBe(true)
    }
    expect(signed(23).length - signed().length).toBe(6)
    expect(decodeEnvelope(signed(301))).toMatchObject({ ok: false, reason: 'malformed' })
  })

  it('is the same bytes whether its parts are Buffers or Uint8Arrays', () => {
    const head = { seq: 2, prev: Buffer.alloc(32, 3), clock }
    const fromBuffers = signEnvelope(head, Buffer.from(payload), 'test', {
      publicKey: Buffer.from(station.publicKey),
      sign: (message) => Buffer.from(station.sign(message)),
    })
    const plain = signEnvelope({ ...head, prev: new Uint8Array(32).fill(3) }, payload, 'test', station)
    expect(toHex(fromBuffers)).toBe(toHex(plain))
  })

  it('has no second form: no changed byte is both read and verified', () => {
    for (let at = 0; at < envelope.length; at++)
      for (let bit = 0; bit < 8; bit++) {
        const changed = envelope.slice()
        changed[at]! ^= 1 << bit
        expect(fits(changed), `byte ${at}, bit ${bit}`).toBe(false)
      }
  })

  it('changed at random is refused or does not verify, and never throws', () => {
    fc.assert(
      fc.property(mutation(envelope), (bytes) => {
        expect(fits(bytes)).toBe(equalBytes(bytes, envelope))
      }),
      { seed, numRuns: 3000 },
    )
  })

  it('is refused when its head is out of form, though signed', () => {
    const kid = keyId(station.publicKey)
    const head = (change: (writer: CborWriter) => void, parameters = 6): unknown => {
      const writer = new CborWriter().map(parameters).int(1).int(-19)
      change(writer)
      const bytes = writer.finish()
      const signature = station.sign(toBeSigned(bytes, payload, 'test'))
      const whole = new CborWriter()
        .tag(18)
        .array(4)
        .bytes(bytes)
        .map(0)
        .bytes(payload)
        .bytes(signature)
        .finish()
      const decoded = decodeEnvelope(whole)
      return decoded.ok ? 'ok' : decoded.detail
    }
    const rest = (seq: number, prev: number, source: number) => (writer: CborWriter) =>
      writer
        .int(3)
        .text('x')
        .int(4)
        .bytes(kid)
        .int(-70001)
        .int(seq)
        .int(-70002)
        .bytes(new Uint8Array(prev))
        .int(-70003)
        .map(3)
        .int(1)
        .int(source)
        .int(2)
        .int(0)
        .int(3)
        .int(0)
    expect(head(rest(1, 32, 0))).toBe('ok')
    expect(head(rest(0, 32, 0))).toBe('seq is a number from 1')
    expect(head(rest(-1, 32, 0))).toBe('seq is a number from 1')
    expect(head(rest(1, 31, 0))).toBe('prev has 32 bytes')
    expect(head(rest(1, 32, 4))).toBe('clock has a source, an age and an error')
    const also = (label: number, value: number) => (writer: CborWriter) => {
      rest(5, 32, 0)(writer)
      writer.int(label).int(value)
    }
    expect(head(also(-70004, 1), 7)).toBe('ok')
    expect(head(also(-70004, 5), 7)).toBe('ok')
    for (const count of [0, -1, 6])
      expect(head(also(-70004, count), 7)).toBe(
        'the count of withheld ones is a number from 1 to seq, or absent',
      )
    expect(head(also(-70005, 1), 7)).toBe(
      'a protected header has six parameters, and at most the count of withheld ones besides',
    )
  })
})
