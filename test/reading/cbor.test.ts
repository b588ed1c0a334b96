import { encode as cbor2Encode, cdeEncodeOptions } from 'cbor2'
import { encode as cborgEncode, rfc8949EncodeOptions } from 'cborg'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compareBytes, fromHex, toHex } from '#gateway/reading/bytes.ts'
import {
  type CborValue,
  CborWriter,
  cborFault,
  decodeCbor,
  decodeTagged,
  envelopeBounds,
} from '#gateway/reading/cbor.ts'
import { haveVectors, vectorBytes, vectorJson, vectorNames, vectorsNote } from '#test/vectors.ts'
import { mutation, seed } from './samples.ts'

type Vector = { hex: string; roundtrip: boolean; decoded?: unknown; diagnostic?: string }

const hex = (text: string): Uint8Array => fromHex(text)!

/** Decoded CBOR in the words of JSON, to compare with what a vector says. */
const plain = (value: CborValue): unknown => {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, one]) => [key, plain(one)]))
  return Array.isArray(value) ? value.map(plain) : value
}

/** Writes any value, sorting map keys as RFC 8949 s4.2.1 says: by their encoded bytes. */
const write = (writer: CborWriter, value: CborValue): CborWriter => {
  if (typeof value === 'number') return writer.int(value)
  if (typeof value === 'string') return writer.text(value)
  if (value instanceof Uint8Array) return writer.bytes(value)
  if (Array.isArray(value)) return value.reduce<CborWriter>(write, writer.array(value.length))
  if (value instanceof Map) {
    const pairs = [...value].map(([key, one]) => ({ key: write(new CborWriter(), key).finish(), one }))
    pairs.sort((a, b) => compareBytes(a.key, b.key))
    writer.map(pairs.length)
    for (const { key, one } of pairs) write(writer.raw(key), one)
    return writer
  }
  throw new TypeError('not in the trees of this test')
}

const int = fc.oneof(
  fc.integer({ min: -(2 ** 32), max: Number.MAX_SAFE_INTEGER }),
  fc.integer({ min: -300, max: 300 }),
  fc.constantFrom(23, 24, 255, 256, 65535, 65536, 2 ** 32 - 1, 2 ** 32, -24, -25, -256, -257, -(2 ** 32)),
)

const { tree } = fc.letrec<{ tree: CborValue }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 5, depthSize: 'small' },
    int,
    fc.uint8Array({ maxLength: 300 }),
    fc.string({ unit: 'binary', maxLength: 80 }),
    fc.array(tie('tree'), { maxLength: 8 }),
    fc
      .array(fc.tuple(fc.oneof(int, fc.string({ maxLength: 30 })), tie('tree')), { maxLength: 8 })
      .map((pairs) => new Map(pairs)),
  ),
}))

const bounds = { ...envelopeBounds, maxBytes: 1 << 20 }

describe('the CBOR writer', () => {
  it('writes byte for byte what cborg and cbor2 write for the same tree, and the checker accepts it', () => {
    fc.assert(
      fc.property(tree, (value) => {
        const ours = write(new CborWriter(), value).finish()
        expect(toHex(ours)).toBe(toHex(cborgEncode(value, rfc8949EncodeOptions)))
        expect(toHex(ours)).toBe(toHex(cbor2Encode(value, cdeEncodeOptions)))
        const decoded = decodeCbor(ours, bounds)
        expect(decoded).toMatchObject({ ok: true })
        if (decoded.ok) expect(write(new CborWriter(), decoded.value).finish()).toEqual(ours)
      }),
      { seed, numRuns: 1000 },
    )
  })

  it('writes a Buffer as it writes the same bytes in a Uint8Array', () => {
    const bytes = Uint8Array.of(1, 2, 3)
    const view = Buffer.from([0, 1, 2, 3, 4]).subarray(1, 4)
    const of = (value: Uint8Array): string =>
      toHex(new CborWriter().array(2).bytes(value).raw(value).finish())
    expect(of(Buffer.from(bytes))).toBe(of(bytes))
    expect(of(view)).toBe(of(bytes))
  })

  it('starts empty again after finish, and what it gave does not change', () => {
    const writer = new CborWriter()
    const first = writer.text('one').finish()
    writer.text('two').finish()
    expect(toHex(first)).toBe('636f6e65')
  })

  it('does not write what has no exact form: unsafe integers, fractions, lone surrogates', () => {
    for (const value of [0.5, Number.NaN, 2 ** 53, -(2 ** 53), -(2 ** 32) - 1, Number.POSITIVE_INFINITY])
      expect(() => new CborWriter().int(value)).toThrow(RangeError)
    expect(() => new CborWriter().text('\ud800')).toThrow('lone surrogate')
    expect(() => new CborWriter().text(`${'x'.repeat(40)}\udfff`)).toThrow('lone surrogate')
  })
})

