/** What is known about this machine's clock. */
import { statSync } from 'node:fs'
import type { Clock } from './reading/envelope.ts'

// systemd-timesyncd touches this file at every synchronisation; without the file nobody vouches for the time.
const synchronized = '/run/systemd/timesync/synchronized'

// NTP over a home line; a crystal drifts by some 20 ppm from one synchronisation to the next.
const ntpErrorMs = 50
const driftPerS = 20e-6

// Looking at a file costs more than signing does, and a minute makes no difference to what it says.
const lookEveryMs = 60_000
let lookedMs = Number.NEGATIVE_INFINITY
let setMs: number | undefined

const lastSetMs = (): number | undefined => {
  if (performance.now() - lookedMs > lookEveryMs) {
    lookedMs = performance.now()
    setMs = statSync(synchronized, { throwIfNoEntry: false })?.mtimeMs
  }
  return setMs
}

/** The clock header of an envelope signed now. With source `none`, age and error are zero and mean nothing. */
export const systemClock = (): Clock => {
  const since = lastSetMs()
  if (since === undefined) return { source: 'none', ageS: 0, errorMs: 0 }
  const ageS = Math.max(0, Math.floor((Date.now() - since) / 1000))
  return { source: 'ntp', ageS, errorMs: Math.ceil(ntpErrorMs + ageS * driftPerS * 1000) }
}
