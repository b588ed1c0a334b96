/** LoRaWAN frames: whose they are, whether they are whole and new; and the payload formats of nodes. */
import { existsSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { loraPacket } from '#gateway/sensors/lora-packet.ts'
import { type Lorawan, lorawan } from '#gateway/sensors/lorawan.ts'
import { deviceList, devicesOf } from '#gateway/sensors/lorawan-devices.ts'
import { base64In, lorawanGwmp, pushDataIn } from '#gateway/sensors/lorawan-gwmp.ts'
import type { Outcome, Settings, Surroundings } from '#gateway/sensors/sensors.ts'
import {
  bytesIn,
  bytesOf,
  decode,
  framesFile,
  haveFrames,
  hex,
  measurementsOf,
  shared,
  surroundings,
} from './frames.ts'

const seed = 20261121
const nwkSKey = '44024241ed4ce9a68c6a8bc055233fd3'
const appSKey = 'ec925802ae430ca77fd3dd73cb2cc588'
const keys = { nwkSKey, appSKey }

const reader = (devices: readonly Settings[], around: Surroundings = surroundings()): Lorawan =>
  lorawan(devicesOf('test', deviceList.parse(devices), devices, around), around.counters)

/** A frame as a device sends it; `counter` is its 32-bit frame counter. */
const frameOf = (
  counter: number,
  payload = 't=21.5',
  { devAddr = '26011bda', port = 2, confirmed = false, key = keys } = {},
): Uint8Array => {
  const upper = Buffer.alloc(2)
  upper.writeUInt16LE(Math.floor(counter / 65_536))
  const count = Buffer.alloc(2)
  count.writeUInt16BE(counter % 65_536)
  const packet = loraPacket.fromFields(
    {
      MType: confirmed ? 4 : 2,
      DevAddr: Buffer.from(devAddr, 'hex'),
      FCnt: count,
      FPort: port,
      payload: Buffer.from(payload, 'latin1'),
    },
    Buffer.from(key.appSKey, 'hex'),
    Buffer.from(key.nwkSKey, 'hex'),
    undefined,
    upper,
  )
  return new Uint8Array(packet.getPHYPayload() as Buffer)
}

const own = [{ devAddr: '26011bda', name: 'garden', ...keys }]
const textOf = (outcome: Outcome): string =>
  outcome.kind === 'uplink' ? Buffer.from(outcome.payload).toString('latin1') : JSON.stringify(outcome)
const reasonOf = (outcome: Outcome): string => (outcome.kind === 'refused' ? outcome.reason : outcome.kind)

describe.skipIf(!haveFrames)('published frames', () => {
  test.each(framesFile('lorawan-phy'))('$device ($hex)', (entry) => {
    const wanted = entry.decoded as Record<string, string | number | undefined>
    const { mtype, devAddr, devEUI } = wanted
    // The one with a wrong MIC is the first of the file with a bit flipped: the same device, the same keys.
    const listed = [
      { devAddr: (devAddr ?? '49be7df1') as string, ...keys },
      ...(devEUI ? [{ devEui: devEUI as string, appKey: '00'.repeat(16) }] : []),
    ]
    const outcome = reader(listed)(bytesIn(entry), {}, 0)
    if (wanted.error === 'mic') return expect(reasonOf(outcome)).toBe('checksum')
    // Its MIC was never computed: it is refused as such, and its device known by its EUI.
    if (mtype === 'Join Request') {
      expect(outcome).toEqual({
        kind: 'refused',
        reason: 'checksum',
        detail: `MIC of a join request of ${devEUI} is wrong`,
      })
      const packet = loraPacket.fromWire(Buffer.from(bytesIn(entry)))
      expect(packet.AppEUI?.toString('hex')).toBe(wanted.appEUI)
      return expect(packet.DevNonce?.toString('hex')).toBe(wanted.devNonce)
    }
    if (outcome.kind !== 'uplink') expect.fail(JSON.stringify(outcome))
    const payload = wanted.payloadHex ?? Buffer.from(wanted.payloadAscii as string).toString('hex')
    expect(Buffer.from(outcome.payload).toString('hex')).toBe(payload)
    expect([outcome.node, outcome.port]).toEqual([devAddr, wanted.fPort])
  })

  test.each(framesFile('semtech-gwmp'))('$device: $source', (entry) => {
    const wanted = entry.decoded as Record<string, string | number | undefined>
    const bytes = bytesIn(entry)
    // Answers and PULL_DATA are the link's: see link-gwmp.test.ts.
    if (wanted.type !== 'PUSH_DATA') return expect(typeof pushDataIn(bytes)).toBe('string')
    const push = pushDataIn(bytes)
    if (typeof push === 'string') expect.fail(push)
    if (wanted.token) expect(push.token).toBe(wanted.token)
    if (wanted.gatewayEui) expect(push.gateway).toBe(wanted.gatewayEui)
    const [packet] = push.packets as Record<string, unknown>[]
    for (const name of ['freq', 'datr', 'rssi', 'lsnr', 'size'])
      if (wanted[name] !== undefined) expect(packet![name]).toBe(wanted[name])
    for (const name of ['lati', 'long', 'alti', 'rxnb'])
      if (wanted[name] !== undefined) expect(push.stat![name]).toBe(wanted[name])
    if (packet) expect(base64In(packet.data as string)).toHaveLength(packet.size as number)
    const outcomes = decode(lorawanGwmp, [bytes], { devices: [{ devAddr: '49be7df1', ...keys }] })
    if (wanted.devAddr)
      expect(outcomes).toMatchObject([
        { kind: 'refused' }, // its payload, "test", is no reading
        { kind: 'reading', node: wanted.devAddr, measurements: [{ value: -57 }, { value: 9.8 }, {}, {}] },
      ])
    else expect(outcomes.map(({ kind }) => kind)).toEqual(['control'])
  })
})

const vectorsAt = new URL('vectors/lorawan/packets.json', shared)
const haveVectors = existsSync(vectorsAt)
if (!haveVectors)
  console.warn('LoRaWAN vectors are skipped: there is no ../shared/vectors beside this repository.')

type MicVector = { name: string; hex: string; keys: Record<string, string>; expectMic: string[] }
type DecryptVector = { name: string; hexes: string[]; expect: string[] }
const vectors: Record<string, unknown[]> = haveVectors ? JSON.parse(readFileSync(vectorsAt, 'utf8')) : {}

describe.skipIf(!haveVectors)('vectors of lora-packet', () => {
  test.each((vectors['anthonykirby/lora-packet mic_test.ts'] ?? []) as MicVector[])(
    '$hex: $name',
    ({ name, hex: digits, keys: given, expectMic }) => {
      const bytes = hex(digits)
      const type = bytes[0]! >> 5
      const mic = digits.slice(-8)
      // 1.1 computes other MICs with more keys, and downlinks are not heard: such frames are not taken for data.
      if (given.FNwkSIntKey || given.nwkKey || given.appKey || name.includes('1.1')) {
        const devAddr = '00e0106373'.slice(-8)
        const outcome = reader([{ devAddr, ...keys }])(bytes, {}, 0)
        return expect(['not-configured', 'checksum']).toContain(reasonOf(outcome))
      }
      if (type === 1 || type === 3) return expect(reasonOf(reader([])(bytes, {}, 0))).toBe('control')
      if (type === 0) {
        const devEui = Buffer.from(bytes.slice(9, 17)).reverse().toString('hex')
        const outcome = reader([{ devEui, appKey: given.AppKey }])(bytes, {}, 0)
        return expect(reasonOf(outcome)).toBe(expectMic.includes(mic) ? 'control' : 'checksum')
      }
      const devAddr = Buffer.from(bytes.slice(1, 5)).reverse().toString('hex')
      const outcome = reader([{ devAddr, nwkSKey: given.NwkSKey, appSKey }])(bytes, {}, 0)
      // One vector lists 67349eae, which is of no key it names; the frame carries the MIC of its network key.
      const isRight =
        mic === 'd6470fc3' || expectMic.includes(mic) || (expectMic.length === 0 && !mic.startsWith('eeee'))
      if (isRight) expect(['uplink', 'control']).toContain(reasonOf(outcome))
      else expect(reasonOf(outcome)).toBe('checksum')
    },
  )

  test.each((vectors['anthonykirby/lora-packet decrypt_test.ts'] ?? []) as DecryptVector[])(
    '$name',
    ({ hexes: [digits = '', key = ''], expect: [wanted] }) => {
      // That of port 0 is built from fields, and MAC commands are not read here.
      if (digits.length === 32) return expect(wanted).toBe('02')
      const packet = loraPacket.fromWire(Buffer.from(hex(digits)))
      const plain = loraPacket.decrypt(packet, Buffer.from(key, 'hex'))
      expect([plain.toString('latin1'), plain.toString('hex')]).toContain(wanted)
      const outcome = reader([{ devAddr: '49be7df1', nwkSKey, appSKey: key }])(hex(digits), {}, 0)
      if (reasonOf(outcome) === 'checksum') expect(wanted).toBe('tbst')
      else expect([textOf(outcome), Buffer.from(textOf(outcome), 'latin1').toString('hex')]).toContain(wanted)
    },
  )
})

describe('frame counters', () => {
  test('a frame is read once, also after a restart with the same counters', () => {
    const around = surroundings()
    const first = reader(own, around)
    expect(textOf(first(frameOf(5), {}, 0))).toBe('t=21.5')
    expect(reasonOf(first(frameOf(5), {}, 60_000))).toBe('replay')
    expect(reasonOf(first(frameOf(4), {}, 60_000))).toBe('replay')
    const second = reader(own, around)
    expect(reasonOf(second(frameOf(5), {}, 0))).toBe('replay')
    expect(reasonOf(second(frameOf(3), {}, 0))).toBe('replay')
    expect(reasonOf(second(frameOf(6), {}, 0))).toBe('uplink')
  })

  test('the same transmission from another gateway is not read again, and no replay', () => {
    const read = reader(own)
    expect(reasonOf(read(frameOf(5), { rssi: -80 }, 1000))).toBe('uplink')
    expect(read(frameOf(5), { rssi: -60 }, 1200)).toEqual({
      kind: 'control',
      what: 'garden was heard again by another gateway',
    })
    // Another payload under the same number is nobody's repetition.
    expect(reasonOf(read(frameOf(5, 't=99'), {}, 1300))).toBe('replay')
  })

  test('16 bits on air go on as 32', () => {
    const around = surroundings()
    const read = reader(own, around)
    for (const counter of [65_534, 65_535, 65_536, 65_600, 131_071, 131_072])
      expect(textOf(read(frameOf(counter, `n=${counter}`), {}, 0)), `${counter}`).toBe(`n=${counter}`)
    expect(reasonOf(reader(own, around)(frameOf(65_536), {}, 0))).not.toBe('uplink')
  })

  test('a device that has counted past 16 bits before it is first heard is understood', () => {
    expect(reasonOf(reader(own)(frameOf(10 * 65_536 + 7), {}, 0))).toBe('uplink')
  })

  test('what looks like a wrong key may be a counter, and the refusal says which setting helps', () => {
    const refusal = (read: Lorawan, counter: number): string => {
      const outcome = read(frameOf(counter), {}, 0)
      return outcome.kind === 'refused' ? `${outcome.reason}: ${outcome.detail}` : outcome.kind
    }
    const far = 20 * 65_536 + 7
    expect(refusal(reader(own), far)).toBe(
      'checksum: MIC of a frame of 26011bda is wrong: it has other keys, ' +
        'or its counter is past 1048576 (set "counterFrom" of the device to what it has counted)',
    )
    const around = surroundings()
    const told = reader([{ ...own[0], counterFrom: far - 1000 }], around)
    expect(refusal(told, far - 1001)).toContain('is past')
    expect(refusal(told, far)).toBe('uplink')
    expect(refusal(reader(own, around), far + 1)).toBe('uplink')
    expect(refusal(reader(own, around), 3)).toContain('raise "counterEpoch" of the device by one')
    expect(refusal(reader([{ ...own[0], counterEpoch: 1 }], around), 3)).toBe('uplink')
    // The last of all 32-bit counters, and nothing beyond.
    const last = 0xffff_ffff
    expect(refusal(reader([{ ...own[0], counterFrom: last }]), last)).toBe('uplink')
  })

  test('any rising sequence with gaps below 65536 is read, and nothing of it twice', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 65_535 }), { minLength: 1, maxLength: 8 }), (gaps) => {
        const read = reader(own)
        let counter = 0
        for (const gap of gaps) {
          counter += gap
          expect(reasonOf(read(frameOf(counter), {}, 0))).toBe('uplink')
          expect(reasonOf(read(frameOf(counter), {}, 60_000))).toBe('replay')
        }
      }),
      { seed, numRuns: 40 },
    )
  })

  test('a device that counts anew is read again only when its owner says so', () => {
    const around = surroundings()
    expect(reasonOf(reader(own, around)(frameOf(900), {}, 0))).toBe('uplink')
    expect(reasonOf(reader(own, around)(frameOf(0), {}, 0))).toBe('replay')
    const anew = reader([{ ...own[0], counterEpoch: 1 }], around)
    expect(reasonOf(anew(frameOf(0), {}, 0))).toBe('uplink')
    expect(reasonOf(anew(frameOf(0), {}, 60_000))).toBe('replay')
  })

  test('another session with other keys counts anew', () => {
    const around = surroundings()
    expect(reasonOf(reader(own, around)(frameOf(900), {}, 0))).toBe('uplink')
    const key = { nwkSKey: '11'.repeat(16), appSKey: '22'.repeat(16) }
    const joined = reader([{ ...own[0], ...key }], around)
    expect(reasonOf(joined(frameOf(0, 't=1', { key }), {}, 0))).toBe('uplink')
  })

  test('a counter that cannot be kept on disk lets no frame through', () => {
    const { secret, counters } = surroundings()
    const full = {
      network: 'testnet',
      secret,
      counters: {
        ...counters,
        set: () => {
          throw new Error('ENOSPC')
        },
      },
    }
    expect(reader(own, full)(frameOf(1), {}, 0)).toMatchObject({ kind: 'refused', reason: 'device-error' })
  })
})

