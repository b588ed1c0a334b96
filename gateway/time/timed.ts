/** The stage between devices and sealer: each reading gets its time, or waits on disk until there is one. */
import type { Clock } from '../reading/envelope.ts'
import type { Heard } from '../reading/heard.ts'
import { type Item, laneOf, lanes } from '../reading/lane.ts'
import type { Reading } from '../reading/reading.ts'
import type { Sealer } from '../sign/sign.ts'
import { countOf, itemOf } from './record.ts'
import { earliestMs, type Seen, type Stamp, type TimeStatus, type Unsigned } from './time.ts'
import type { Timekeeper } from './timekeeper.ts'
import type { Untimed, Verdict } from './untimed.ts'

/** How it is with time, and with the readings that want some. */
export type TimedStatus = TimeStatus & {
  /** Readings that wait for their time, those in frames that nodes signed included, as in the other counts. */
  readonly waiting: number
  /** Readings that were thinned out while they waited, since the disk was first used. */
  readonly thinned: number
  /** Readings since the start of which nothing tells the time, or for which neither disk nor memory had room. */
  readonly dropped: number
  /** Readings of an earlier boot, and all after them, wait for somebody to vouch for the time of this one. */
  readonly lacksSource: boolean
}

/** When what waits goes to disk: whichever comes first, as with envelopes. */
export type WaitLimits = { readonly maxReadings: number; readonly maxAgeMs: number }

export type Timed = {
  /**
   * Takes what a device gave; a slow disk slows the device down by the promise that is then answered. `isFix` tells a time
   * by a receiver that has a fix.
   */
  take(seen: Seen, isFix?: boolean): Promise<void> | undefined
  /** The same for a frame that a node signed itself. */
  takeFrame(frame: Heard, atMs: number): Promise<void> | undefined
  /** What an envelope with these declares; of now, where there are none. */
  clock(items?: readonly Item[]): Clock
  /** Puts on disk what waits in memory; nothing is signed any more. */
  close(): Promise<void>
  readonly status: TimedStatus
}

// A hub takes nothing that is five minutes ahead of it, and no device has measured what has not been yet.
const mostAheadMs = 60_000
const mostBehindMs = 24 * 3_600_000

/** The device's own time, where it can be: not after it was received, nor long before unless it keeps a backlog. */
export const believedMs = ({ ownMs, backlog }: Seen, received: Stamp): number | undefined => {
  if (ownMs === undefined || ownMs < earliestMs) return undefined
  const { utcMs, clock } = received
  if (ownMs > utcMs + clock.errorMs + mostAheadMs) return undefined
  return backlog || ownMs >= utcMs - clock.errorMs - mostBehindMs ? ownMs : undefined
}

/** Beyond this, time that was corrected back is not made up for: what was signed before was wrong, and said how much. */
const mostHeldBackMs = 3_600_000
/** Sensors whose last time is remembered; radio networks can have any number. */
const maxSensors = 10_000

const sourceOrder: readonly Clock['source'][] = ['none', 'rtc', 'gnss', 'ntp']

/** The least of what is known of several: the worst source, the oldest age, the largest error. */
const leastOf = (clocks: readonly Clock[]): Clock =>
  clocks.reduce((worst, one) => ({
    source: sourceOrder.indexOf(one.source) < sourceOrder.indexOf(worst.source) ? one.source : worst.source,
    ageS: Math.max(worst.ageS, one.ageS),
    errorMs: Math.max(worst.errorMs, one.errorMs),
  }))

/** An item with its time, and what is known of that; only the item is signed. */
type Stamped<T extends Item> = T & { readonly clock: Clock }

const isStamped = (item: Item): item is Stamped<Item> => 'clock' in item

// A disk that did not take an envelope, or did not give a record, is asked again.
const retryMs = 10_000
// An envelope that is in memory for want of the disk is looked after so often.
const flushMs = 1_000

// Where no NTP client is seen at first, one may speak up later, and then an earlier boot's readings have a time. In a
// steady state systemd-timesyncd asks every 2048 s; whoever has not spoken by then is not there.
const patienceMs = 40 * 60_000

/** Readings in memory while the disk takes nothing, at most. */
const maxHeld = 20_000

