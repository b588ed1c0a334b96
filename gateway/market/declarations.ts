/** What a station declared lost, later than a bundle reaches, of the numbers that the bundle lacks. */
import type { Evidence, KeptRef } from '../evidence/evidence.ts'
import { type DroppedStretch, decodeDropped, droppedContentType } from '../reading/dropped.ts'
import { decodeEnvelope } from '../reading/envelope.ts'
import type { Range } from '../reading/ranges.ts'

// Read for one bundle at most: they take the place of one another, so a station has few that are current.
const mostRead = 1_000

/** What is left of ranges (ascending, apart) without stretches (the same). */
const without = (ranges: readonly Range[], stretches: readonly DroppedStretch[]): Range[] => {
  const left: Range[] = []
  let at = 0
  for (const [first, last] of ranges) {
    let next = first
    while (at < stretches.length && stretches[at]!.seq + stretches[at]!.count <= first) at++
    for (let here = at; here < stretches.length && stretches[here]!.seq <= last; here++) {
      const { seq, count } = stretches[here]!
      if (seq > next) left.push([next, seq - 1])
      next = Math.max(next, seq + count)
    }
    if (next <= last) left.push([next, last])
  }
  return left
}

const sizeOf = (ranges: readonly Range[]): number =>
  ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0)

/** Exact envelopes, ascending by seq, that explain what of `missing` the declarations among `own` do not. */
export const declarationsFor = async (
  evidence: Pick<Evidence, 'get' | 'declarations'>,
  station: string,
  missing: readonly Range[],
  own: readonly KeptRef[],
): Promise<Uint8Array[]> => {
  const bytesOf: Uint8Array[] = []
  let left: readonly Range[] = missing
  const explain = async ({ index }: KeptRef): Promise<Uint8Array | undefined> => {
    const kept = await evidence.get(index)
    const decoded = kept && decodeEnvelope(kept.bytes)
    if (!decoded?.ok || decoded.envelope.contentType !== droppedContentType) return undefined
    const declared = decodeDropped(decoded.envelope.payload, decoded.envelope.seq)
    if (!declared.ok) return undefined
    const before = sizeOf(left)
    left = without(left, declared.dropped.envelopes)
    return sizeOf(left) < before ? kept!.bytes : undefined
  }
  if (left.length === 0) return []
  for (const ref of own) if (ref.readings === 0) await explain(ref)
  if (left.length === 0) return []
  for (const ref of evidence.declarations(station, own.at(-1)?.seq ?? 0, mostRead)) {
    const bytes = await explain(ref)
    if (bytes !== undefined) bytesOf.push(bytes)
    if (left.length === 0) break
  }
  return bytesOf
}