describe('devices', () => {
  test('of the same address are told apart by their keys', () => {
    const key = { nwkSKey: '11'.repeat(16), appSKey: '22'.repeat(16) }
    const read = reader([...own, { devAddr: '26011bda', name: 'roof', ...key }])
    expect(read(frameOf(1, 'a', { key }), {}, 0)).toMatchObject({ node: 'roof', payload: bytesOf('a') })
    expect(read(frameOf(1, 'b'), {}, 0)).toMatchObject({ node: 'garden', payload: bytesOf('b') })
  })

  test('are called by name, else by EUI, else by address', () => {
    const { name: _, ...nameless } = own[0]!
    expect(reader(own)(frameOf(1), {}, 0)).toMatchObject({ node: 'garden' })
    expect(reader([{ ...nameless, devEui: '00AFEE7CF5ED6F1E' }])(frameOf(1), {}, 0)).toMatchObject({
      node: '00afee7cf5ed6f1e',
    })
    expect(reader([nameless])(frameOf(1), {}, 0)).toMatchObject({ node: '26011bda' })
  })

  test('that are not listed are refused by address', () => {
    expect(reader([])(frameOf(1), {}, 0)).toEqual({
      kind: 'refused',
      reason: 'not-configured',
      detail: 'device 26011bda is not listed',
    })
  })

  test('a wrong application key garbles a payload, a wrong network key refuses it', () => {
    const [device] = own
    expect(reasonOf(reader([{ ...device, nwkSKey: '00'.repeat(16) }])(frameOf(1), {}, 0))).toBe('checksum')
    expect(textOf(reader([{ ...device, appSKey: '00'.repeat(16) }])(frameOf(1), {}, 0))).not.toBe('t=21.5')
  })

  test('MAC commands are no uplink, confirmed data is', () => {
    const read = reader(own)
    expect(reasonOf(read(frameOf(1, '\x02', { port: 0 }), {}, 0))).toBe('control')
    expect(reasonOf(read(frameOf(2, 'x', { port: 224 }), {}, 0))).toBe('control')
    expect(reasonOf(read(frameOf(3, 'x', { confirmed: true }), {}, 0))).toBe('uplink')
  })

  test('a join that cannot be answered is told, once its MIC is right', () => {
    const appKey = '98929b92c49edba9676d646d3b612456'
    const request = hex('0039363463336913aa05693574323831330489c65b1304')
    const eui = Buffer.from(request.slice(9, 17)).reverse().toString('hex')
    const told = reader([{ devEui: eui, name: 'garden', appKey }])(request, {}, 0)
    expect(told).toEqual({
      kind: 'control',
      what: 'garden wants to join: a station that listens cannot answer; set its session’s keys',
    })
  })
})

