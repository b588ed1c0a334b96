/** Readings that had to wait for their time, on real disks, through restarts and reboots. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Reading } from '#gateway/reading/reading.ts'
import { aReading } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { copyTree } from '#test/time/copy.ts'
import { drained, inOrder, journalAt, signedIn, stationOn } from '#test/time/station.ts'
import { simulatedMachine, startMs } from '#test/time/world.ts'
import { until } from '#test/until.ts'

const hour = 3_600_000

describe('before the time is known', () => {
  test('readings wait on disk after five seconds, and are signed with their moment’s time once NTP has spoken', async () => {
    const directory = temporaryDirectory()
    const world = simulatedMachine({ client: 'timesyncd', systemUtcMs: Date.UTC(2026, 8, 1), ppm: 60 })
    const station = await stationOn(directory, world.machine)
    const truth: number[] = []
    for (let n = 0; n < 130; n++) {
      world.advance(1000)
      truth.push(world.trueMs)
      await station.take(world)
    }
    await station.fire()
    expect(station.outbox.head.seq).toBe(0)
    expect(station.timed.status).toMatchObject({ known: false, source: null, waiting: 130 })
    expect(existsSync(join(directory, 'untimed'))).toBe(true)
    world.synchronise(20)
    station.timekeeper.look()
    await drained(station)
    // What comes now is signed at once, in the same order.
    for (let n = 0; n < 3; n++) {
      world.advance(1000)
      truth.push(world.trueMs)
      await station.take(world)
    }
    await station.close()
    const signed = await signedIn(directory)
    inOrder(signed, 133)
    for (const { name, timeMs, clock } of signed) {
      expect(clock.source).toBe('ntp')
      expect(Math.abs(timeMs - truth[name]!)).toBeLessThanOrEqual(clock.errorMs)
      expect(clock.errorMs).toBeLessThan(2500)
    }
    expect(readdirSync(join(directory, 'untimed'))).toEqual(['cursor.json'])
  })

  test('a process that restarts within the boot signs what waited for the one before', async () => {
    const directory = temporaryDirectory()
    const world = simulatedMachine({ client: 'timesyncd', systemUtcMs: 0 })
    const first = await stationOn(directory, world.machine)
    for (let n = 0; n < 60; n++) {
      world.advance(1000)
      await first.take(world)
    }
    await first.close()
    world.advance(30_000)
    world.synchronise()
    const second = await stationOn(directory, world.machine)
    await drained(second)
    await second.close()
    const signed = await signedIn(directory)
    inOrder(signed, 60)
    for (const { name, timeMs, clock } of signed)
      expect(Math.abs(timeMs - (startMs + 1000 * (name + 1)))).toBeLessThanOrEqual(clock.errorMs)
  })

  test('positions wait and are signed apart from the rest', async () => {
    const directory = temporaryDirectory()
    const world = simulatedMachine({ client: 'timesyncd', systemUtcMs: 0 })
    const station = await stationOn(directory, world.machine)
    const position: Reading = {
      ...aReading(0),
      sensor: 'gps',
      values: [{ quantity: 35, scaled: 481_173_000 }],
    }
    for (let n = 0; n < 5; n++) {
      world.advance(1000)
      await station.take(world)
      await station.timed.take({ reading: position, atMs: world.atMs })
    }
    await station.fire()
    world.synchronise()
    station.timekeeper.look()
    await drained(station)
    await station.close()
    expect(station.outbox.head).toMatchObject({ seq: 2, withheld: 1 })
  })

  test('a receiver with a fix gives the time to all, itself included', async () => {
    const directory = temporaryDirectory()
    const world = simulatedMachine({ systemUtcMs: 0 })
    const station = await stationOn(directory, world.machine)
    for (let n = 0; n < 20; n++) {
      world.advance(1000)
      await station.take(world)
      const ownMs = Math.floor(world.trueMs) - 200
      await station.timed.take({ reading: { ...aReading(0), sensor: 'gps' }, atMs: world.atMs, ownMs }, true)
    }
    await drained(station)
    await station.close()
    const signed = (await signedIn(directory)).filter(({ name }) => name !== 2153)
    inOrder(signed, 20)
    for (const { name, timeMs, clock } of signed) {
      expect(clock.source).toBe('gnss')
      expect(Math.abs(timeMs - (startMs + 1000 * (name + 1)))).toBeLessThanOrEqual(clock.errorMs)
    }
  })

  test('what a device says of its time is believed when the time is known, and only near it', async () => {
    const directory = temporaryDirectory()
    const world = simulatedMachine({ client: 'timesyncd', systemUtcMs: 0 })
    const station = await stationOn(directory, world.machine)
    world.advance(10_000)
    const told = [
      { ownMs: startMs + 4000 }, // near
      { ownMs: startMs - 30 * hour }, // too old
      { ownMs: startMs - 30 * hour, backlog: true }, // it keeps what it cannot send
      { ownMs: startMs + hour }, // not yet
      { ownMs: startMs + hour, backlog: true },
      { ownMs: 0, backlog: true }, // 1970
    ]
    for (const one of told) await station.take(world, one)
    await station.fire()
    world.synchronise()
    station.timekeeper.look()
    await drained(station)
    for (const one of told) await station.take(world, one, 10)
    await station.close()
    const times = (await signedIn(directory)).map(({ timeMs }) => Math.round((timeMs - startMs) / 1000))
    const expected = [4, 10, -30 * 3600, 10, 10, 10]
    expect(times).toEqual([...expected, ...expected])
  })
})

describe('after a reboot', () => {
  test('of a boot that never knew its time, readings get an interval between the boots around it', async () => {
    const directory = temporaryDirectory()
    const before = simulatedMachine({ client: 'timesyncd', boot: 1 })
    before.synchronise()
    const first = await stationOn(directory, before.machine)
    before.advance(1000)
    await first.take(before, {}, 0)
    await first.close()
    // Two hours without power, then two boots without a network, then one with.
    const truth = [before.trueMs]
    let n = 1
    for (const boot of [2, 3]) {
      const dark = simulatedMachine({
        client: 'timesyncd',
        boot,
        trueMs: startMs + 2 * boot * hour,
        systemUtcMs: startMs,
      })
      const station = await stationOn(directory, dark.machine)
      for (let count = 0; count < 10; count++) {
        dark.advance(60_000)
        truth.push(dark.trueMs)
        await station.take(dark, {}, n++)
      }
      await station.close()
      expect(station.outbox.head.seq).toBe(1)
    }
    const light = simulatedMachine({
      client: 'timesyncd',
      boot: 4,
      trueMs: startMs + 8 * hour,
      systemUtcMs: startMs,
    })
    const last = await stationOn(directory, light.machine)
    light.advance(1000)
    truth.push(light.trueMs)
    await last.take(light, {}, n++)
    light.synchronise()
    last.timekeeper.look()
    await drained(last)
    await last.close()
    const signed = await signedIn(directory)
    inOrder(signed, n)
    for (const { name, timeMs, clock } of signed) {
      expect(Math.abs(timeMs - truth[name]!)).toBeLessThanOrEqual(clock.errorMs)
      expect(clock.source).toBe(name === 0 || name === n - 1 ? 'ntp' : 'none')
      if (clock.source === 'none') expect(clock.errorMs).toBeGreaterThan(3 * hour)
    }
  })

  test('of a boot that nothing bounds, readings are dropped with a count and a reason', async () => {
    const directory = temporaryDirectory()
    const dark = simulatedMachine({ client: 'timesyncd', boot: 1, systemUtcMs: 0 })
    const first = await stationOn(directory, dark.machine)
    for (let n = 0; n < 3; n++) await first.take(dark)
    await first.close()
    const light = simulatedMachine({ client: 'timesyncd', boot: 2, trueMs: startMs + hour })
    light.synchronise()
    const second = await stationOn(directory, light.machine)
    await drained(second)
    expect(second.timed.status.dropped).toBe(3)
    expect(second.logged.join('\n')).toMatch(/3 readings are dropped: nothing bounds the time/)
    await second.close()
    expect(await signedIn(directory)).toEqual([])
  })

  /** One boot with NTP, and one that never learns its time and keeps three readings. */
  const darkAfterLight = async (directory: string) => {
    const light = simulatedMachine({ client: 'timesyncd', boot: 1 })
    light.synchronise()
    await (await stationOn(directory, light.machine)).close()
    const dark = simulatedMachine({
      client: 'timesyncd',
      boot: 2,
      trueMs: startMs + hour,
      systemUtcMs: startMs,
    })
    const station = await stationOn(directory, dark.machine)
    for (let n = 0; n < 3; n++) {
      dark.advance(1000)
      await station.take(dark, {}, n)
    }
    await station.close()
    // Its clock is plausible, and nobody is seen who would set it.
    return simulatedMachine({ boot: 3, trueMs: startMs + 2 * hour, systemUtcMs: startMs + hour })
  }

  test('an NTP client that appears after the station has started bounds the boot before', async () => {
    const directory = temporaryDirectory()
    const world = await darkAfterLight(directory)
    let isThere = false
    const { machine } = world
    const station = await stationOn(directory, {
      ...machine,
      timesync: () =>
        isThere ? { ntp: { syncedMs: machine.utcMs() - 1000, errorMs: 100, slewMs: 400 } } : {},
    })
    for (let n = 3; n < 6; n++) {
      world.advance(1000)
      await station.take(world, {}, n)
    }
    await station.fire()
    expect(station.timed.status).toMatchObject({ known: true, source: 'none', waiting: 6, lacksSource: true })
    world.advance(17_000)
    world.setSystem(world.trueMs)
    isThere = true
    world.advance(1000)
    station.timekeeper.look()
    await station.fire()
    await drained(station)
    expect(station.timed.status).toMatchObject({ source: 'ntp', dropped: 0, lacksSource: false })
    await station.close()
    const signed = await signedIn(directory)
    inOrder(signed, 6)
    expect(signed.map(({ clock }) => clock.source)).toEqual(['none', 'none', 'none', 'ntp', 'ntp', 'ntp'])
    for (const { name, timeMs, clock } of signed) {
      const trueMs = startMs + (name < 3 ? hour : 2 * hour) + 1000 * ((name % 3) + 1)
      expect(Math.abs(timeMs - trueMs)).toBeLessThanOrEqual(clock.errorMs)
    }
  })

  test('where nobody vouches for the time within 40 minutes, what needed it is dropped, and the rest goes on', async () => {
    const directory = temporaryDirectory()
    const world = await darkAfterLight(directory)
    const station = await stationOn(directory, world.machine)
    world.advance(1000)
    await station.take(world, {}, 3)
    await station.fire()
    world.advance(39 * 60_000)
    await station.fire()
    expect(station.timed.status).toMatchObject({ waiting: 4, dropped: 0 })
    world.advance(60_000)
    await station.fire()
    await drained(station)
    expect(station.timed.status).toMatchObject({ dropped: 3, lacksSource: false })
    await station.close()
    expect((await signedIn(directory)).map(({ name, clock }) => [name, clock.source])).toEqual([[3, 'none']])
  })

  test('of a boot that knew its time and was cut off while signing, nothing is lost and nothing is doubled', async () => {
    const directory = temporaryDirectory()
    const world = simulatedMachine({ client: 'timesyncd', systemUtcMs: 0 })
    // In the middle of it, between two notes of how far it got, the power goes.
    let copy = ''
    const first = await stationOn(directory, world.machine, {
      signing: (seq) => {
        if (seq === 27 && copy === '') copy = copyTree(directory)
      },
    })
    for (let n = 0; n < 2500; n++) {
      world.advance(100)
      await first.take(world)
    }
    await first.fire()
    world.synchronise()
    first.timekeeper.look()
    await drained(first)
    await first.close()
    expect((await signedIn(copy)).length).toBe(27 * 50)
    const later = simulatedMachine({
      client: 'timesyncd',
      boot: 2,
      trueMs: startMs + 5 * hour,
      systemUtcMs: startMs,
    })
    const second = await stationOn(copy, later.machine)
    later.synchronise()
    second.timekeeper.look()
    await drained(second)
    await second.close()
    const signed = await signedIn(copy)
    inOrder(signed, 2500)
    for (const { name, timeMs, clock } of signed)
      expect(Math.abs(timeMs - (startMs + 100 * (name + 1)))).toBeLessThanOrEqual(clock.errorMs)
  })
})

