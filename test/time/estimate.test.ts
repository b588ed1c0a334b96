/** What a station takes for the time, and how far off it says it may be. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createEstimate, type Estimate } from '#gateway/time/estimate.ts'
import { type SimulatedMachine, simulatedMachine, startMs } from '#test/time/world.ts'

const hour = 3_600_000

/** Looks as the timekeeper does; without a client nobody is asked. */
const lookAt = (estimate: Estimate, world: SimulatedMachine, ntp = true): void => {
  const { atMs, systemUtcMs, ...said } = world.look()
  estimate.look({ atMs, systemUtcMs, ...(ntp ? said : {}) })
}

const watch = (estimate: Estimate, world: SimulatedMachine, seconds: number, ntp = true): void => {
  for (let n = 0; n < seconds; n++) {
    world.advance(1000)
    lookAt(estimate, world, ntp)
  }
}

const offBy = (estimate: Estimate, world: SimulatedMachine, atMs = world.atMs): number =>
  Math.abs(estimate.at(atMs)!.utcMs - world.trueAt(atMs))

describe('the time is not known', () => {
  test('while an NTP client has not synchronised, and from then on also for what was before', () => {
    const world = simulatedMachine({ client: 'timesyncd', systemUtcMs: Date.UTC(2026, 10, 1) })
    const estimate = createEstimate({})
    watch(estimate, world, 60)
    expect(estimate.at(world.atMs)).toBeUndefined()
    expect(estimate.status(world.atMs)).toMatchObject({ known: false, source: null, jumps: 0 })
    world.synchronise(30)
    watch(estimate, world, 1)
    for (const moment of [0, 30_000, world.atMs]) {
      expect(offBy(estimate, world, moment)).toBeLessThanOrEqual(31)
      expect(estimate.at(moment)!.clock.source).toBe('ntp')
      expect(estimate.at(moment)!.clock.errorMs).toBeGreaterThanOrEqual(500)
    }
    expect(estimate.status(world.atMs)).toMatchObject({ known: true, jumps: 1 })
  })

  test.each([
    ['1970', 0],
    ['2000, as a clock without a battery says', Date.UTC(2000, 0, 1)],
    ['2201', Date.UTC(2201, 0, 1)],
  ])('by a system clock of %s, though nobody says otherwise', (_year, systemUtcMs) => {
    const world = simulatedMachine({ systemUtcMs })
    const estimate = createEstimate({})
    watch(estimate, world, 10, false)
    expect(estimate.at(world.atMs)).toBeUndefined()
    world.setSystem(world.trueMs)
    watch(estimate, world, 1, false)
    expect(estimate.at(world.atMs)!.clock.source).toBe('none')
  })

  test('by a system clock that stands before what was signed already', () => {
    const world = simulatedMachine({ systemUtcMs: startMs - hour })
    const estimate = createEstimate({ newestMs: startMs })
    watch(estimate, world, 10, false)
    expect(estimate.at(world.atMs)).toBeUndefined()
  })

  test('by an RTC that starts in 2000', () => {
    const world = simulatedMachine({ systemUtcMs: Date.UTC(2000, 0, 1) })
    const estimate = createEstimate({})
    estimate.look({ ...world.look(), ntp: undefined, rtc: { utcMs: Date.UTC(2000, 0, 1), errorMs: 1000 } })
    expect(estimate.at(0)).toBeUndefined()
  })
})

