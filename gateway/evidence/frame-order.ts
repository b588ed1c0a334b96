/**
 * Frames of radio nodes in a station's envelopes: none is there twice, and the numbers of a node ascend. A station could
 * else hold a frame back and sell it later, as measured then. Envelopes may come in any order, so it is their numbers
 * that count. Withheld envelopes are a lane of their own: a station signs them beside the others, each in its order.
 */
import { type FrameId, type FrameSpan, frameSpans, type Summary } from '../reading/contents.ts'
import type { openCatalogue } from './catalogue.ts'

const frameName = (station: string, { node, seq }: FrameId): string => `${station}/${node}/${seq}`

const laneName = ({ station, withheld }: Summary, { node }: FrameSpan): string =>
  `${station}/${node}/${withheld ? 'withheld' : 'open'}`

/** The order of frames over what the catalogue holds and what is not committed yet. */
export const frameOrder = (catalogue: Pick<ReturnType<typeof openCatalogue>, 'hasFrame' | 'ascends'>) => {
  const names = new Set<string>()
  /** By node and lane: which numbers are in which envelope. */
  const spans = new Map<string, readonly (FrameSpan & { readonly envelope: number })[]>()

  const fits = (summary: Summary, span: FrameSpan): boolean =>
    catalogue.ascends(summary, span) &&
    (spans.get(laneName(summary, span)) ?? []).every(({ envelope, first, last }) =>
      envelope < summary.seq ? last < span.first : first > span.last,
    )

  return {
    /** Whether every frame of a new envelope is new too, and in its place. */
    holds: (summary: Summary): boolean =>
      !summary.frames.some(
        (frame) => names.has(frameName(summary.station, frame)) || catalogue.hasFrame(summary.station, frame),
      ) && frameSpans(summary.frames).every((span) => fits(summary, span)),
    /** Notes an envelope that is not in the catalogue yet. */
    add: (summary: Summary): void => {
      for (const frame of summary.frames) names.add(frameName(summary.station, frame))
      for (const span of frameSpans(summary.frames)) {
        const lane = laneName(summary, span)
        spans.set(lane, [...(spans.get(lane) ?? []), { ...span, envelope: summary.seq }])
      }
    },
    /** The catalogue has it. */
    settle: (summary: Summary): void => {
      for (const frame of summary.frames) names.delete(frameName(summary.station, frame))
      for (const span of frameSpans(summary.frames)) {
        const lane = laneName(summary, span)
        const left = spans.get(lane)?.filter(({ envelope }) => envelope !== summary.seq) ?? []
        if (left.length > 0) spans.set(lane, left)
        else spans.delete(lane)
      }
    },
  }
}
