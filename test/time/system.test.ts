/** What this machine's own clocks and time services say. */
import { chmodSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { uptime } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { bothClocks, chronySays, systemMachine } from '#gateway/time/system.ts'
import { temporaryDirectory } from '#test/temporary.ts'

// Constructed after chronyc(1): no capture was at hand.
const tracking =
  '50505330,PPS0,2,1732608000.123456789,-0.000250000,0.000012345,0.000034567,-11.520,0.002,0.045,0.020000000,0.000500000,16.2,Normal'

describe('chrony', () => {
  test('vouches with its own bound: offset, dispersion and half the delay', () => {
    expect(chronySays(tracking)).toEqual({
      ntp: { syncedMs: 1732608000123.4568, errorMs: expect.closeTo(0.25 + 0.5 + 10, 6), slewMs: 0 },
    })
  })

  test('of before there was a name in the line says the same', () => {
    expect(chronySays(tracking.replace('PPS0,', ''))).toEqual(chronySays(tracking))
  })

  test.each([
    ['not synchronised', tracking.replace('Normal', 'Not synchronised')],
    ['on its own local reference', tracking.replace('50505330', '7F7F0101')],
    [
      'without a reference',
      '00000000,,0,0.000000000,0.000000000,0.0,0.0,0.0,0.0,0.0,1.0,1.0,0.0,Not synchronised',
    ],
  ])('%s is awaited', (_what, line) => {
    expect(chronySays(line)).toEqual({ awaited: true })
  })

  test.each([
    '',
    '506 Cannot talk to daemon',
    tracking.replace('0.000500000', 'nan'),
    tracking.replace('1732608000.123456789', 'x'),
    `${tracking},more`,
    `${tracking}${' '.repeat(2000)}x`,
  ])('a line that is none says nothing: %j', (line) => {
    expect(chronySays(line)).toBeUndefined()
  })
})

const rootsIn = (directory: string) => ({
  run: join(directory, 'run'),
  sys: join(directory, 'sys'),
  proc: join(directory, 'proc'),
  path: join(directory, 'bin'),
})

describe('a machine', () => {
  test('with nobody to ask says nothing, and has a boot of its own in each process', async () => {
    const roots = rootsIn(temporaryDirectory())
    const machine = systemMachine(roots)
    expect(machine.timesync()).toEqual({})
    expect(await machine.chrony()).toBeUndefined()
    expect(machine.rtcUtcMs()).toBeUndefined()
    expect(machine.boot).not.toBe(systemMachine(roots).boot)
  })

  test('with timesyncd waits for it, and then has the time of its mark', () => {
    const directory = temporaryDirectory()
    const machine = systemMachine(rootsIn(directory))
    const folder = join(directory, 'run/systemd/timesync')
    mkdirSync(folder, { recursive: true })
    expect(machine.timesync()).toEqual({ awaited: true })
    writeFileSync(join(folder, 'synchronized'), '')
    utimesSync(join(folder, 'synchronized'), 1_800_000_000, 1_800_000_000.25)
    expect(machine.timesync()).toEqual({ ntp: { syncedMs: 1_800_000_000_250, errorMs: 100, slewMs: 400 } })
  })

  test('with chronyc asks it; one that fails, or hangs, is nobody', async () => {
    const directory = temporaryDirectory()
    const program = join(directory, 'bin/chronyc')
    mkdirSync(join(directory, 'bin'))
    const says = async (script: string) => {
      writeFileSync(program, `#!/bin/sh\n${script}\n`)
      chmodSync(program, 0o755)
      return systemMachine(rootsIn(directory)).chrony()
    }
    expect(await says(`[ "$*" = "-c tracking" ] && echo '${tracking}'`)).toEqual(chronySays(tracking))
    expect(await says('echo "506 Cannot talk to daemon"; exit 1')).toBeUndefined()
    expect(await says('exec sleep 60')).toBeUndefined()
  })

  test('with a clock that goes on without power reads it, and its boot', () => {
    const directory = temporaryDirectory()
    mkdirSync(join(directory, 'sys/class/rtc/rtc0'), { recursive: true })
    writeFileSync(join(directory, 'sys/class/rtc/rtc0/since_epoch'), '1800000000\n')
    mkdirSync(join(directory, 'proc/sys/kernel/random'), { recursive: true })
    const boot = '0d0f5d1c-6f0e-4d6e-9c0b-7d7c1d1f9a11'
    writeFileSync(join(directory, 'proc/sys/kernel/random/boot_id'), `${boot}\n`)
    const machine = systemMachine(rootsIn(directory))
    expect(machine.rtcUtcMs()).toBe(1_800_000_000_500)
    expect(machine.boot).toBe(boot)
  })
})

test('this machine’s steady clock is its uptime, and goes on', () => {
  const machine = systemMachine()
  const before = machine.steadyMs()
  expect(Math.abs(before - uptime() * 1000)).toBeLessThan(1000)
  const { atMs, systemUtcMs } = bothClocks(machine)
  expect(atMs).toBeGreaterThanOrEqual(before)
  expect(Math.abs(systemUtcMs - Date.now())).toBeLessThan(1000)
})
