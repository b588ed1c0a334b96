/** What simulated nodes may send: airtime as published, duty cycle, dwell time and sizes as the rules have them. */
import { describe, expect, test } from 'vitest'
import { decodeNodeFrame, expandNodeFrame } from '#gateway/reading/node-frame.ts'
import { airtimeMs } from '#sim/radio/airtime.ts'
import { RadioError, transmitter } from '#sim/radio/region.ts'
import { signedNode } from '#sim/radio/signed-node.ts'
import { framesFile, haveFrames } from '#test/sensors/frames.ts'

const hourMs = 3_600_000
const air = () => ({ temperature: 20.51, humidity: 50.25, pressure: 1000.5, pm1: 5, pm2_5: 8, pm10: 12 })

describe.skipIf(!haveFrames)('airtime', () => {
  test('is as published, for all of its vectors', () => {
    const vectors = framesFile('lora-airtime')
    expect(vectors.length).toBe(126)
    for (const { decoded } of vectors) {
      const { phyBytes, sf, bwKHz, preamble, crc, explicitHeader, cr, ms } = decoded as Record<
        string,
        number
      > & {
        cr: string
      }
      const computed = airtimeMs(phyBytes!, {
        spreadingFactor: sf!,
        bandwidthHz: bwKHz! * 1000,
        preambleSymbols: preamble!,
        crc: Boolean(crc),
        implicitHeader: !explicitHeader,
        codingRate: Number(String(cr).slice(2)) - 4,
      })
      expect(computed, JSON.stringify(decoded)).toBeCloseTo(ms!, 2)
    }
  })
})

