/** What the hub has on disk after a soak: each reading, and whether its stamp is as right as its envelope says. */
import { expect } from 'vitest'
import type { Evidence } from '#gateway/evidence/evidence.ts'
import { readingsOf } from '#gateway/reading/contents.ts'
import { decodeEnvelope } from '#gateway/reading/envelope.ts'
import { type Seen, seen } from '#test/soak/oracle.ts'

/** A reading by its stamp, when the station really took it, and how old it was then by its node's word. */
export type Taken = { readonly name: string; readonly trueMs: number; readonly ageMs: number }

export const nameOf = (sensor: string, timeMs: number): string => `${sensor}@${timeMs}`

// A reading is stamped when it was received, and counted as taken when it is signed.
const stampedWithinMs = 5_000

/**
 * All names in the evidence; readings at the true time they were taken, where they were; and those whose stamp is
 * further from it than their envelope declares.
 */
export const evidenceOf = async (evidence: Evidence, taken: readonly Taken[]) => {
  const trueTimes = Map.groupBy(taken, ({ name }) => name)
  const kept: string[] = []
  const evident: Seen[] = []
  const misdated: { readonly sensor: string; readonly trueMs: number; readonly text: string }[] = []
  for await (const { bytes } of evidence.read(0)) {
    const decoded = decodeEnvelope(bytes)
    if (!decoded.ok) expect.fail(decoded.detail)
    const contents = readingsOf(decoded.envelope)
    if (!contents.ok) expect.fail(contents.detail)
    const { errorMs, source } = decoded.envelope.clock
    for (const reading of contents.readings) {
      const { sensor, timeMs } = reading
      const name = nameOf(sensor, timeMs)
      kept.push(name)
      const one = trueTimes.get(name)?.shift()
      if (one === undefined) continue // it was not taken, or is there twice: that the names tell
      const { trueMs, ageMs } = one
      evident.push(seen(reading, trueMs))
      const offMs = Math.abs(timeMs + ageMs - trueMs)
      if (offMs > errorMs + stampedWithinMs)
        misdated.push({ sensor, trueMs, text: `${name}: off by ${offMs} ms, ${source}` })
    }
  }
  return { kept, evident, misdated }
}
