/** This machine, with a system clock that is moved, and an NTP client that sets it right. */
import { type Machine, systemMachine } from '#gateway/time/system.ts'

// Nobody vouches for the clock before the client has synchronised once.
const ntp = { errorMs: 100, slewMs: 400 } as const

/** From what a careless `date` does to a time zone's worth; a flat battery goes back by months. */
export const stepsMs: readonly number[] = [1_500, 40_000, 11 * 60_000, 3 * 3_600_000, 70 * 24 * 3_600_000]

export const steppedMachine = () => {
  let offMs = 0
  let syncedMs: number | undefined
  const machine: Machine = {
    ...systemMachine(),
    utcMs: () => Date.now() + offMs,
    timesync: () => (syncedMs === undefined ? {} : { ntp: { syncedMs, ...ntp } }),
    chrony: async () => undefined,
    rtcUtcMs: () => undefined,
  }
  return {
    machine,
    /** Somebody moves the system's clock to so far from the truth. */
    step: (toMs: number): void => {
      offMs = toMs
    },
    /** The NTP client sets it right. */
    synchronise: (): void => {
      offMs = 0
      syncedMs = Date.now()
    },
  }
}