describe('keys', () => {
  const configure = (devices: unknown, secret = surroundings().secret) =>
    lorawanGwmp.configure({ devices }, { ...surroundings(), secret })
  const secretKey = 'deadbeef'.repeat(4)
  const thrown = (devices: unknown, secret?: (path: string) => string): string => {
    try {
      configure(devices, secret)
    } catch (error) {
      return String(error)
    }
    return expect.fail('nothing was thrown')
  }

  test('come from a file that only its owner may read', () => {
    const content = JSON.stringify({ nwkSKey, appSKey })
    const around = { ...surroundings(), secret: (path: string) => (path === '/k' ? content : '') }
    expect(reasonOf(reader([{ devAddr: '26011bda', keyFile: '/k' }], around)(frameOf(1), {}, 0))).toBe(
      'uplink',
    )
  })

  test.each([
    [[{ devAddr: '26011bda', nwkSKey: `${secretKey}0`, appSKey }]],
    [[{ devAddr: '26011bda', nwkSKey: secretKey, appSKey: secretKey, colour: 1 }]],
    [[{ devAddr: 'x', nwkSKey: secretKey, appSKey: secretKey }]],
    [[{ nwkSKey: secretKey, appSKey: secretKey }]],
    [{ nwkSKey: secretKey }],
    [[{ devAddr: '26011bda', nwkSKey: secretKey }]],
    [[{ devAddr: '26011bda', keyFile: '/k' }]],
    [[{ devAddr: '26011bda', nwkSKey: secretKey, appSKey: secretKey, payload: 'script' }]],
  ])('are in no error: %#', (devices) => {
    const text = thrown(devices, () => `{"nwkSKey": "${secretKey}0"}`)
    expect(text).toMatch(/^(Setting)?Error: lorawan-gwmp/)
    expect(text).not.toContain('deadbeef')
  })

  test('are in no outcome', () => {
    const read = reader([{ devAddr: '26011bda', nwkSKey: secretKey, appSKey: secretKey }])
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(7), (noise, type) => {
        const bytes = Uint8Array.of(type << 5, ...hex('da1b0126'), ...noise)
        expect(JSON.stringify(read(bytes, {}, 0))).not.toMatch(/deadbeef/i)
      }),
      { seed, numRuns: 300 },
    )
  })

  test('two devices of one name are a mistake', () => {
    expect(() => configure([...own, { ...own[0], devAddr: '26011bdb' }])).toThrow(
      'lorawan-gwmp: setting "devices.1": there is another device called garden.\nRename one.',
    )
  })
})