describe('a source', () => {
  test('none is the system’s clock as it is, with an error of 0 that claims nothing', () => {
    const world = simulatedMachine({})
    const estimate = createEstimate({})
    lookAt(estimate, world, false)
    expect(estimate.at(5000)).toEqual({
      utcMs: startMs + 5000,
      clock: { source: 'none', ageS: 5, errorMs: 0 },
    })
  })

  test('rtc is a battery-backed clock that agrees with the system’s; one that does not is nobody', () => {
    const world = simulatedMachine({})
    const agreeing = createEstimate({})
    agreeing.look({ atMs: 0, systemUtcMs: world.systemUtcMs, rtc: { utcMs: startMs - 700, errorMs: 2000 } })
    expect(agreeing.at(0)!.clock).toEqual({ source: 'rtc', ageS: 0, errorMs: 2701 })
    const other = createEstimate({})
    other.look({ atMs: 0, systemUtcMs: world.systemUtcMs, rtc: { utcMs: startMs + hour, errorMs: 2000 } })
    expect(other.at(0)!.clock.source).toBe('none')
  })

  test('gnss counts once a receiver has said the same for ten seconds, and not against NTP', () => {
    const world = simulatedMachine({ systemUtcMs: 0, client: 'timesyncd' })
    const estimate = createEstimate({})
    lookAt(estimate, world)
    for (let n = 0; n < 14; n++) {
      if (n < 10) expect(estimate.at(world.atMs)).toBeUndefined()
      world.advance(1000)
      estimate.gnss(world.trueMs - 300, world.atMs)
    }
    expect(estimate.at(world.atMs)!.clock).toMatchObject({ source: 'gnss', ageS: 0, errorMs: 1501 })
    expect(offBy(estimate, world)).toBeLessThanOrEqual(200)
    for (let n = 0; n < 2; n++) {
      world.synchronise()
      watch(estimate, world, 64)
    }
    expect(estimate.at(world.atMs)!.clock.source).toBe('ntp')
    for (let n = 0; n < 14; n++) {
      watch(estimate, world, 1)
      estimate.gnss(world.trueMs - 300, world.atMs)
    }
    expect(estimate.at(world.atMs)!.clock.source).toBe('ntp')
  })

  test('gnss that says now this and now that, or a date before the last one signed, is no source', () => {
    const world = simulatedMachine({ systemUtcMs: 0 })
    const torn = createEstimate({})
    lookAt(torn, world, false)
    const old = createEstimate({ newestMs: startMs })
    lookAt(old, world, false)
    for (let n = 0; n < 30; n++) {
      world.advance(1000)
      torn.gnss(world.trueMs + (n % 3 === 0 ? 18_000 : 0), world.atMs)
      old.gnss(world.trueMs - 19 * 365 * 24 * hour, world.atMs)
    }
    expect(torn.at(world.atMs)).toBeUndefined()
    expect(old.at(world.atMs)).toBeUndefined()
  })

  test('takes over from NTP only when that has been silent for so long that it knows better', () => {
    const world = simulatedMachine({ client: 'timesyncd', ppm: 30 })
    const estimate = createEstimate({})
    world.synchronise()
    lookAt(estimate, world)
    const hear = () => {
      for (let n = 0; n < 14; n++) {
        world.advance(1000)
        lookAt(estimate, world)
        estimate.gnss(world.trueMs - 100, world.atMs)
      }
    }
    hear()
    expect(estimate.at(world.atMs)!.clock.source).toBe('ntp')
    world.advance(5 * hour)
    hear()
    expect(estimate.at(world.atMs)!.clock.source).toBe('gnss')
  })
})