describe('a transmitter', () => {
  test('keeps to one per cent of every sliding hour in EU868, however often it is asked', () => {
    const radio = transmitter('EU868', 3)
    const sent: { atMs: number; airtimeMs: number }[] = []
    for (let nowMs = 0; nowMs < 4 * hourMs; nowMs += 1000) {
      const answer = radio.send(115, nowMs)
      if (answer.ok) sent.push({ atMs: nowMs, airtimeMs: answer.airtimeMs })
    }
    for (const { atMs } of sent) {
      const within = sent.filter((one) => one.atMs > atMs - hourMs && one.atMs <= atMs)
      expect(within.reduce((sum, one) => sum + one.airtimeMs, 0)).toBeLessThanOrEqual(36_000)
    }
    // And it uses what it may: more would not fit.
    const hours = sent.reduce((sum, one) => sum + one.airtimeMs, 0) / 36_000
    expect(hours).toBeGreaterThan(3.9)
  })

  test('that has to wait says for how long, and no less', () => {
    const radio = transmitter('EU868', 5)
    for (let nowMs = 0; nowMs < 60_000; nowMs += 10) {
      const answer = radio.send(200, nowMs)
      if (answer.ok) continue
      expect(radio.send(200, nowMs + answer.againMs - 1).ok).toBe(false)
      expect(radio.send(200, nowMs + answer.againMs).ok).toBe(true)
      return
    }
    expect.fail('it never had to wait')
  })

  test('refuses what no waiting makes fit, and says what would', () => {
    expect(() => transmitter('EU868', 3).send(116, 0)).toThrow(
      '116 bytes do not fit EU868 data rate 3 (SF9), which carries 115; by data rate it carries 51 at 0, 51 at 1, 51 at 2, 115 at 3, 242 at 4, 242 at 5',
    )
    expect(() => transmitter('US915', 1).send(54, 0)).toThrow(RadioError)
    expect(() => transmitter('US915', 9)).toThrow('US915 has no data rate 9 for readings; it has 0, 1, 2, 3')
  })

  test('stays below 400 ms in US915 and AS923 with the longest payload of each data rate', () => {
    for (const [region, rates] of [
      ['US915', [0, 1, 2, 3]],
      ['AS923', [2, 3, 4, 5]],
    ] as const)
      for (const dataRate of rates) {
        const radio = transmitter(region, dataRate)
        expect(radio.airtimeOf(radio.maxPayload)).toBeLessThanOrEqual(400)
        expect(radio.send(radio.maxPayload, 0).ok).toBe(true)
      }
  })

  /** What was sent at which of these moments, and what may at most lie within `windowMs` of a key. */
  const sending = (radio: ReturnType<typeof transmitter>, bytes: number, untilMs: number, stepMs: number) => {
    const sent: { atMs: number; airtimeMs: number; frequencyMHz: number }[] = []
    for (let atMs = 0; atMs < untilMs; atMs += stepMs) {
      const answer = radio.send(bytes, atMs)
      if (answer.ok) sent.push({ atMs, ...answer })
    }
    return sent
  }
  const mostWithin = (
    sent: ReturnType<typeof sending>,
    windowMs: number,
    isOne: (frequencyMHz: number) => boolean,
  ): number => {
    const own = sent.filter(({ frequencyMHz }) => isOne(frequencyMHz))
    return Math.max(
      ...own.map(({ atMs, airtimeMs: lastMs }) =>
        own
          .filter((one) => one.atMs + one.airtimeMs > atMs + lastMs - windowMs && one.atMs <= atMs)
          .reduce((sum, one) => sum + one.airtimeMs, 0),
      ),
    )
  }

  // ETSI EN 300 220-2: a centre in each sub-band, and how much of an hour may be sent there.
  const subBands = [
    [863.5, 0.001],
    [866.1, 0.01],
    [868.3, 0.01],
    [868.95, 0.001],
    [869.525, 0.1],
    [869.85, 0.01],
  ] as const

  test.each(subBands)(
    'uses all that it may at %d MHz in EU868, and no more: %d of the hour',
    (mhz, share) => {
      const sent = sending(transmitter('EU868', 3, [mhz]), 115, 3 * hourMs, 500)
      const most = mostWithin(sent, hourMs, () => true)
      expect(most).toBeLessThanOrEqual(share * hourMs)
      // One more would not fit.
      expect(most + sent[0]!.airtimeMs).toBeGreaterThan(share * hourMs)
    },
  )

  test('has an allowance for each sub-band, however many channels are in it', () => {
    const radio = transmitter('EU868', 3, [866.1, 866.3, 868.1, 869.525])
    const sent = sending(radio, 115, 3 * hourMs, 500)
    expect(mostWithin(sent, hourMs, (mhz) => mhz < 868)).toBeLessThanOrEqual(36_000)
    expect(mostWithin(sent, hourMs, (mhz) => mhz < 868)).toBeGreaterThan(35_000)
    expect(mostWithin(sent, hourMs, (mhz) => mhz === 868.1)).toBeGreaterThan(35_000)
    expect(mostWithin(sent, hourMs, (mhz) => mhz === 868.1)).toBeLessThanOrEqual(36_000)
    expect(mostWithin(sent, hourMs, (mhz) => mhz > 869)).toBeGreaterThan(350_000)
    expect(mostWithin(sent, hourMs, (mhz) => mhz > 869)).toBeLessThanOrEqual(360_000)
  })

  test.each([862.9, 865, 868, 868.65, 869.3, 869.6, 869.68, 870, 915])(
    'does not send at %d MHz in EU868: some of its 125 kHz would be outside',
    (mhz) => {
      expect(() => transmitter('EU868', 3, [mhz])).toThrow(
        `${mhz} MHz, 125 kHz wide, is in no sub-band of EU868: 863 to 865, 865 to 868, 868 to 868.6, 868.7 to 869.2, 869.4 to 869.65, 869.7 to 870`,
      )
    },
  )

  test('keeps each channel of US915 below 400 ms in 20 s, all of its short transmissions together', () => {
    const radio = transmitter('US915', 3)
    const sent = sending(radio, 20, 65_000, 1)
    const perWindow = Math.floor(400 / radio.airtimeOf(20))
    expect(perWindow).toBeGreaterThan(3)
    expect(sent.filter(({ atMs }) => atMs < 20_000)).toHaveLength(64 * perWindow)
    const channels = new Set(sent.map(({ frequencyMHz }) => frequencyMHz))
    expect(channels.size).toBe(64)
    for (const channel of channels) {
      const most = mostWithin(sent, 20_000, (mhz) => mhz === channel)
      expect(most).toBeLessThanOrEqual(400)
      expect(most).toBeGreaterThan(400 - radio.airtimeOf(20))
    }
  })

  test('hops over at least 50 channels in US915', () => {
    const few = Array.from({ length: 49 }, (_, at) => (9023 + 2 * at) / 10)
    expect(() => transmitter('US915', 2, few)).toThrow(
      'US915 asks for at least 50 channels to hop over, not 49',
    )
    expect(transmitter('US915', 2, [...few, 914.9]).send(100, 0).ok).toBe(true)
  })

  test('comes back to a channel of US915 no sooner than its dwell time allows, where one transmission takes all of it', () => {
    const radio = transmitter('US915', 2)
    const sent = Array.from({ length: 20_000 }, (_, at) => at).filter((at) => radio.send(125, at).ok)
    // 64 channels, each free again after 20 s: within the first 20 s no more than one each.
    expect(sent.length).toBe(64)
  })
})

