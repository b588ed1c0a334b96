/** What is known about this machine's clock. */
import { statSync } from 'node:fs'
import type { Clock } from './reading/envelope.ts'

// systemd-timesyncd touches this file at every synchronisation; without the file nobody vouches for the time.
const synchronized = '/run/systemd/timesync/synchronized'

// NTP over a home line; a crystal drifts by some 20 ppm from one synchronisation to the next.
const ntpErrorMs = 50
const driftPerS = 20e-6

/** The clock header of an envelope signed now. With source `none`, age and error are zero and mean nothing. */
export const systemClock = (): Clock => {
  try {
    const ageS = Math.max(0, Math.floor((Date.now() - statSync(synchronized).mtimeMs) / 1000))
    return { source: 'ntp', ageS, errorMs: Math.ceil(ntpErrorMs + ageS * driftPerS * 1000) }
  } catch {
    return { source: 'none', ageS: 0, errorMs: 0 }
  }
}