describe('a step of the system’s clock', () => {
  const synchronised = (newestMs?: number) => {
    const world = simulatedMachine({ client: 'timesyncd' })
    const estimate = createEstimate({ newestMs })
    world.synchronise()
    watch(estimate, world, 60)
    world.synchronise()
    watch(estimate, world, 5)
    return { world, estimate }
  }

  test.each([
    ['forward', 7200_000],
    ['back', -7200_000],
    ['back by less than a look', -450],
  ])('%s that nobody confirms moves no reading, is counted, and its size is in the error', (_which, byMs) => {
    const { world, estimate } = synchronised()
    const before = estimate.at(world.atMs)!.clock.errorMs
    world.move(byMs)
    watch(estimate, world, 5)
    expect(offBy(estimate, world)).toBeLessThanOrEqual(1)
    expect(estimate.at(world.atMs)!.clock.errorMs - before - Math.abs(byMs)).toBeLessThanOrEqual(1)
    expect(estimate.at(world.atMs)!.clock.errorMs).toBeGreaterThanOrEqual(before + Math.abs(byMs))
    expect(estimate.status(world.atMs)).toMatchObject({ jumps: 1, lastJumpMs: byMs, source: 'ntp' })
    expect(estimate.status(world.atMs).doubtMs).toBe(Math.abs(byMs))
    // NTP puts it right: nothing is left but the count. Whether it did so before or after a move that is shorter than a
    // look is only clear at the next synchronisation.
    world.synchronise()
    watch(estimate, world, 64)
    world.synchronise()
    watch(estimate, world, 2)
    expect(estimate.at(world.atMs)!.clock.errorMs).toBeLessThanOrEqual(before + 1)
    expect(estimate.status(world.atMs)).toMatchObject({ jumps: 2, lastJumpMs: -byMs, doubtMs: 0 })
  })

  test.each([
    ['forward', -7200_000],
    ['back', 7200_000],
  ])('%s by NTP is followed', (_which, wrongMs) => {
    const world = simulatedMachine({ client: 'timesyncd', systemUtcMs: startMs + wrongMs })
    const estimate = createEstimate({})
    lookAt(estimate, world, false)
    watch(estimate, world, 5, false)
    expect(offBy(estimate, world)).toBe(7200_000)
    expect(estimate.at(world.atMs)!.clock).toMatchObject({ source: 'none', errorMs: 0 })
    world.synchronise()
    watch(estimate, world, 1)
    expect(offBy(estimate, world)).toBeLessThanOrEqual(1)
    expect(estimate.at(world.atMs)!.clock.source).toBe('ntp')
  })

  test.each(['timesyncd', 'chrony'] as const)(
    'between a synchronisation by %s and the start of the process is vouched for by nobody: the next one is what counts',
    (client) => {
      const world = simulatedMachine({ client })
      world.advance(100_000)
      world.synchronise()
      world.advance(100_000)
      world.move(60_000)
      world.advance(100_000)
      const estimate = createEstimate({})
      watch(estimate, world, 120)
      // Not a moment was waited for the next synchronisation, that can be half an hour away.
      expect(estimate.at(world.atMs)!.clock).toMatchObject({ source: 'none', errorMs: 0 })
      world.synchronise()
      watch(estimate, world, 2)
      expect(estimate.at(world.atMs)!.clock.source).toBe('ntp')
      expect(offBy(estimate, world)).toBeLessThanOrEqual(estimate.at(world.atMs)!.clock.errorMs)
      // It came in the same second as the clock was set right: that second is in the error.
      expect(estimate.at(world.atMs)!.clock.errorMs).toBeLessThan(2000)
    },
  )

  test('a synchronisation of less than a minute before the first process vouches at once', () => {
    const world = simulatedMachine({ client: 'timesyncd' })
    world.advance(30_000)
    world.synchronise()
    world.advance(59_000)
    const estimate = createEstimate({})
    lookAt(estimate, world)
    expect(estimate.at(world.atMs)!.clock.source).toBe('ntp')
  })

  test('after a synchronisation and before the next look is not taken for confirmed by it', () => {
    const { world, estimate } = synchronised()
    world.advance(200)
    world.synchronise()
    world.advance(300)
    world.move(hour)
    world.advance(500)
    lookAt(estimate, world)
    expect(offBy(estimate, world)).toBeLessThanOrEqual(1)
    expect(estimate.at(world.atMs)!.clock.errorMs).toBeGreaterThanOrEqual(hour)
  })

  test('where nobody vouches the jump is declared, after an hour followed, and declared for a day more', () => {
    const world = simulatedMachine({})
    const estimate = createEstimate({})
    lookAt(estimate, world, false)
    watch(estimate, world, 5, false)
    world.move(90_000)
    watch(estimate, world, 60, false)
    expect(offBy(estimate, world)).toBeLessThanOrEqual(1)
    expect(estimate.at(world.atMs)!.clock).toMatchObject({ source: 'none', errorMs: 90_000 })
    watch(estimate, world, 3600, false)
    expect(estimate.at(world.atMs)!.utcMs - world.trueMs).toBe(90_000)
    expect(estimate.at(world.atMs)!.clock).toMatchObject({ source: 'none', errorMs: 90_000 })
    world.advance(25 * hour)
    lookAt(estimate, world, false)
    expect(estimate.at(world.atMs)!.clock.errorMs).toBe(0)
  })

  test('while the process was down is seen by the next one of this boot', () => {
    const { world, estimate } = synchronised()
    world.move(-hour)
    const next = createEstimate({ saved: estimate.fix, syncedMs: estimate.syncedMs })
    lookAt(next, world)
    expect(offBy(next, world)).toBeLessThanOrEqual(1)
    expect(next.at(world.atMs)!.clock.errorMs).toBeGreaterThanOrEqual(hour)
    expect(next.status(world.atMs)).toMatchObject({ jumps: 1, lastJumpMs: -hour, source: 'ntp' })
  })

  test('to before what was vouched for in earlier boots is declared, until NTP has said so three times', () => {
    const world = simulatedMachine({ client: 'timesyncd' })
    const estimate = createEstimate({ newestMs: startMs + hour })
    for (let n = 0; n < 3; n++) {
      if (n > 0) {
        const { utcMs, clock } = estimate.at(world.atMs)!
        expect(utcMs + clock.errorMs).toBeGreaterThanOrEqual(startMs + hour)
      }
      world.synchronise()
      watch(estimate, world, 64)
    }
    expect(estimate.at(world.atMs)!.clock.errorMs).toBeLessThan(1000)
  })
})