/** Every refusal of the checker with the byte that it names. */
const refusals: readonly (readonly [hex: string, reason: string, detail: string])[] = [
  ['', 'malformed', 'input ends inside an item at byte 0'],
  ['18', 'malformed', 'input ends inside an item at byte 0'],
  ['8201', 'malformed', 'more items than input at byte 0'],
  ['1817', 'not-canonical', 'not the shortest form at byte 0'],
  ['1900ff', 'not-canonical', 'not the shortest form at byte 0'],
  ['1a0000ffff', 'not-canonical', 'not the shortest form at byte 0'],
  ['1b00000000ffffffff', 'not-canonical', 'not the shortest form at byte 0'],
  ['5801ff', 'not-canonical', 'not the shortest form at byte 0'],
  ['1b0020000000000000', 'too-large', 'a number beyond 2^53 at byte 0'],
  ['3b0000000100000000', 'too-large', 'a negative number beyond -2^32 at byte 0'],
  ['1c', 'malformed', 'reserved length at byte 0'],
  ['9fff', 'not-canonical', 'indefinite length at byte 0'],
  ['0000', 'malformed', 'bytes after the end at byte 1'],
  ['6180', 'malformed', 'text that is not UTF-8 at byte 0'],
  ['a2020001f6', 'not-canonical', 'map keys out of order at byte 3'],
  ['a201000100', 'malformed', 'a map key twice at byte 3'],
  ['a2616200616100', 'not-canonical', 'map keys out of order at byte 4'],
  ['a2613001620000', 'malformed', 'input ends inside an item at byte 7'],
  ['a14000', 'malformed', 'a map key that is no integer or text at byte 1'],
  ['a1f500', 'malformed', 'a map key that is no integer or text at byte 1'],
  ['f97e00', 'malformed', 'a float at byte 0'],
  ['f7', 'malformed', 'an unassigned simple value at byte 0'],
  ['81d200', 'malformed', 'a tag at byte 1'],
  ['c100', 'malformed', 'a tag at byte 0'],
  ['818181818181818180', 'too-large', 'nested deeper than 8 at byte 8'],
]

