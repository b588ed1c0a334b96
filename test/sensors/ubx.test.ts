/** u-blox receivers in their binary protocol. */
import { describe, expect, test } from 'vitest'
import { quantityNamed } from '#gateway/reading/quantity.ts'
import { driverOf } from '#gateway/sensors/all.ts'
import {
  bytesIn,
  bytesOf,
  decode,
  framesFile,
  fromDevice,
  haveFrames,
  hex,
  measurementsOf,
  refusalsOf,
} from './frames.ts'

const driver = driverOf('ubx')

describe.skipIf(!haveFrames)('published messages', () => {
  test.each(fromDevice('ubx-gnss'))('$decoded.msg $hex', (entry) => {
    const outcomes = decode(driver, bytesIn(entry))
    const measured = measurementsOf(outcomes)
    const { msg, ...said } = entry.decoded as Record<string, number> & { msg: string; utc: string }
    if (msg === 'NAV-PVT') {
      expect(measured.latitude).toBeCloseTo(said.lat!, 7)
      expect(measured.longitude).toBeCloseTo(said.lon!, 7)
      expect(measured).toMatchObject({
        altitude: said.hMSLmm! / 1000,
        satellites: said.numSV,
        horizontal_accuracy: said.hAccMm! / 1000,
        time_accuracy: said.tAccNs,
      })
      const timeMs = Math.round(Date.parse(String(said.utc)) + said.nano! / 1e6)
      expect(outcomes).toMatchObject([{ timeMs }, { timeMs }])
    } else if (msg === 'SEC-SIG')
      expect(measured).toEqual({ jamming_state: said.jammingState, spoofing_state: said.spoofingState })
    else
      expect(measured).toEqual({
        noise_floor: said.noisePerMS,
        agc: said.agcCnt,
        jamming_state: said.jammingState,
        jamming_indicator: said.jamInd,
      })
  })

  test('a message whose payload holds the sync bytes is one message, and NMEA around it does no harm', () => {
    const tricky = framesFile('ubx-gnss').find(({ hex: digits }) => digits!.lastIndexOf('b562') > 0)!
    const nmea = bytesOf('$GNRMC,,V,,,,,,,,,,N,V*37\r\n')
    const outcomes = decode(driver, Buffer.concat([nmea, bytesIn(tricky), nmea, bytesIn(tricky)]), {}, 3)
    expect(outcomes.filter(({ kind }) => kind === 'reading')).toHaveLength(4)
    expect(refusalsOf(outcomes)).toEqual([])
  })

  test('the command that asks for NAV-PVT has the published form', () => {
    const published = framesFile('ubx-gnss').find(({ direction }) => direction)!.hex!
    const said = driver.greeting({}).map((bytes) => Buffer.from(bytes).toString('hex'))
    // Ours asks for it on USB as well: the same head and first key.
    expect(said[0]!.slice(12, 30)).toBe(published.slice(12, 30))
  })
})

test('every command is a whole message itself', () => {
  for (const command of driver.greeting({}))
    expect(decode(driver, command)).toMatchObject([{ kind: 'control' }])
})

const navPvt = (change: (payload: DataView) => void): Uint8Array => {
  const bytes = new Uint8Array(100)
  bytes.set([0xb5, 0x62, 0x01, 0x07, 92, 0])
  const view = new DataView(bytes.buffer, 6, 92)
  view.setUint16(4, 2026, true)
  for (const [at, value] of [
    [6, 11],
    [7, 21],
    [11, 7],
    [20, 3],
    [21, 1],
    [23, 9],
  ] as const)
    view.setUint8(at, value)
  view.setInt32(28, 525_200_000, true)
  change(view)
  let [a, b] = [0, 0]
  for (const byte of bytes.subarray(2, 98)) {
    a = (a + byte) & 0xff
    b = (b + a) & 0xff
  }
  bytes.set([a, b], 98)
  return bytes
}

test('without a fix there is no place, and without valid time no time', () => {
  const place = (change: (payload: DataView) => void) => decode(driver, navPvt(change))
  expect(measurementsOf(place(() => undefined))).toMatchObject({ latitude: 52.52, satellites: 9 })
  for (const fix of [0, 1, 5])
    expect(measurementsOf(place((view) => view.setUint8(20, fix))).latitude).toBe('no-data')
  expect(measurementsOf(place((view) => view.setUint8(21, 0))).latitude).toBe('no-data')
  expect(measurementsOf(place((view) => view.setUint8(20, 2)))).toMatchObject({
    latitude: 52.52,
    altitude: 'no-data',
  })
  expect(place((view) => view.setUint8(11, 3))[0]).not.toHaveProperty('timeMs')
})

test('a place is private, and is in no reading with what may be sold', () => {
  for (const outcome of decode(
    driver,
    navPvt(() => undefined),
  ))
    if (outcome.kind === 'reading') {
      const isPrivate = outcome.measurements.map(({ quantity }) => quantityNamed(quantity)!.private === true)
      if (outcome.node !== undefined) expect(isPrivate).not.toContain(true)
    }
})

test('a message that is too short for what it says it is, or spoilt, is refused', () => {
  expect(refusalsOf(decode(driver, hex('b56227090000307e'.replace('307e', '30d5'))))).toHaveLength(1)
  const spoilt = navPvt(() => undefined)
  spoilt[50]! ^= 1
  expect(refusalsOf(decode(driver, spoilt))).toEqual(['checksum'])
})
