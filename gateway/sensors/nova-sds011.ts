/** Nova Fitness SDS011, SDS018 and SDS021 particle sensors. */
import { z } from 'zod'
import { hex, sum } from './bytes.ts'
import { dutyCycle, dutyCycleSetting, type Phase } from './duty-cycle.ts'
import { polling } from './polling.ts'
import type { Cut, Dialogue, Driver, Outcome } from './sensors.ts'
import { checked } from './settings.ts'

// aa | c0 data or c5 reply | six bytes | low byte of their sum | ab. Data: PM2.5 and PM10 u16 LE in 0.1 µg/m³, id.
const head = 0xaa
const tail = 0xab
const data = 0xc0
const reply = 0xc5
const size = 10
const payloadAt = 2
const sumAt = 8

// aa b4 | command, 1 = set or 0 = ask, value, ten zeros | ff ff = any device | low byte of the sum of bytes 2..16 | ab.
const commandOf = (code: number, set: 0 | 1, value: number): Uint8Array => {
  const bytes = Uint8Array.of(head, 0xb4, code, set, value, ...new Uint8Array(10), 0xff, 0xff, 0, tail)
  bytes[17] = sum(bytes, 2, 17) & 0xff
  return bytes
}
const reportMode = 2
const query = 4
const sleepOrWork = 6
const workPeriod = 8
const commands = {
  wake: commandOf(sleepOrWork, 1, 1),
  sleep: commandOf(sleepOrWork, 1, 0),
  query: commandOf(query, 0, 0),
} as const

const commandNames: Readonly<Record<number, string>> = {
  2: 'report mode',
  4: 'query',
  5: 'device id',
  6: 'sleep or wake',
  7: 'firmware version',
  8: 'work period',
}

const sumIsRight = (bytes: Uint8Array, start: number): boolean =>
  (sum(bytes, start + payloadAt, start + sumAt) & 0xff) === bytes[start + sumAt]

const headAfter = (bytes: Uint8Array, from: number, end: number): number => {
  for (let at = bytes.indexOf(head, from); at !== -1 && at < end; at = bytes.indexOf(head, at + 1))
    if (at + 1 >= end || bytes[at + 1] === data || bytes[at + 1] === reply) return at
  return end
}

const cut = (bytes: Uint8Array, from: number): Cut => {
  const start = headAfter(bytes, from, bytes.length)
  if (start > from) return { kind: 'skip', to: start }
  const end = start + size
  if (bytes.length < end) return { kind: 'wait' }
  if (bytes[end - 1] !== tail) return { kind: 'skip', to: headAfter(bytes, start + 1, end) }
  return { kind: 'frame', start, end: sumIsRight(bytes, start) ? end : headAfter(bytes, start + 1, end) }
}

// Document V1.3: 30 s until fan and laser are steady.
const warmUpS = 30

const schema = z
  .strictObject({
    mode: z
      .enum(['active', 'query'], 'expected active or query')
      .default('active')
      .describe('query: it speaks only when asked, every `intervalS`; active: once a second by itself.'),
    intervalS: z.number().min(3).max(3600).default(60).describe('Seconds between questions in mode query.'),
    workPeriodMin: z
      .int('expected whole minutes from 0 to 30')
      .min(0)
      .max(30)
      .optional()
      .describe(
        'Its own rest in minutes between measurements of 30 s; 0 is none. It remembers this without power.',
      ),
    dutyCycle: dutyCycleSetting(warmUpS).describe('Sleep between measurements, in seconds.'),
  })
  .refine(({ mode, dutyCycle }) => mode === 'active' || !dutyCycle, {
    path: ['mode'],
    message: 'expected active where dutyCycle is set',
  })

// What it is told to remember wears its memory: it is asked first, and told only what is not so yet.
const askAgainMs = 1_000
const maxTries = 5

type Wish = { readonly code: number; readonly value: number; tries: number }

/** Asks for each wish whether it is so, says it where it is not, then lets `after` speak. */
const wishing = (wishes: readonly Wish[], after: Dialogue | undefined) => {
  let open: Wish[] = []
  let tell: Uint8Array | undefined
  let askedMs = Number.NEGATIVE_INFINITY
  const dialogue: Dialogue = {
    opened: (nowMs) => {
      open = wishes.map((wish) => ({ ...wish, tries: 0 }))
      tell = undefined
      askedMs = Number.NEGATIVE_INFINITY
      after?.opened(nowMs)
    },
    turn: (nowMs) => {
      if (tell !== undefined) {
        const send = tell
        tell = undefined
        return { send, againMs: askAgainMs }
      }
      // One that never answers is none that can be told: its values are as good all the same.
      open = open.filter(({ tries }) => tries < maxTries)
      const [wish] = open
      if (wish === undefined) return after?.turn(nowMs) ?? { againMs: 60_000 }
      if (nowMs - askedMs < askAgainMs) return { againMs: askedMs + askAgainMs - nowMs }
      askedMs = nowMs
      wish.tries += 1
      return { send: commandOf(wish.code, 0, 0), againMs: askAgainMs }
    },
  }
  /** An answer came: command, whether it was a telling, and the value. */
  const answered = (code: number, value: number): void => {
    const [wish] = open
    if (wish?.code !== code) return
    if (wish.value === value) open = open.slice(1)
    else tell = commandOf(code, 1, wish.value)
    askedMs = Number.NEGATIVE_INFINITY
  }
  return { dialogue, answered }
}

