/** Whether this machine knows what time it is. */
import { execFile } from 'node:child_process'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { isPlausible } from '../time/time.ts'
import { type Check, type Finding, fail, ok, warn } from './doctor.ts'

/** What is known about the time: by whom the clock is kept, and whether one goes on while power is off. */
export type TimeKeeping = {
  readonly nowMs: number
  /** Undefined where nobody can be asked. */
  readonly synchronised: boolean | undefined
  readonly by: string
  readonly hasRtc: boolean
}

const askMs = 3_000

const ask = promisify(execFile)

const asked = async (program: string, args: readonly string[]): Promise<string | undefined> =>
  ask(program, [...args], { timeout: askMs, env: { ...process.env, LC_ALL: 'C' } }).then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  )

/** Looks at timesyncd's mark, then asks chrony, then systemd; `run` and `sys` are where the system has its trees. */
export const timeKeeping = async (
  { run, sys }: { readonly run: string; readonly sys: string },
  nowMs: number,
): Promise<TimeKeeping> => {
  const hasRtc = (await readdir(join(sys, 'class/rtc')).catch(() => [])).length > 0
  const mark = await stat(join(run, 'systemd/timesync/synchronized')).catch(() => undefined)
  if (mark) return { nowMs, synchronised: true, by: 'systemd-timesyncd', hasRtc }
  // The last field of "tracking" is the leap status: "Not synchronised" until a server has been heard.
  const chrony = await asked('chronyc', ['-c', 'tracking'])
  if (chrony) return { nowMs, synchronised: !/not synchroni[sz]ed$/i.test(chrony), by: 'chrony', hasRtc }
  const systemd = await asked('timedatectl', ['show', '--property=NTPSynchronized', '--value'])
  if (systemd === 'yes' || systemd === 'no')
    return { nowMs, synchronised: systemd === 'yes', by: 'systemd', hasRtc }
  return { nowMs, synchronised: undefined, by: 'nobody', hasRtc }
}

/** What that means for readings, which are signed with their time. */
export const timeFindings = ({ nowMs, synchronised, by, hasRtc }: TimeKeeping): Finding[] => {
  const shown = new Date(nowMs).toISOString()
  return [
    isPlausible(nowMs)
      ? ok('clock', `it is ${shown}`)
      : fail(
          'clock',
          `it is ${shown}, which cannot be`,
          'Nothing is signed before the time is known. Set the clock, or let NTP do it: timedatectl set-ntp true',
        ),
    synchronised
      ? ok('clock', `kept by ${by}`)
      : synchronised === false
        ? warn(
            'clock',
            `not synchronised (asked ${by}): nobody vouches for the time yet`,
            'Check that UDP port 123 to its server is not blocked; then: timedatectl set-ntp true',
          )
        : warn(
            'clock',
            'nobody here vouches for the time',
            'Install systemd-timesyncd or chrony; in a container the host keeps the time.',
          ),
    hasRtc
      ? ok('clock', 'a clock goes on while power is off')
      : warn(
          'clock',
          'no clock goes on while power is off',
          'After a power cut readings wait for NTP, unsigned; a battery-backed clock helps (a Pi up to 4 has none).',
        ),
  ]
}

export const clock: Check = {
  name: 'clock',
  run: async ({ roots, nowMs }) => timeFindings(await timeKeeping(roots, nowMs())),
}