describe('the CBOR checker', () => {
  it.each(refusals)('refuses %s as %s: %s', (input, reason, detail) => {
    expect(cborFault(hex(input))).toEqual({ reason, detail })
  })

  it('counts bytes and items', () => {
    expect(cborFault(new Uint8Array(8193))?.reason).toBe('too-large')
    expect(cborFault(hex('8401020304'), { ...envelopeBounds, maxItems: 4 })?.detail).toBe(
      'more than 4 items at byte 4',
    )
    expect(cborFault(hex('8401020304'), { ...envelopeBounds, maxItems: 5 })).toBeUndefined()
  })

  it('takes tag 18 in front only where a COSE message is asked for', () => {
    expect(decodeTagged(hex('d281f6'))).toEqual({ ok: true, value: [null] })
    expect(decodeTagged(hex('81f6'))).toMatchObject({ ok: false })
    expect(decodeCbor(hex('d281f6'))).toMatchObject({ ok: false, detail: 'a tag at byte 0' })
    expect(decodeTagged(hex('d2d281f6'))).toMatchObject({ ok: false, detail: 'a tag at byte 1' })
  })

  it('takes finite floats of any width only where they are asked for', () => {
    const floats = { ...envelopeBounds, floats: true }
    for (const input of ['f93e00', 'fa3fc00000', 'fb3ff8000000000000'])
      expect(decodeCbor(hex(input), floats)).toEqual({ ok: true, value: 1.5 })
    for (const input of ['f97e00', 'f9fc00', 'fa7fc00000', 'faff800000', 'fb7ff0000000000000'])
      expect(decodeCbor(hex(input), floats)).toMatchObject({ reason: 'malformed' })
    expect(decodeCbor(hex('a1f93e0000'), floats)).toMatchObject({ reason: 'malformed' })
  })

  it('decodes from a Buffer to plain byte arrays, so that slice() copies', () => {
    const input = Buffer.from('43010203', 'hex')
    const decoded = decodeCbor(input)
    const bytes = decoded.ok && decoded.value instanceof Uint8Array ? decoded.value : expect.fail('no bytes')
    expect(Buffer.isBuffer(bytes)).toBe(false)
    const kept = bytes.slice()
    input.fill(0xff)
    expect([...kept]).toEqual([1, 2, 3])
  })

  it('never throws on random bytes, and what it passes has no other form', () => {
    const floatless = fc.uint8Array({ maxLength: 40 })
    fc.assert(
      fc.property(
        fc.oneof(
          floatless,
          tree.chain((value) => mutation(write(new CborWriter(), value).finish())),
        ),
        (bytes) => {
          const decoded = decodeCbor(bytes, bounds)
          if (!decoded.ok || /[^\d[\],{}":]/.test(JSON.stringify(plain(decoded.value)))) return
          expect(write(new CborWriter(), decoded.value).finish()).toEqual(bytes)
        },
      ),
      { seed, numRuns: 5000 },
    )
  })
})

describe.skipIf(!haveVectors)(`CBOR test vectors${vectorsNote}`, () => {
  it('RFC 8949 appendix A: what passes decodes to the given value, what is not deterministic is refused', () => {
    let passed = 0
    for (const { hex: input, roundtrip, decoded } of vectorJson<Vector[]>(
      'cbor-rfc8949-appendix-a/appendix_a.json',
    )) {
      const ours = decodeCbor(hex(input))
      const major = Number.parseInt(input[0]!, 16) >> 1
      const simple = ['f4', 'f5', 'f6'].includes(input)
      const beyond = input.includes('bffffffffffffffff')
      expect(ours.ok, input).toBe(roundtrip && major !== 6 && (major !== 7 || simple) && !beyond)
      if (!ours.ok) continue
      passed++
      if (decoded !== undefined) expect(plain(ours.value), input).toEqual(decoded)
    }
    expect(passed).toBe(35)
  })

  it('dCBOR: every valid item of integers, text and containers decodes to the given value', () => {
    let passed = 0
    for (const { hex: input, decoded } of vectorJson<Vector[]>('dcbor/valid.json')) {
      const ours = decodeCbor(hex(input))
      const float = input.startsWith('f9') || input.startsWith('fa') || input.startsWith('fb')
      const beyond = /^[13]b[0-9a-f]{16}$/.test(input) && BigInt(`0x${input.slice(2)}`) > 2n ** 53n - 1n
      expect(ours.ok, input).toBe(!float && !beyond)
      if (!ours.ok) continue
      passed++
      expect(plain(ours.value), input).toEqual(decoded === 0 ? 0 : decoded)
    }
    expect(passed).toBe(21)
  })

  it('refuses every hostile file, each many times over, without growing', () => {
    const files = vectorNames('cbor-hostile').filter((name) => name.endsWith('.cbor'))
    expect(files.length).toBeGreaterThan(20)
    const inputs = files.map((name) => vectorBytes(`cbor-hostile/${name}`))
    const generous = { maxBytes: 64 << 20, maxDepth: 8, maxItems: 4_000_000, floats: true }
    const before = process.memoryUsage().rss
    for (let round = 0; round < 200; round++)
      for (const [at, input] of inputs.entries()) {
        expect(decodeCbor(input).ok, files[at]).toBe(false)
        expect(decodeCbor(input, generous).ok, files[at]).toBe(false)
      }
    expect(process.memoryUsage().rss - before).toBeLessThan(64 << 20)
  })
})
