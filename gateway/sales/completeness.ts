/** Completeness: how many of the readings that sensors ought to have given in a span are there. */

/** A sensor: how often it speaks, and when it did, in order (UTC ms); the first may be from before the span. */
export type Spoken = { readonly slotMs: number; readonly times: readonly number[] }

// A reading may be half a slot late before what lies beyond its slot counts as missing.
const lateBy = 1.5

/** A sensor that said nothing for so long is out of service, and nothing is expected of it until it speaks again. */
export const serviceMs = 24 * 3_600_000

/**
 * Readings expected within the span, and those that are there, both in thousandths of one. Each reading stands for the
 * time until the next is due; before the first time given nothing is expected.
 */
export const completenessOf = (
  sensors: Iterable<Spoken>,
  fromMs: number,
  untilMs: number,
): { readonly expected: bigint; readonly present: bigint } => {
  const within = (from: number, until: number): number =>
    Math.max(0, Math.min(until, untilMs) - Math.max(from, fromMs))
  let expected = 0
  let present = 0
  for (const { slotMs, times } of sensors) {
    let expectedMs = 0
    let presentMs = 0
    for (const [at, timeMs] of times.entries()) {
      const nextMs = times[at + 1] ?? Math.max(timeMs, untilMs)
      const isLate = nextMs - timeMs > lateBy * slotMs
      presentMs += within(timeMs, isLate ? timeMs + slotMs : nextMs)
      expectedMs += within(timeMs, Math.min(nextMs, timeMs + Math.max(serviceMs, slotMs)))
    }
    expected += (1000 * expectedMs) / slotMs
    present += (1000 * presentMs) / slotMs
  }
  return { expected: BigInt(Math.round(expected)), present: BigInt(Math.round(present)) }
}