/** A stage for one station. `writable` tells whether the outbox takes envelopes; timers are handed in by `after`. */
export const createTimed = ({
  timekeeper,
  untimed,
  seal,
  writable,
  limits,
  log,
  failed,
  after = (ms, run) => {
    const timer = setTimeout(run, ms)
    return () => clearTimeout(timer)
  },
}: {
  readonly timekeeper: Timekeeper
  readonly untimed: Untimed
  readonly seal: Sealer
  readonly writable: () => boolean
  readonly limits: WaitLimits
  readonly log: (message: string) => void
  readonly failed: (error: unknown) => void
  readonly after?: (ms: number, run: () => void) => () => void
}): Timed => {
  const newest = new Map<string, { boot: string; atMs: number; utcMs: number }>()
  let newestSensor: string | undefined
  let buffer: Unsigned[] = []
  let cancel: (() => void) | undefined
  let putting: Promise<void> = Promise.resolve()
  let onTheWay = 0
  let closing = false
  let cancelRetry: (() => void) | undefined
  let endPause: (() => void) | undefined
  let dropped = 0
  // What waits goes first: until nothing does, everything waits.
  let direct = untimed.waiting === 0
  let draining: Promise<void> | undefined
  const startedMs = timekeeper.steadyMs()
  let lacksSource = false

  for (const [boot, lastMs] of untimed.boots) timekeeper.lasted(boot, lastMs)

  /** A sensor's times go forward. After a correction back they run at half speed, and the error says so. */
  const inOrder = (sensor: string, boot: string, atMs: number, stamp: Stamp): Stamp => {
    const last = newest.get(sensor)
    let { utcMs, clock } = stamp
    if (last !== undefined && last.utcMs - utcMs < mostHeldBackMs) {
      const passedMs = boot === last.boot ? Math.max(0, atMs - last.atMs) : 0
      const leastMs = last.utcMs + Math.max(1, Math.floor(passedMs / 2))
      if (leastMs > utcMs) {
        clock = { ...clock, errorMs: clock.errorMs + leastMs - utcMs }
        utcMs = leastMs
      }
    }
    // The order of the map is who spoke last. One that speaks again is there already.
    if (last !== undefined && sensor === newestSensor) {
      last.boot = boot
      last.atMs = atMs
      last.utcMs = utcMs
    } else {
      newest.delete(sensor)
      newest.set(sensor, { boot, atMs, utcMs })
      newestSensor = sensor
      if (newest.size > maxSensors) newest.delete(newest.keys().next().value!)
    }
    return { utcMs, clock }
  }

  const stamped = (seen: Seen, boot: string, received: Stamp): Stamped<Reading> => {
    const { reading, atMs } = seen
    const own = believedMs(seen, received)
    const { utcMs, clock } =
      own === undefined
        ? inOrder(reading.sensor, boot, atMs, received)
        : { utcMs: own, clock: received.clock }
    const { sensor, model, values } = reading
    return { sensor, model, timeMs: utcMs, values, clock }
  }

  const holdLess = (): void => {
    const before = countOf(buffer)
    const half = buffer.length >> 1
    buffer = buffer.filter((_, at) => at >= half || at % 2 === 1)
    dropped += before - countOf(buffer)
  }

  /** Puts on disk what waits by now. One record is of one lane, so that it is signed in its order. */
  const putAll = async (): Promise<void> => {
    const taken = buffer
    buffer = []
    const count = countOf(taken)
    onTheWay += count
    const left: Unsigned[] = []
    for (let at = 0; at < taken.length; at += limits.maxReadings) {
      const some = taken.slice(at, at + limits.maxReadings)
      for (const lane of lanes) {
        const alike = some.filter((one) => laneOf(itemOf(one)) === lane)
        if (alike.length > 0 && !(await untimed.put(timekeeper.boot, alike))) left.push(...alike)
      }
    }
    onTheWay -= count
    if (left.length === 0) return
    buffer = [...left, ...buffer]
    wait()
  }

  /** Puts the buffer on disk, after what is on its way; waits for that: sensors may be one commit ahead, no more. */
  const put = async (): Promise<void> => {
    cancel?.()
    cancel = undefined
    if (buffer.length === 0) return
    if (!untimed.writable) {
      if (buffer.length > maxHeld) holdLess()
      wait()
      return
    }
    const before = putting
    putting = before.then(putAll)
    putting.catch(failed)
    await before
  }

  const wait = (): void => {
    cancel ??= after(limits.maxAgeMs, () => void put().catch(failed))
  }

  // An envelope declares the least of what is known of its readings: it holds those of one source.
  let source: Clock['source'] | undefined
  const sign = (one: Unsigned, boot: string, received: Stamp): Promise<void> | undefined => {
    if (source !== undefined && source !== received.clock.source) return signApart(one, boot, received)
    source = received.clock.source
    return 'reading' in one ? seal.add(stamped(one, boot, received)) : signFrame(one.frame, received)
  }
  const signFrame = async (heard: Heard, { utcMs, clock }: Stamp): Promise<void> => {
    const frame: Stamped<Heard> = { ...heard, receivedMs: utcMs, clock }
    await seal.addHeard(frame)
  }
  const signApart = async (one: Unsigned, boot: string, received: Stamp): Promise<void> => {
    await seal.flush()
    source = undefined
    await sign(one, boot, received)
  }

  /** Until all that was signed is on disk; false where the station ends before. */
  const flushed = async (): Promise<boolean> => {
    while (!(await seal.flush())) {
      if (closing) return false
      await new Promise<void>((resolve) => {
        const cancel = after(flushMs, resolve)
        endPause = () => {
          cancel()
          resolve()
        }
      })
    }
    return true
  }

  const signRecord = async (boot: string, seen: readonly Unsigned[]): Promise<Verdict> => {
    if (closing || !writable()) return 'stays'
    const first = timekeeper.of(boot, seen[0]!.atMs)
    const patient = timekeeper.steadyMs() - startedMs < patienceMs
    lacksSource = first === undefined && patient && timekeeper.lacksSource(boot)
    if (lacksSource) return 'stays'
    if (first === undefined) {
      const count = countOf(seen)
      dropped += count
      log(`${count} readings are dropped: nothing bounds the time of the boot they were received in`)
      return 'dropped'
    }
    for (const one of seen) await sign(one, boot, timekeeper.of(boot, one.atMs) ?? first)
    return (await flushed()) ? 'signed' : 'unsure'
  }

  /** Signs all that waits, what comes meanwhile included; from then on nothing waits any more. */
  const drain = async (): Promise<void> => {
    while (!direct && !closing) {
      await put()
      await putting
      const all = untimed.waiting === 0 || (await untimed.drain(signRecord))
      if (all && buffer.length + onTheWay + untimed.waiting === 0) {
        direct = true
      } else if ((!all || !untimed.writable) && !closing) {
        cancelRetry = after(retryMs, start)
        return
      }
    }
  }
  const start = (): void => {
    draining ??= drain()
      .catch(failed)
      .finally(() => {
        draining = undefined
      })
  }
  if (!direct) timekeeper.whenKnown(start)

  const accept = (one: Unsigned): Promise<void> | undefined => {
    const received = direct ? timekeeper.at(one.atMs) : undefined
    if (received !== undefined) return sign(one, timekeeper.boot, received)
    if (direct) {
      direct = false
      timekeeper.whenKnown(start)
    }
    buffer.push(one)
    wait()
    return buffer.length >= limits.maxReadings ? put() : undefined
  }

  return {
    take: (seen, isFix = false) => {
      if (isFix && seen.ownMs !== undefined) timekeeper.gnss(seen.ownMs, seen.atMs)
      return accept(seen)
    },
    takeFrame: (frame, atMs) => accept({ frame, atMs }),
    clock: (items = []) => {
      const said = items.flatMap((item) => (isStamped(item) ? item.clock : []))
      return said.length > 0 ? leastOf(said) : timekeeper.clock()
    },
    close: async () => {
      closing = true
      cancelRetry?.()
      endPause?.()
      await put()
      cancel?.()
      await putting
      await draining
    },
    get status() {
      return {
        ...timekeeper.status,
        waiting: untimed.waiting + countOf(buffer) + onTheWay,
        thinned: untimed.thinned,
        dropped,
        lacksSource,
      }
    },
  }
}