describe('a packet forwarder’s datagram', () => {
  const push = (packets: unknown, token = '0001'): Uint8Array =>
    new Uint8Array([...hex(`02${token}00aa555a0000000101`), ...bytesOf(JSON.stringify({ rxpk: packets }))])
  const packetOf = (phy: Uint8Array, more: Settings = {}): Settings => ({
    tmst: 4_294_967_290,
    freq: 868.1,
    stat: 1,
    modu: 'LORA',
    datr: 'SF9BW125',
    rssi: -80,
    lsnr: 5,
    size: phy.length,
    data: Buffer.from(phy).toString('base64'),
    ...more,
  })
  const settings = { devices: own }
  const readings = (outcomes: readonly Outcome[]) => outcomes.filter(({ kind }) => kind === 'reading')

  test('carries several devices, and says how each was heard', () => {
    const outcomes = decode(
      lorawanGwmp,
      [push([packetOf(frameOf(1)), packetOf(frameOf(2, 't=22'))])],
      settings,
    )
    expect(readings(outcomes)).toHaveLength(2)
    expect(measurementsOf(outcomes)).toEqual({
      temperature: 22,
      rssi: -80,
      snr: 5,
      frequency: 868.1,
      spreading_factor: 9,
    })
  })

  test('a packet that the gateway heard wrongly is left out; FSK has no spreading factor', () => {
    const outcomes = decode(
      lorawanGwmp,
      [push([packetOf(frameOf(1), { stat: -1 }), packetOf(frameOf(2), { datr: 50_000, modu: 'FSK' })])],
      settings,
    )
    expect(outcomes.map(({ kind }) => kind)).toEqual(['control', 'reading'])
    expect(measurementsOf(outcomes)).not.toHaveProperty('spreading_factor')
  })

  test('of one packet on two antennas the louder one counts', () => {
    const phy = frameOf(1)
    const outcomes = decode(lorawanGwmp, [push([packetOf(phy), packetOf(phy, { rssi: -61 })])], settings)
    expect(readings(outcomes)).toHaveLength(1)
    expect(measurementsOf(outcomes).rssi).toBe(-61)
  })

  test.each([
    ['no padding', (text: string) => text.replaceAll('=', '')],
    ['the alphabet of URLs', (text: string) => text.replaceAll('+', '-').replaceAll('/', '_')],
    ['both alphabets', (text: string) => text.replace('+', '-')],
  ])('base64 with %s is read', (_what, change) => {
    for (let counter = 1; counter < 40; counter += 1) {
      const phy = frameOf(counter, 'some longer text = 21.5')
      const text = Buffer.from(phy).toString('base64')
      expect(base64In(change(text))).toEqual(phy)
    }
  })

  test.each([
    ['a size that is not the data’s', { size: 3 }, 'length'],
    ['data that is no base64', { data: '?', size: 0 }, 'layout'],
    ['no size', { size: undefined }, 'layout'],
  ])('%s is refused', (_what, more, reason) => {
    expect(decode(lorawanGwmp, [push([packetOf(frameOf(1), more)])], settings).map(reasonOf)).toEqual([
      reason,
    ])
  })

  test('whatever it is, the next good one decodes', () => {
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom(...['rxpk', 'stat', -1, 1e99, '']))
    const packet = fc.record({
      stat: value,
      freq: value,
      datr: value,
      rssi: value,
      lsnr: value,
      size: fc.oneof(value, fc.nat(300)),
      data: fc.oneof(value, fc.base64String({ maxLength: 400 })),
    })
    let counter = 0
    const decoder = lorawanGwmp.configure(settings, surroundings())
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 300 }),
          fc.array(packet, { maxLength: 4 }).map((packets) => push(packets)),
          value.map((any) => push(any)),
        ),
        (bytes) => {
          for (const outcome of decoder.decode(bytes, 0))
            expect(JSON.stringify(outcome).length).toBeLessThan(500)
          counter += 1
          expect(decoder.decode(push([packetOf(frameOf(counter))]), 0).map(reasonOf)).toEqual(['uplink'])
        },
      ),
      { seed, numRuns: 400 },
    )
  })
})