const decode = (frame: Uint8Array, phase: Phase): readonly Outcome[] => {
  if (frame.length !== size || frame[0] !== head || frame[size - 1] !== tail)
    return [{ kind: 'refused', reason: 'length', detail: `${frame.length} bytes are no whole frame` }]
  if (!sumIsRight(frame, 0)) {
    const computed = sum(frame, payloadAt, sumAt) & 0xff
    return [{ kind: 'refused', reason: 'checksum', detail: `sum is ${computed}, frame says ${frame[sumAt]}` }]
  }
  if (frame[1] === reply) {
    const command = commandNames[frame[payloadAt]!] ?? `command ${frame[payloadAt]}`
    return [{ kind: 'control', what: `answered ${command}` }]
  }
  if (frame[1] !== data)
    return [{ kind: 'refused', reason: 'unknown', detail: `frame type ${frame[1]!.toString(16)}` }]
  if (phase === 'asleep') return [{ kind: 'control', what: 'still awake' }]
  const pm25 = frame[2]! | (frame[3]! << 8)
  const pm10 = frame[4]! | (frame[5]! << 8)
  // Both exactly zero is what it says before the fan and laser are steady.
  const warmingUp = phase === 'warming-up' || (pm25 === 0 && pm10 === 0)
  return [
    {
      kind: 'reading',
      measurements: warmingUp
        ? [
            { quantity: 'pm2_5', value: null, absent: 'warming-up' },
            { quantity: 'pm10', value: null, absent: 'warming-up' },
          ]
        : [
            { quantity: 'pm2_5', value: pm25 / 10 },
            { quantity: 'pm10', value: pm10 / 10 },
          ],
    },
  ]
}

/** Driver for the Nova SDS011 family: PM2.5 and PM10, once a second unless its settings say otherwise. */
export const novaSds011: Driver = {
  model: 'nova-sds011',
  title: 'Nova Fitness SDS011, SDS018, SDS021',
  source: 'Laser Dust Sensor Control Protocol V1.3 (Nova Fitness, 2015)',
  baudRate: 9600,
  // A work period of up to 30 min is kept by the sensor: it then speaks only once in that time.
  silenceS: 1900,
  framing: { kind: 'cut', maxBytes: size, cut },
  greeting: () => [commands.wake],
  configure: (settings) => {
    const { mode, intervalS, workPeriodMin, dutyCycle: cycle } = checked('nova-sds011', schema, settings)
    const wishes: Wish[] = [{ code: reportMode, value: mode === 'query' ? 1 : 0, tries: 0 }]
    if (workPeriodMin !== undefined) wishes.push({ code: workPeriod, value: workPeriodMin, tries: 0 })
    const cycling = cycle && dutyCycle(cycle, warmUpS, commands)
    const asking =
      mode === 'query' ? polling({ request: commands.query, intervalMs: intervalS * 1000 }) : undefined
    const { dialogue, answered } = wishing(wishes, cycling?.dialogue ?? asking)
    return {
      dialogue,
      decode: (frame, atMs) => {
        cycling?.heard(atMs)
        const outcomes = decode(frame, cycling?.phaseAt(atMs) ?? 'measuring')
        if (frame[1] === reply && outcomes[0]?.kind === 'control') answered(frame[2]!, frame[4]!)
        return outcomes
      },
      ...(cycle ? { silenceS: cycle.everyS + 2 * warmUpS } : {}),
    }
  },
  examples: [
    {
      title: 'the example of the protocol document',
      source: 'Laser Dust Sensor Control Protocol V1.3',
      bytes: hex('aac0d4043a0aa1601dab'),
      outcomes: [
        {
          kind: 'reading',
          measurements: [
            { quantity: 'pm2_5', value: 123.6 },
            { quantity: 'pm10', value: 261.8 },
          ],
        },
      ],
    },
    {
      title: 'clean air',
      source: 'PyPMS tests/captured_data/SDS01x.hexdump (MIT), captured',
      bytes: hex('aac00600060058d93dab'),
      outcomes: [
        {
          kind: 'reading',
          measurements: [
            { quantity: 'pm2_5', value: 0.6 },
            { quantity: 'pm10', value: 0.6 },
          ],
        },
      ],
    },
    {
      title: 'the same with a wrong sum',
      source: 'PyPMS tests/sensors/test_message.py (MIT)',
      bytes: hex('aac0d4043a0aa16000ab'),
      outcomes: [{ kind: 'refused', reason: 'checksum', detail: 'sum is 29, frame says 0' }],
    },
  ],
}
