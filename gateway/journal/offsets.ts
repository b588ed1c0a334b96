/** Where each record of one segment starts: 4 bytes a record, found by index without a search. */
export type Offsets = {
  readonly first: number
  /** One past the highest index known. */
  readonly next: number
  /** Where the newest record ends, and the next one would start. */
  readonly end: number
  /** Offset of a record in bytes, or 0 where it is not there. */
  at(index: number): number
  /** Where the bytes of that record end at the latest: the next one's start, or `end`. */
  before(index: number): number
  push(index: number, offset: number, end: number): void
  /** Passes over the indexes below `next` and the bytes below `end`. */
  skip(next: number, end: number): void
}

/** An empty table for a segment whose records start at `start`. */
export const createOffsets = (first: number, start: number): Offsets => {
  let table = new Uint32Array(64)
  let next = first
  let end = start
  const reserve = (count: number) => {
    if (count <= table.length) return
    const larger = new Uint32Array(Math.max(count, table.length * 2))
    larger.set(table)
    table = larger
  }
  return {
    first,
    get next() {
      return next
    },
    get end() {
      return end
    },
    at: (index) => (index >= first && index < next ? table[index - first]! : 0),
    before: (index) => {
      for (let later = index + 1; later < next; later++) {
        const offset = table[later - first]!
        if (offset > 0) return offset
      }
      return end
    },
    push: (index, offset, newEnd) => {
      reserve(index - first + 1)
      table[index - first] = offset
      next = index + 1
      end = newEnd
    },
    skip: (newNext, newEnd) => {
      reserve(newNext - first)
      next = newNext
      end = newEnd
    },
  }
}