describe('a step of the clock', () => {
  test('back, by a source that vouches, doubles no time: readings go on at half speed, and say so', async () => {
    const directory = temporaryDirectory()
    const world = simulatedMachine({ client: 'timesyncd', systemUtcMs: startMs + 20_000 })
    const again = await stationOn(directory, {
      ...world.machine,
      timesync: () => (world.atMs < 5500 ? {} : world.machine.timesync()),
    })
    const truth: number[] = []
    for (let n = 0; n < 60; n++) {
      world.advance(1000)
      if (n === 5) world.synchronise()
      truth.push(world.trueMs)
      await again.take(world)
    }
    await again.close()
    const signed = await signedIn(directory)
    inOrder(signed, 60)
    expect(signed[4]!.timeMs - truth[4]!).toBe(20_000)
    for (const { name, timeMs, clock } of signed.slice(5)) {
      expect(Math.abs(timeMs - truth[name]!)).toBeLessThanOrEqual(clock.errorMs)
      expect(clock.source).toBe('ntp')
    }
    expect(Math.abs(signed[59]!.timeMs - truth[59]!)).toBeLessThanOrEqual(1)
  })

  test('that nobody confirms moves no reading, and is declared in the envelope', async () => {
    const directory = temporaryDirectory()
    const world = simulatedMachine({ client: 'timesyncd' })
    world.synchronise()
    const station = await stationOn(directory, world.machine)
    for (let n = 0; n < 4; n++) {
      world.advance(1000)
      if (n === 2) world.move(-3 * hour)
      await station.take(world)
      await station.fire()
    }
    await station.close()
    const signed = await signedIn(directory)
    inOrder(signed, 4)
    for (const { name, timeMs } of signed) expect(timeMs).toBe(startMs + 1000 * (name + 1))
    expect(signed[1]!.clock.errorMs).toBeLessThan(1000)
    expect(signed[2]!.clock.errorMs).toBeGreaterThanOrEqual(3 * hour)
    expect(station.timed.status).toMatchObject({ jumps: 1, lastJumpMs: -3 * hour })
  })
})

