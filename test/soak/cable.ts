/** A watch at both ends of a bad cable: what came out otherwise than it went in, and when. */
import { equalBytes } from '#gateway/reading/bytes.ts'
import type { Fault, Wire } from '#sim/faults.ts'
import type { Excuse } from '#test/soak/oracle.ts'

// What was half said before, and what a framer that was led astray takes for a part of the noise.
const beforeMs = 1_500
const afterMs = 3_000
// A port that was gone is opened again with growing pauses, and the device behind it is set up anew.
const afterPlugMs = 10_000

/** A cable with these faults. `trouble` hears for what time it excuses what is missing, or is there in addition. */
export const watchedCable =
  (faults: readonly Fault[], trouble: (excuse: Excuse) => void): Fault =>
  (wire) => {
    let passed: Uint8Array[] | undefined
    let pulledMs = 0
    const spoilt = (): void => {
      const nowMs = Date.now()
      trouble({ reason: 'spoilt on the cable', fromMs: nowMs - beforeMs, toMs: nowMs + afterMs })
    }
    const pulled = (): void =>
      trouble({ reason: 'cable pulled', fromMs: pulledMs - beforeMs, toMs: Date.now() + afterPlugMs })
    const far: Wire = {
      write: (bytes) => {
        if (passed) passed.push(bytes)
        else spoilt() // held back until now
        return wire.write(bytes)
      },
      unplug: () => {
        pulledMs = Date.now()
        pulled()
        wire.unplug()
      },
      plug: () => {
        pulled()
        wire.plug()
      },
    }
    const near = faults.reduceRight((inner, fault) => fault(inner), far)
    return {
      ...near,
      write: (bytes) => {
        passed = []
        const taken = near.write(bytes)
        const whole = equalBytes(new Uint8Array(Buffer.concat(passed)), bytes)
        passed = undefined
        if (!whole) spoilt()
        return taken
      },
    }
  }