describe('a node that signs', () => {
  test.each([
    ['EU868', 3, 115],
    ['US915', 2, 125],
  ] as const)(
    'fits at least five readings of three quantities into a message of %s at data rate %i',
    (region, dataRate, most) => {
      const node = signedNode({
        seed: 1,
        network: 'n',
        region,
        dataRate,
        air,
        measureMs: 60_000,
        readings: 5,
      })
      const frames = Array.from({ length: 3600 }, (_, second) => node.tick(second * 1000)).filter(
        (one) => one !== undefined,
      )
      expect(frames.length).toBeGreaterThan(10)
      for (const { bytes, readings } of frames) {
        expect(bytes.length).toBeLessThanOrEqual(most)
        expect(readings).toHaveLength(5)
        const decoded = decodeNodeFrame(bytes)
        expect(decoded.ok && expandNodeFrame(decoded.frame, node.publicKey, 'n')).toBeInstanceOf(Uint8Array)
        expect(decoded.ok && expandNodeFrame(decoded.frame, node.publicKey, 'other')).toBeUndefined()
      }
    },
  )

  test('sends fewer readings at once where they would not fit, and leaves none out', () => {
    const extremes = (timeMs: number) => ({
      ...air(),
      temperature: timeMs % 120_000 ? -90 : 85,
      humidity: timeMs % 120_000 ? 0 : 100,
      pressure: timeMs % 120_000 ? 300 : 1100,
    })
    const node = signedNode({
      seed: 3,
      network: 'n',
      region: 'EU868',
      dataRate: 3,
      air: extremes,
      measureMs: 60_000,
      readings: 5,
    })
    const measuredS: number[] = []
    for (let second = 0; second < 3600; second += 1) {
      const frame = node.tick(second * 1000)
      if (!frame) continue
      expect(frame.bytes.length).toBeLessThanOrEqual(115)
      expect(frame.readings.length).toBeLessThan(5)
      for (const { ageS } of frame.readings) measuredS.push(second - ageS)
    }
    expect(measuredS.length).toBeGreaterThan(50)
    expect(measuredS).toEqual(measuredS.map((_, at) => at * 60))
  })

  test('waits for its share of the air, and then sends its newest', () => {
    const node = signedNode({
      seed: 2,
      network: 'n',
      region: 'EU868',
      dataRate: 3,
      air,
      measureMs: 1000,
      readings: 5,
    })
    const sent: number[] = []
    for (let second = 0; second < 3600; second += 1) {
      const frame = node.tick(second * 1000)
      if (!frame) continue
      sent.push(frame.bytes.length)
      expect(frame.readings.at(-1)!.ageS).toBe(0)
    }
    const radio = transmitter('EU868', 3)
    const onAirMs = sent.reduce((sum, bytes) => sum + radio.airtimeOf(bytes), 0)
    expect(onAirMs).toBeLessThanOrEqual(36_000)
    expect(onAirMs).toBeGreaterThan(34_000)
  })

  test('spreads its share over the hour: it is never silent for long', () => {
    const node = signedNode({
      seed: 2,
      network: 'n',
      region: 'EU868',
      dataRate: 3,
      channelsMHz: [869.525],
      air,
      measureMs: 1000,
      readings: 5,
    })
    const atS = Array.from({ length: 2 * 3600 }, (_, second) => second).filter((second) =>
      node.tick(second * 1000),
    )
    const pauses = atS.slice(1).map((second, at) => second - atS[at]!)
    expect(Math.max(...pauses)).toBeLessThanOrEqual(8)
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(6)
  })
})
