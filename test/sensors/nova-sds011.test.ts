/** Nova particle sensors. */
import { describe, expect, test } from 'vitest'
import { driverOf } from '#gateway/sensors/all.ts'
import {
  bytesIn,
  decode,
  expectDecoded,
  framesFile,
  fromDevice,
  haveFrames,
  hex,
  measurementsOf,
} from './frames.ts'

describe.skipIf(!haveFrames)('published frames', () => {
  test.each(fromDevice('nova-sds011'))('Nova: $hex', (entry) => {
    const outcomes = decode(driverOf('nova-sds011'), bytesIn(entry))
    if (entry.decoded.error === 'checksum')
      expect(outcomes).toEqual([{ kind: 'refused', reason: 'checksum', detail: 'sum is 29, frame says 0' }])
    else if (entry.decoded.error === 'warming-up')
      expect(measurementsOf(outcomes)).toEqual({ pm2_5: 'warming-up', pm10: 'warming-up' })
    else expectDecoded(entry, outcomes)
  })

  test('the commands that the driver sends are the published ones', () => {
    const published = framesFile('nova-sds011').flatMap(({ direction, hex: digits }) =>
      direction ? [digits!] : [],
    )
    const sent = driverOf('nova-sds011')
      .greeting({})
      .map((bytes) => Buffer.from(bytes).toString('hex'))
    expect(sent).toHaveLength(1)
    expect(published).toEqual(expect.arrayContaining(sent))
  })
})

describe('Nova', () => {
  test('an answer to a command is no reading', () => {
    expect(decode(driverOf('nova-sds011'), hex('aac5060101005 8d939ab'.replace(' ', '')))).toEqual([
      { kind: 'control', what: 'answered sleep or wake' },
    ])
  })
})
