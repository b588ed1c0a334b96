/** GQ GMC Geiger counters. */
import { describe, expect, test } from 'vitest'
import { framer } from '#gateway/link/frame.ts'
import { driverOf } from '#gateway/sensors/all.ts'
import type { Decoder, Outcome, Settings } from '#gateway/sensors/sensors.ts'
import { bytesOf, framesFile, fromDevice, haveFrames, hex, measurementsOf, surroundings } from './frames.ts'

const driver = driverOf('gq-gmc')

/** A counter that is asked at `nowMs` and answers these bytes, in pieces. */
const answering = (settings: Settings = {}) => {
  const decoder: Decoder = driver.configure(settings, surroundings())
  const cutter = framer(decoder.framing!)
  decoder.dialogue!.opened(0)
  return (nowMs: number, bytes: Uint8Array): { asked: string; outcomes: Outcome[] } => {
    const asked = Buffer.from(decoder.dialogue!.turn(nowMs).send ?? []).toString()
    const outcomes: Outcome[] = []
    for (const byte of bytes)
      for (const frame of cutter.push(Uint8Array.of(byte))) outcomes.push(...decoder.decode(frame, nowMs))
    return { asked, outcomes }
  }
}

const wide = bytesOf('GMC-500+Re 2.24')
const narrow = bytesOf('GMC-300Re V3.20')

describe.skipIf(!haveFrames)('published frames', () => {
  test.each(fromDevice('gq-gmc'))('$hex', ({ hex: digits, decoded }) => {
    const bytes = hex(digits!)
    if (typeof decoded.version === 'string')
      return expect(answering()(0, bytes).outcomes).toEqual([
        { kind: 'control', what: `version ${decoded.version}` },
      ])
    // Heartbeats are switched off: counts are asked for, so that nothing comes that has no question.
    if (decoded.heartbeatCps !== undefined) return expect(answering()(0, bytes).outcomes).toEqual([])
    const say = answering()
    say(0, bytes.length === 4 ? wide : narrow)
    expect(measurementsOf(say(1000, bytes).outcomes)).toEqual({ count_rate: decoded.cpm })
  })

  test('what it says is published', () => {
    const published = framesFile('gq-gmc').flatMap(({ direction, ascii }) => (direction ? [ascii!] : []))
    const say = answering()
    const asked = say(0, wide).asked + say(1000, hex('00000001')).asked
    expect(asked).toBe('<HEARTBEAT0>><GETVER>><GETCPM>>')
    for (const command of asked.match(/<[A-Z0-9]+>>/g)!) expect(published).toContain(command)
  })
})

test('a counter that is not there yet is asked for its version again, and counts only then', () => {
  const say = answering()
  expect(say(0, new Uint8Array()).asked).toContain('<GETVER>>')
  expect(say(500, new Uint8Array()).asked).toBe('')
  expect(say(1000, wide).asked).toContain('<GETVER>>')
  expect(say(2000, hex('00000233'))).toMatchObject({
    asked: '<GETCPM>>',
    outcomes: [{ kind: 'reading', measurements: [{ quantity: 'count_rate', value: 563 }] }],
  })
})

test('half an answer is not completed by the next one', () => {
  const say = answering({ intervalS: 1 })
  say(0, wide)
  expect(say(1000, hex('0000')).outcomes).toEqual([])
  // A second later it is asked who it is; what is left over cannot be taken for a count.
  const again = say(2000, wide)
  expect(again.asked).toContain('<GETVER>>')
  expect(again.outcomes).toMatchObject([{ kind: 'control' }])
  expect(measurementsOf(say(3000, hex('0000001c')).outcomes)).toEqual({ count_rate: 28 })
})

test('the dose rate is told where the tube is known', () => {
  const count = (settings: Settings) => {
    const say = answering(settings)
    say(0, narrow)
    return measurementsOf(say(1000, hex('c01c')).outcomes)
  }
  expect(count({})).toEqual({ count_rate: 28 })
  expect(count({ tube: 'M4011' })).toEqual({ count_rate: 28, radiation: 28 * 0.0065 })
  expect(count({ uSvPerCpm: 0.01 })).toEqual({ count_rate: 28, radiation: 0.28 })
})

test('a version that comes in pieces, of 14 characters too, is never taken for a count', () => {
  const short = bytesOf('GMC-300Re 3.20')
  for (let at = 1; at < short.length; at += 1) {
    const say = answering({ intervalS: 60 })
    const outcomes = [
      ...say(0, short.subarray(0, at)).outcomes,
      ...say(300, short.subarray(at)).outcomes,
      // It is asked again, and answers again, in the same two pieces.
      ...say(1000, short.subarray(0, at)).outcomes,
      ...say(1300, short.subarray(at)).outcomes,
      ...say(2400, hex('001c')).outcomes,
    ]
    const counts = outcomes.filter(({ kind }) => kind === 'reading')
    expect(measurementsOf(counts), `cut at ${at}`).toEqual({ count_rate: 28 })
    expect(counts).toHaveLength(1)
  }
})