test('a machine that sleeps keeps its time, and its readings theirs', async () => {
  const directory = temporaryDirectory()
  const world = simulatedMachine({ client: 'timesyncd' })
  world.synchronise()
  const station = await stationOn(directory, world.machine)
  await station.take(world)
  world.advance(8 * hour) // the steady clock counts sleep
  await station.take(world)
  await station.close()
  const [a, b] = await signedIn(directory)
  expect(b!.timeMs - a!.timeMs).toBe(8 * hour)
  expect(station.timed.status.jumps).toBe(0)
})

test('what waits is bounded in bytes: every second of the oldest goes, and is counted', async () => {
  const directory = temporaryDirectory()
  const world = simulatedMachine({ client: 'timesyncd', systemUtcMs: 0 })
  const station = await stationOn(directory, world.machine, { maxBytes: 1 << 16 })
  const count = 30_000
  for (let n = 0; n < count; n++) {
    world.advance(1000)
    await station.take(world, {}, n % 30_000)
  }
  await station.fire()
  const { thinned, waiting } = station.timed.status
  expect(thinned).toBeGreaterThan(0)
  expect(waiting + thinned).toBe(count)
  world.synchronise()
  station.timekeeper.look()
  await drained(station)
  await station.close()
  const signed = await signedIn(directory)
  expect(signed.length).toBe(count - thinned)
  // The newest half is whole, the oldest has grown thin, and each has its own time still.
  const names = signed.map(({ name }) => name)
  expect(names.slice(-1000)).toEqual(Array.from({ length: 1000 }, (_, at) => count - 1000 + at))
  expect(names[100]! - names[0]!).toBeGreaterThan(150)
  for (const { name, timeMs } of signed)
    expect(Math.abs(timeMs - (startMs + 1000 * (name + 1)))).toBeLessThan(10)
})

test('a disk that takes nothing at first costs no reading', async () => {
  const directory = temporaryDirectory()
  const world = simulatedMachine({ client: 'timesyncd', systemUtcMs: 0 })
  let full = true
  const openLog: typeof journalAt = (path, bytes) =>
    full
      ? Promise.reject(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }))
      : journalAt(path, bytes)
  const station = await stationOn(directory, world.machine, { openLog })
  for (let n = 0; n < 120; n++) {
    world.advance(1000)
    await station.take(world)
  }
  await station.fire()
  expect(existsSync(join(directory, 'untimed'))).toBe(false)
  expect(station.timed.status).toMatchObject({ waiting: 120, dropped: 0 })
  full = false
  await until('the disk is back', 5, async () => (station.untimed.writable ? true : undefined))
  await station.fire()
  expect(station.untimed.waiting).toBe(120)
  world.synchronise()
  station.timekeeper.look()
  await drained(station)
  await station.close()
  inOrder(await signedIn(directory), 120)
})
