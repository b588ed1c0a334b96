/** What goes into an envelope, and which of it may share one. */
import { holdPositions } from './contents.ts'
import { type Heard, type HeardFrame, openHeard } from './heard.ts'
import type { Reading } from './reading.ts'

/** A reading of the station's own, or a frame that a node signed itself and that has been verified. */
export type Item = Reading | Heard

/** Which envelopes an item may share: one holds readings or frames, and what is private is not with what is sold. */
export type Lane = 'open' | 'private' | 'frames' | 'private-frames'

export const lanes: readonly Lane[] = ['open', 'private', 'frames', 'private-frames']

export const isHeard = (item: Item): item is Heard => 'sign1' in item

/** A frame that was verified, taken apart. */
export const openedFrame = (frame: Heard): HeardFrame => {
  const opened = openHeard(frame)
  if (!opened.ok) throw new Error(`a frame that was verified cannot be read: ${opened.detail}`)
  return opened.frame
}

/** The readings an item stands for: itself, or what its frame says. */
export const readingsIn = (item: Item): readonly Reading[] =>
  isHeard(item) ? openedFrame(item).readings : [item]

/** Positions are private and go into envelopes of their own, so that no envelope a buyer gets ever holds one. */
export const laneOf = (item: Item): Lane => {
  const isPrivate = holdPositions(readingsIn(item))
  if (isHeard(item)) return isPrivate ? 'private-frames' : 'frames'
  return isPrivate ? 'private' : 'open'
}
