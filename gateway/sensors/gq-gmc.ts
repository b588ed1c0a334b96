/** GQ Electronics GMC Geiger counters: asked for their version, then for counts per minute. */
import { z } from 'zod'
import type { Measurement } from '../reading/reading.ts'
import { hex, utf8 } from './bytes.ts'
import type { Cut, Driver, Framing, Outcome } from './sensors.ts'
import { checked } from './settings.ts'

const model = 'gq-gmc'

// GQ-RFC1201 (GMC-280, 300, 320) and GQ-RFC1801 (GMC-500, 600): commands as text, answers without any framing. How long
// an answer is depends on the counter, so its version is asked for first: 14 or 15 characters.
const commands = {
  version: utf8('<GETVER>>'),
  counts: utf8('<GETCPM>>'),
  quiet: utf8('<HEARTBEAT0>>'),
} as const
const versionShape = /^GMC-(\d{3})[\x20-\x7e]{6,8}$/
const beginning = /^G(?:M(?:C(?:-(?:\d{1,2}|\d{3}[\x20-\x7e]*)?)?)?)?$/
const shortestVersion = 14
const longestVersion = 15

// Counters of 500 and more count in four bytes, the others in two of which the upper two bits mean nothing.
const wideFrom = 500
const narrowMask = 0x3fff

// An answer comes within some 100 ms; what has not come by then will not.
const answerMs = 1_000

// µSv/h for one count a minute, as GQ's own software has it for the tube that each counter is built with.
const tubes = { M4011: 0.0065, J305: 0.0065, 'SBM-20': 0.0057 } as const

const schema = z.strictObject({
  intervalS: z.number().min(1).max(3600).default(60).describe('Seconds between questions.'),
  tube: z
    .enum(Object.keys(tubes) as (keyof typeof tubes)[], 'expected M4011, J305 or SBM-20')
    .optional()
    .describe('Its tube, for a dose rate beside the counts.'),
  uSvPerCpm: z
    .number()
    .positive()
    .max(1)
    .optional()
    .describe('µSv/h for one count per minute, where the tube is another.'),
})

// `rest`: a version has come, of 14 or 15 characters; what is still to come of it must not be taken for counts.
type Asked = 'nothing' | 'version' | 'rest' | 'counts'

const isVersion = (bytes: Uint8Array): boolean => versionShape.test(Buffer.from(bytes).toString('latin1'))

/** A version within noise: it begins with GMC- and a number, and is printable to its end. */
const versionAt = (bytes: Uint8Array, from: number): Cut => {
  const start = bytes.indexOf(0x47, from)
  if (start === -1) return { kind: 'skip', to: bytes.length }
  if (start > from) return { kind: 'skip', to: start }
  const text = Buffer.from(bytes.subarray(start, start + longestVersion)).toString('latin1')
  if (text.length === longestVersion && versionShape.test(text))
    return { kind: 'frame', start, end: start + longestVersion }
  if (text.length < longestVersion && beginning.test(text)) return { kind: 'wait' }
  // One of 14 characters, followed by something that is no text.
  return isVersion(bytes.subarray(start, start + shortestVersion))
    ? { kind: 'frame', start, end: start + shortestVersion }
    : { kind: 'skip', to: start + 1 }
}

/** Driver for GMC counters; `radiation` only where the tube is known. At 57,600 baud for the oldest GMC-300. */
export const gqGmc: Driver = {
  model,
  title: 'GQ GMC-280, 300, 320, 500, 600 Geiger counter',
  source: 'GQ-RFC1201 and GQ-RFC1801; GeigerLog’s notes of real counters',
  baudRate: 115_200,
  silenceS: 200,
  // Without a question there is no telling what an answer is: a version tells itself, counts do not.
  framing: { kind: 'cut', maxBytes: longestVersion, cut: versionAt },
  greeting: () => [],
  configure: (settings) => {
    const { intervalS, tube, uSvPerCpm } = checked(model, schema, settings)
    const factor = uSvPerCpm ?? (tube === undefined ? undefined : tubes[tube])
    let asked: Asked = 'nothing'
    let wide: boolean | undefined
    let askedMs = 0
    let nextMs = 0

    const framing: Framing = {
      kind: 'cut',
      maxBytes: longestVersion,
      cut: (bytes, from): Cut => {
        if (asked === 'rest') return { kind: 'skip', to: bytes.length }
        // What comes without being asked for is a version, or nothing.
        if (asked !== 'counts' || wide === undefined) return versionAt(bytes, from)
        const size = wide ? 4 : 2
        return bytes.length - from < size
          ? { kind: 'wait' }
          : { kind: 'frame', start: from, end: from + size }
      },
    }

    const counted = (frame: Uint8Array): readonly Outcome[] => {
      const view = new DataView(frame.buffer, frame.byteOffset, frame.length)
      const cpm = frame.length === 4 ? view.getUint32(0) : view.getUint16(0) & narrowMask
      const measurements: Measurement[] = [{ quantity: 'count_rate', value: cpm }]
      if (factor !== undefined) measurements.push({ quantity: 'radiation', value: cpm * factor })
      return [{ kind: 'reading', measurements }]
    }

    return {
      framing,
      silenceS: Math.max(200, 3 * intervalS),
      decode: (frame, atMs) => {
        const question = asked
        asked = 'nothing'
        if (question !== 'counts' || isVersion(frame)) {
          const match = versionShape.exec(Buffer.from(frame).toString('latin1'))
          if (!match) return [{ kind: 'refused', reason: 'unknown', detail: 'no version of a GMC' }]
          wide = Number(match[1]) >= wideFrom
          if (question === 'version') asked = 'rest'
          askedMs = atMs
          return [{ kind: 'control', what: `version ${match[0]}` }]
        }
        if (frame.length !== (wide ? 4 : 2))
          return [{ kind: 'refused', reason: 'length', detail: `${frame.length} bytes are no count` }]
        return counted(frame)
      },
      dialogue: {
        opened: (nowMs) => {
          asked = 'nothing'
          wide = undefined
          askedMs = Number.NEGATIVE_INFINITY
          nextMs = nowMs
        },
        turn: (nowMs) => {
          if (asked !== 'nothing' && nowMs - askedMs < answerMs)
            return { againMs: askedMs + answerMs - nowMs }
          // Counts that did not come may have been cut short: what is left of them must not be taken for the next.
          if (asked === 'counts') wide = undefined
          asked = 'nothing'
          if (wide === undefined) {
            // It may be in heartbeat mode since somebody looked at it with other software.
            asked = 'version'
            askedMs = nowMs
            return { send: new Uint8Array([...commands.quiet, ...commands.version]), againMs: answerMs }
          }
          if (nowMs < nextMs) return { againMs: nextMs - nowMs }
          asked = 'counts'
          askedMs = nowMs
          nextMs = Math.max(nextMs + intervalS * 1000, nowMs)
          return { send: commands.counts, againMs: answerMs }
        },
      },
    }
  },
  examples: [
    {
      title: 'the version of a GMC-500+',
      source: 'GeigerLog, GLsermon documentation, captured',
      bytes: hex('474d432d3530302b526520322e3234'),
      outcomes: [{ kind: 'control', what: 'version GMC-500+Re 2.24' }],
    },
  ],
}