test('between synchronisations the error grows with the drift of a crystal', () => {
  const world = simulatedMachine({ client: 'timesyncd', ppm: 90 })
  const estimate = createEstimate({})
  world.synchronise()
  lookAt(estimate, world)
  const atFirst = estimate.at(world.atMs)!.clock
  world.advance(24 * hour)
  lookAt(estimate, world)
  const aDayLater = estimate.at(world.atMs)!.clock
  expect(aDayLater.errorMs - atFirst.errorMs).toBe(8641)
  expect(aDayLater.ageS).toBe(86_407)
  expect(offBy(estimate, world)).toBeLessThanOrEqual(aDayLater.errorMs)
})

type Step =
  | { readonly kind: 'advance'; readonly ms: number; readonly ppm: number }
  | { readonly kind: 'move'; readonly ms: number }
  | { readonly kind: 'synchronise'; readonly offMs: number }
  | { readonly kind: 'gnss'; readonly lateMs: number; readonly times: number }
  | { readonly kind: 'restart' }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('advance' as const),
      ms: fc.oneof(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 40 * hour })),
      ppm: fc.integer({ min: -95, max: 95 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('move' as const),
      ms: fc.oneof(fc.integer({ min: -2000, max: 2000 }), fc.integer({ min: -9e9, max: 9e9 })),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('synchronise' as const),
      offMs: fc.integer({ min: -100, max: 100 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('gnss' as const),
      lateMs: fc.integer({ min: 0, max: 900 }),
      times: fc.integer({ min: 1, max: 20 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
)

test('whatever comes in whatever order, a vouched time is never further from the truth than it says', () => {
  let vouched = 0
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 1, maxLength: 40 }),
      fc.constantFrom('timesyncd' as const, 'chrony' as const),
      fc.integer({ min: -3e9, max: 3e9 }),
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 3, maxLength: 3 }),
      fc.infiniteStream(fc.integer({ min: 0, max: 1 })),
      (steps, client, systemOff, moments, looks) => {
        const world = simulatedMachine({ client, systemUtcMs: startMs + systemOff })
        let estimate = createEstimate({})
        let seenMs = 0
        const see = () => {
          lookAt(estimate, world)
          seenMs = world.systemUtcMs - world.atMs
        }
        see()
        let syncedAtMs = Number.NEGATIVE_INFINITY
        let movedAtMs = Number.NEGATIVE_INFINITY
        for (const one of steps) {
          if (one.kind === 'advance') world.advance(one.ms, one.ppm)
          // A clock that is moved and moved back between two looks, to the millisecond, leaves no trace.
          if (one.kind === 'move') {
            if (Math.abs(world.systemUtcMs - world.atMs + one.ms - seenMs) < 10) see()
            movedAtMs = world.atMs
            if (Math.abs(one.ms) >= 10) world.move(one.ms)
          }
          // No client polls more often; a slew is over by the next one.
          if (one.kind === 'synchronise' && world.atMs - syncedAtMs >= 32_000) {
            syncedAtMs = world.atMs
            if (Math.abs(world.trueMs + one.offMs - world.atMs - seenMs) < 10) see()
            world.synchronise(one.offMs)
          }
          if (one.kind === 'gnss')
            for (let n = 0; n < one.times; n++) {
              world.advance(1000)
              see()
              estimate.gnss(Math.floor(world.trueMs) - one.lateMs, world.atMs)
            }
          // One that knows nothing yet takes the minute before it on trust.
          if (
            one.kind === 'restart' &&
            (estimate.fix !== undefined || world.atMs - Math.max(movedAtMs, syncedAtMs) > 60_100)
          ) {
            estimate = createEstimate({ saved: estimate.fix, syncedMs: estimate.syncedMs })
            see()
          }
          if (looks.next().value === 1) see()
          for (const share of [...moments, 1]) {
            const moment = world.atMs * share
            const stamp = estimate.at(moment)
            if (stamp === undefined) continue
            expect(Number.isSafeInteger(stamp.clock.errorMs)).toBe(true)
            expect(stamp.clock.errorMs).toBeLessThan(1e11)
            if (stamp.clock.source === 'none') continue
            vouched++
            expect(Math.abs(stamp.utcMs - world.trueAt(moment))).toBeLessThanOrEqual(stamp.clock.errorMs)
          }
        }
      },
    ),
    { numRuns: 3000 },
  )
  expect(vouched).toBeGreaterThan(1000)
})
