import * as ed25519 from '@noble/ed25519'
import { describe, expect, it } from 'vitest'
import { fromHex, toHex } from '#gateway/reading/bytes.ts'
import { publicKeyOf } from '#gateway/reading/ed25519.browser.ts'
import { keyFault, keyId, stationId } from '#gateway/reading/key.ts'
import { smallOrderKeys } from '#test/contract/ed25519.ts'

describe('a public key', () => {
  it('is good when it was made from a seed', () => {
    for (let seed = 0; seed < 10; seed++)
      expect(keyFault(publicKeyOf(new Uint8Array(32).fill(seed)))).toBeUndefined()
  })

  it('is refused in all fourteen encodings of the points of small order', () => {
    expect(new Set(smallOrderKeys).size).toBe(14)
    const faults = smallOrderKeys.map((key) => keyFault(fromHex(key)!))
    // Eight encodings are canonical; the other six do not parse, which refuses them as well.
    expect(faults.filter((fault) => fault === 'small-order')).toHaveLength(8)
    expect(faults.filter((fault) => fault === 'not-a-point')).toHaveLength(6)
  })

  it('is refused when a point of small order was added to it', () => {
    const good = ed25519.Point.fromBytes(publicKeyOf(new Uint8Array(32).fill(3)))
    for (const torsion of smallOrderKeys.slice(1, 8)) {
      const mixed = good.add(ed25519.Point.fromHex(torsion)).toBytes()
      expect(keyFault(mixed), torsion).toBe('mixed-order')
    }
  })

  it('is refused when it is no point, or not 32 bytes', () => {
    expect(keyFault(new Uint8Array(31))).toBe('length')
    expect(keyFault(new Uint8Array(33))).toBe('length')
    expect(keyFault(new Uint8Array(32).fill(255))).toBe('not-a-point')
    expect(keyFault(fromHex(`02${'00'.repeat(31)}`)!)).toBe('not-a-point')
  })

  it('gives the station id: the first half of its SHA-256, in hex', () => {
    const key = fromHex('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a')!
    expect(stationId(key)).toBe('21fe31dfa154a261626bf854046fd227')
    expect(toHex(keyId(Buffer.from(key)))).toBe(stationId(key))
  })
})
