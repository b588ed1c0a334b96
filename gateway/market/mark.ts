/** Marks: how far somebody has come in the evidence, as a number of an envelope and a place in it. */

/**
 * Everything before envelope `index` (its index in the evidence) was given, and of it the readings up to `place`; none
 * of it where `place` is -1.
 */
export type Mark = { readonly index: number; readonly place: number }

/** The mark before an envelope. */
export const before = (index: number): Mark => ({ index, place: -1 })

/** Whether mark `a` is further than `b`. */
export const isAfter = (a: Mark, b: Mark): boolean =>
  a.index > b.index || (a.index === b.index && a.place > b.place)

/** A mark as text: `4711` or `4711-3`. */
export const markText = ({ index, place }: Mark): string => (place < 0 ? `${index}` : `${index}-${place}`)

export const markPattern = /^([0-9]{1,15})(?:-([0-9]{1,9}))?$/

/** Reads a mark; undefined for any other text. */
export const parseMark = (text: string): Mark | undefined => {
  const match = markPattern.exec(text)
  return match === null ? undefined : { index: Number(match[1]), place: Number(match[2] ?? -1) }
}
