/** What the timekeeper remembers, whom it asks and how often it writes. */
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Machine } from '#gateway/time/system.ts'
import { openTimekeeper } from '#gateway/time/timekeeper.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { type SimulatedMachine, simulatedMachine, startMs } from '#test/time/world.ts'

const hour = 3_600_000

const keeperOn = async (directory: string, machine: Machine) => {
  const logged: string[] = []
  const keeper = await openTimekeeper({
    directory,
    machine,
    log: (line) => logged.push(line),
    every: () => () => undefined,
  })
  onTestFinished(() => keeper[Symbol.asyncDispose]())
  return { keeper, logged, close: () => keeper[Symbol.asyncDispose]() }
}

const watch = async (keeper: { look: () => void }, world: SimulatedMachine, seconds: number) => {
  for (let n = 0; n < seconds; n++) {
    world.advance(1000)
    keeper.look()
  }
  await new Promise(setImmediate)
}

test('a process of the same boot goes on with the anchor of the one before, though the clock was moved', async () => {
  const directory = temporaryDirectory()
  const world = simulatedMachine({ client: 'timesyncd' })
  world.synchronise()
  const first = await keeperOn(directory, world.machine)
  await first.close()
  world.advance(60_000)
  world.move(2 * hour)
  const { keeper, logged } = await keeperOn(directory, world.machine)
  expect(keeper.at(world.atMs)).toMatchObject({ utcMs: startMs + 60_000, clock: { source: 'ntp' } })
  expect(keeper.status).toMatchObject({ jumps: 1, lastJumpMs: 2 * hour })
  expect(keeper.status.errorMs).toBeGreaterThanOrEqual(2 * hour)
  expect(logged[0]).toBe('the system’s clock was moved by 7200 s'.replace('’', "'"))
})

test('after a reboot a clock that nobody vouches for and that stands before what NTP has said is not the time', async () => {
  const directory = temporaryDirectory()
  const world = simulatedMachine({ client: 'timesyncd' })
  world.synchronise()
  const first = await keeperOn(directory, world.machine)
  await watch(first.keeper, world, 10)
  await first.close()
  const lagging = simulatedMachine({ boot: 2, trueMs: startMs + hour, systemUtcMs: startMs + 5000 })
  const second = await keeperOn(directory, lagging.machine)
  expect(second.keeper.at(lagging.atMs)).toBeUndefined()
  expect(second.keeper.utcMs()).toBe(startMs + 5000) // for the status, not for signatures
  expect(second.keeper.clock()).toEqual({ source: 'none', ageS: 0, errorMs: 0 })
  lagging.setSystem(lagging.trueMs)
  second.keeper.look()
  expect(second.keeper.status).toMatchObject({ known: true, source: 'none' })
})

test('an RTC that agrees is believed, with the drift since the time was last known', async () => {
  const directory = temporaryDirectory()
  const world = simulatedMachine({ client: 'timesyncd' })
  world.synchronise()
  await (await keeperOn(directory, world.machine)).close()
  const trueMs = startMs + 100 * hour
  const after = simulatedMachine({
    client: 'timesyncd',
    boot: 2,
    trueMs,
    rtcUtcMs: () => trueMs - 300,
  })
  const { keeper } = await keeperOn(directory, after.machine)
  const { source, errorMs } = keeper.clock()
  expect(source).toBe('rtc')
  expect(errorMs).toBeGreaterThan(100 * 360)
  expect(errorMs).toBeLessThan(100 * 360 + 2000)
})

test('chrony is asked when the station starts, every minute or so, and at once when the clock was moved', async () => {
  const world = simulatedMachine({ client: 'chrony', systemUtcMs: 0 })
  let asked = 0
  const machine: Machine = {
    ...world.machine,
    chrony: () => {
      asked += 1
      return world.machine.chrony()
    },
  }
  const { keeper } = await keeperOn(temporaryDirectory(), machine)
  expect(asked).toBe(1)
  await watch(keeper, world, 60)
  expect([asked, keeper.status.known]).toEqual([1, false])
  await watch(keeper, world, 10)
  expect(asked).toBe(2)
  world.synchronise(30)
  await watch(keeper, world, 1)
  expect(asked).toBe(3)
  expect(keeper.status).toMatchObject({ known: true, source: 'ntp', jumps: 1 })
  expect(Math.abs(keeper.at(world.atMs)!.utcMs - world.trueMs)).toBeLessThanOrEqual(31)
})

test('a day of synchronisations costs the card a write every quarter of an hour, no more', async () => {
  const directory = temporaryDirectory()
  const world = simulatedMachine({ client: 'timesyncd', ppm: 20 })
  world.synchronise()
  const { keeper } = await keeperOn(directory, world.machine)
  let writes = 0
  let inode = 0
  for (let n = 0; n < 24 * 360; n++) {
    world.advance(10_000)
    if (n % 200 === 0) world.synchronise(n % 3)
    keeper.look()
    const { ino, mtimeNs } = statSync(join(directory, 'clock.json'), { bigint: true })
    const now = Number(ino ^ mtimeNs)
    if (now !== inode) writes += 1
    inode = now
  }
  expect(writes).toBeGreaterThan(90)
  expect(writes).toBeLessThanOrEqual(100)
})

test('what is kept of it may be damaged, old or not writable: the time is known all the same', async () => {
  for (const held of ['', '{"boots":[{"id":7},null,{"id":"x","lastMs":-1}]}', '{"boots":{}}', '[]', 'null']) {
    const directory = temporaryDirectory()
    writeFileSync(join(directory, 'clock.json'), held)
    const world = simulatedMachine({})
    const { keeper } = await keeperOn(directory, world.machine)
    expect(keeper.status).toMatchObject({ known: true, source: 'none' })
  }
  const directory = temporaryDirectory()
  mkdirSync(join(directory, 'clock.json.new')) // nothing can be written there
  chmodSync(directory, 0o700)
  const world = simulatedMachine({})
  const { keeper, logged } = await keeperOn(directory, world.machine)
  await watch(keeper, world, 3000)
  expect(logged.filter((line) => line.startsWith('what is known of the time cannot be kept'))).toHaveLength(1)
})

test('a boot is remembered from its first second, known or not', async () => {
  const directory = temporaryDirectory()
  const world = simulatedMachine({ client: 'timesyncd', systemUtcMs: 0 })
  await keeperOn(directory, world.machine)
  const { boots } = JSON.parse(readFileSync(join(directory, 'clock.json'), 'utf8')) as { boots: unknown }
  expect(boots).toEqual([{ id: world.machine.boot, lastMs: 0 }])
})
