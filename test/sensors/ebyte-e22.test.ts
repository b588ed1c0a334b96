/** EBYTE E22 modules, and the message format that their nodes send. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { driverOf } from '#gateway/sensors/all.ts'
import { cobsDecode, cobsEncode } from '#gateway/sensors/cobs.ts'
import { crc16 } from '#gateway/sensors/ebyte-e22.ts'
import { ebyte, onAir } from '#sim/devices/ebyte.ts'
import {
  bytesIn,
  bytesOf,
  decodeAlone,
  framesFile,
  fromDevice,
  haveFrames,
  hex,
  refusalsOf,
} from './frames.ts'
import { nodes, readOverLink, seed } from './modems.ts'

const driver = driverOf('ebyte-e22')
const payloads = (outcomes: ReturnType<typeof decodeAlone>): string[] =>
  outcomes.flatMap((outcome) =>
    outcome.kind === 'uplink' ? [Buffer.from(outcome.payload).toString('latin1')] : [],
  )

describe.skipIf(!haveFrames)('published frames', () => {
  test('HELLO and its strength, in our message format, is read as given', () => {
    // As published it has neither end nor check: where one message ends and the next begins cannot be known.
    const entry = fromDevice('ebyte-e22').find(({ decoded }) => decoded.payloadAscii !== undefined)!
    const bytes = bytesIn(entry)
    const wire = Uint8Array.of(...onAir(bytes.slice(0, -1)), bytes.at(-1)!)
    expect(decodeAlone(driver, wire, { rssi: true })).toEqual([
      {
        kind: 'uplink',
        node: 'lora',
        payload: bytesOf(String(entry.decoded.payloadAscii)),
        radio: { rssi: entry.decoded.rssiDbm },
      },
    ])
    expect(payloads(decodeAlone(driver, Buffer.concat([bytes, bytes, hex('00')]), { rssi: true }))).toEqual(
      [],
    )
  })

  test('the reply to a question for its settings is no message', () => {
    // It comes only while pins M0 and M1 are set so, which the serial link cannot do; nobody asks.
    const entry = framesFile('ebyte-e22').find(({ decoded }) => decoded.airRate !== undefined)!
    const outcomes = decodeAlone(driver, bytesIn(entry))
    expect(outcomes.every(({ kind }) => kind === 'refused')).toBe(true)
    expect(outcomes.length).toBeGreaterThan(0)
  })
})

describe('COBS', () => {
  const ones = (count: number): string => 'aa'.repeat(count)
  test.each([
    ['', '01'],
    ['00', '0101'],
    ['0000', '010101'],
    ['11220033', '0311220233'],
    ['11000000', '0211010101'],
    [ones(253), `fe${ones(253)}`],
    [ones(254), `ff${ones(254)}`],
    [ones(255), `ff${ones(254)}02aa`],
    [`${ones(254)}00`, `ff${ones(254)}0101`],
    [`00${ones(254)}`, `01ff${ones(254)}`],
  ])('encodes as the paper says (%#)', (plain, encoded) => {
    expect(Buffer.from(cobsEncode(hex(plain))).toString('hex')).toBe(encoded)
    expect(Buffer.from(cobsDecode(hex(encoded))!).toString('hex')).toBe(plain)
  })

  test('gives back what it was given, without a zero on the way', () => {
    const bytes = fc.uint8Array({ maxLength: 600 })
    fc.assert(
      fc.property(bytes, (plain) => {
        const encoded = cobsEncode(plain)
        expect(encoded.includes(0)).toBe(false)
        expect(cobsDecode(encoded)).toEqual(plain)
      }),
      { seed, numRuns: 300 },
    )
  })

  test('a group that is longer than what is left, or a zero within, is nothing', () => {
    expect(cobsDecode(hex('05aabb'))).toBeUndefined()
    expect(cobsDecode(hex('03aa00'))).toBeUndefined()
    expect(cobsDecode(hex('00'))).toBeUndefined()
  })
})

describe('an E22', () => {
  test.each([true, false])(
    'over a link its nodes are read as they meant, with strength: %s',
    async (rssi) => {
      // It answers nothing, so there is no talk.
      await readOverLink(ebyte({ seed, nodes, rssi }), 6)
    },
  )

  test('the CRC is CRC-16/IBM-3740', () => expect(crc16(bytesOf('123456789'))).toBe(0x29b1))

  test('any one damaged byte is refused, and the messages around it are read', () => {
    const good = onAir(bytesOf('T=21.5'))
    for (let at = 1; at < good.length - 1; at += 1)
      for (const bits of [0x01, 0x80, 0xff]) {
        const bad = good.slice()
        bad[at]! ^= bits
        const outcomes = decodeAlone(driver, Buffer.concat([good, bad, good]))
        expect(payloads(outcomes)).toEqual(['T=21.5', 'T=21.5'])
        expect(refusalsOf(outcomes).length).toBeGreaterThan(0)
      }
  })

  test('a message without its strength, or without its end, takes nothing from the next', () => {
    const settings = { rssi: true }
    const first = onAir(bytesOf('T=1'))
    const second = Buffer.concat([onAir(bytesOf('T=2')), hex('c3')])
    expect(payloads(decodeAlone(driver, Buffer.concat([first, second]), settings))).toEqual(['T=1', 'T=2'])
    expect(payloads(decodeAlone(driver, Buffer.concat([first.slice(0, -3), second]), settings))).toEqual([
      'T=2',
    ])
  })

  test('a payload as long as the air allows is read, and one that cannot name its node is refused', () => {
    const long = onAir(new Uint8Array(235).fill(0x41))
    expect(long).toHaveLength(240)
    expect(payloads(decodeAlone(driver, long))).toEqual(['A'.repeat(235)])
    expect(refusalsOf(decodeAlone(driver, onAir(hex('07')), { address: 'first-two-bytes' }))).toEqual([
      'length',
    ])
  })
})
