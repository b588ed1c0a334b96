import { describe, expect, it } from 'vitest'
import { fromHex, toHex } from '#gateway/reading/bytes.ts'
import {
  decodeSign1,
  parseSign1,
  plainHeader,
  type Sign1,
  signSign1,
  toBeSigned,
} from '#gateway/reading/cose.ts'
import { verify } from '#gateway/reading/ed25519.node.ts'
import { keyId } from '#gateway/reading/key.ts'
import { haveVectors, vectorJson, vectorsNote } from '#test/vectors.ts'
import { signerOf } from './samples.ts'

type Example = {
  input: { sign0: { key: { x_hex: string } } }
  intermediates: { ToBeSign_hex: string }
  output: { cbor: string }
}

const bytesOf = (example: Example): Uint8Array => fromHex(example.output.cbor)!

describe.skipIf(!haveVectors)(`COSE working group examples${vectorsNote}`, () => {
  it('eddsa-sig-01: gives the bytes to be signed, and the signature fits them', () => {
    const example = vectorJson<Example>('cose/eddsa-sig-01.json')
    const parsed = parseSign1(bytesOf(example))
    if (!parsed.ok) return expect.fail(parsed.detail)
    const { protectedBytes, payload, signature } = parsed.sign1
    const message = toBeSigned(protectedBytes, payload, '')
    expect(toHex(message).toUpperCase()).toBe(example.intermediates.ToBeSign_hex)
    expect(verify(signature, message, fromHex(example.input.sign0.key.x_hex)!)).toBe(true)
    expect(
      verify(signature, toBeSigned(protectedBytes, payload, 'x'), fromHex(example.input.sign0.key.x_hex)!),
    ).toBe(false)
  })

  it('eddsa-sig-01 is none of our messages: its key id stands where nobody signed it', () => {
    const decoded = decodeSign1(bytesOf(vectorJson<Example>('cose/eddsa-sig-01.json')))
    expect(decoded).toMatchObject({ reason: 'malformed', detail: 'the unprotected header is not empty' })
  })

  it('sign-pass-02 and ecdsa-sig-01 are ES256 and refused for it', () => {
    for (const name of ['sign-pass-02', 'ecdsa-sig-01'])
      expect(parseSign1(bytesOf(vectorJson<Example>(`cose/${name}.json`)))).toEqual({
        ok: false,
        reason: 'unsupported-algorithm',
        detail: 'alg -7',
      })
  })
})

describe('a COSE_Sign1 message', () => {
  const signer = signerOf(5)
  const header = plainHeader('text/plain', keyId(signer.publicKey))
  const payload = new TextEncoder().encode('This is the content.')
  const message = signSign1(header, payload, 'test', signer)

  const taken = (bytes: Uint8Array): Sign1 => {
    const decoded = decodeSign1(bytes)
    return decoded.ok ? decoded.sign1 : expect.fail(decoded.detail)
  }

  it('comes apart into what it was made of', () => {
    const { protectedBytes, header: parameters, payload: content, signature } = taken(message)
    expect(protectedBytes).toEqual(header)
    expect(content).toEqual(payload)
    expect([...parameters.keys()]).toEqual([1, 3, 4])
    expect(verify(signature, toBeSigned(protectedBytes, content, 'test'), signer.publicKey)).toBe(true)
    expect(verify(signature, toBeSigned(protectedBytes, content, 'other'), signer.publicKey)).toBe(false)
  })

  it('taken from a Buffer shares no memory with it', () => {
    const buffer = Buffer.from(message)
    const { payload: content, signature } = taken(buffer)
    buffer.fill(0)
    expect(content).toEqual(payload)
    expect(signature).toEqual(taken(message).signature)
  })

  it('is refused with any byte missing or added', () => {
    for (let length = 0; length < message.length; length++)
      expect(decodeSign1(message.slice(0, length)).ok, `${length} bytes`).toBe(false)
    expect(decodeSign1(Uint8Array.of(...message, 0))).toMatchObject({ reason: 'malformed' })
  })

  it('is refused without an algorithm, or with one outside the protected header', () => {
    const withoutAlg = Uint8Array.of(0xa1, 3, 0)
    expect(decodeSign1(signSign1(withoutAlg, payload, 'test', signer))).toMatchObject({
      reason: 'unsupported-algorithm',
      detail: 'alg undefined',
    })
  })

  it('is refused when a header, payload or signature is of another kind', () => {
    const cases: Record<string, string> = {
      d2a0: 'COSE_Sign1 is an array of four',
      d283404040: 'COSE_Sign1 is an array of four',
      d284f6a04040: 'protected header, payload and signature are byte strings',
      d28440a0f640: 'protected header, payload and signature are byte strings',
      d28440804040: 'the unprotected header is a map',
      d28440a04040: 'a signature of 0 bytes, not 64',
      [`d28440a0405840${'00'.repeat(64)}`]: 'protected header: input ends inside an item at byte 0',
      [`d2844100a0405840${'00'.repeat(64)}`]: 'the protected header is a map',
    }
    for (const [input, detail] of Object.entries(cases))
      expect(decodeSign1(fromHex(input)!)).toEqual({ ok: false, reason: 'malformed', detail })
  })
})
