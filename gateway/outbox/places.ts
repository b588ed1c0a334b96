/**
 * Where each envelope that waits is in the journal, and its hash: 49 bytes an envelope in blocks of 1024, ascending by
 * number. A week without a hub is 121,000 of them on a machine with 1 GB: as objects of their own they took ten times
 * as much, and the collector kept as much again.
 */

/** Where an envelope is in the journal, and its hash. */
export type Place = { readonly index: number; readonly hash: Uint8Array }

/** What an envelope does: not offered yet, fresh, backlog, or in flight. */
export const states = { waiting: 0, fresh: 1, backlog: 2, flying: 3 } as const

export type State = (typeof states)[keyof typeof states]

export type Places = {
  readonly size: number
  /** Bytes of memory the table takes. */
  readonly bytes: number
  /** The least index in the journal; undefined where there is none. */
  readonly leastIndex: number | undefined
  get(seq: number): Place | undefined
  stateOf(seq: number): State | undefined
  /** Adds one that waits; one that is there gets the new place and keeps its state. */
  put(seq: number, place: Place): void
  setState(seq: number, state: State): void
  setIndex(seq: number, index: number): void
  /** The number that stands at that index of the journal. */
  at(index: number): number | undefined
  drop(seq: number): boolean
  /** The least number above `seq`, of that state where one is told. */
  after(seq: number, state?: State): number | undefined
  /** The number that so many are below of; undefined where there are fewer. */
  ranked(rank: number): number | undefined
  /** All, by index, from the greatest to the least. */
  byIndex(): number[]
  clear(): void
}

const blockLength = 1024
const hashBytes = 32

type Block = {
  length: number
  readonly seqs: Float64Array
  readonly indexes: Float64Array
  readonly states: Uint8Array
  readonly hashes: Uint8Array
}

const newBlock = (): Block => ({
  length: 0,
  seqs: new Float64Array(blockLength),
  indexes: new Float64Array(blockLength),
  states: new Uint8Array(blockLength),
  hashes: new Uint8Array(blockLength * hashBytes),
})

/** Moves what is behind `at` by so many places: room for more, or over what goes. */
const shift = (block: Block, at: number, by: number): void => {
  const { seqs, indexes, states: each, hashes, length } = block
  for (const column of [seqs, indexes, each]) column.copyWithin(at + by, at, length)
  hashes.copyWithin((at + by) * hashBytes, at * hashBytes, length * hashBytes)
  block.length += by
}

/** Appends a part of one block to another. */
const append = (to: Block, from: Block, start: number): void => {
  to.seqs.set(from.seqs.subarray(start, from.length), to.length)
  to.indexes.set(from.indexes.subarray(start, from.length), to.length)
  to.states.set(from.states.subarray(start, from.length), to.length)
  to.hashes.set(from.hashes.subarray(start * hashBytes, from.length * hashBytes), to.length * hashBytes)
  to.length += from.length - start
}

/** Place of the first number in a block that is at least `seq`. */
const lowerBound = ({ seqs, length }: Block, seq: number): number => {
  let [low, high] = [0, length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (seqs[middle]! < seq) low = middle + 1
    else high = middle
  }
  return low
}

/** An empty table. */
export const createPlaces = (): Places => {
  let blocks: Block[] = []
  let size = 0

  /** Place of the first block that reaches `seq`; the number of blocks where none does. */
  const blockOf = (seq: number): number => {
    let [low, high] = [0, blocks.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      const { seqs, length } = blocks[middle]!
      if (seqs[length - 1]! < seq) low = middle + 1
      else high = middle
    }
    return low
  }

  const find = (seq: number): { block: Block; at: number } | undefined => {
    const block = blocks[blockOf(seq)]
    const at = block === undefined ? 0 : lowerBound(block, seq)
    return block?.seqs[at] === seq && at < block.length ? { block, at } : undefined
  }

  /** A block with room where `seq` belongs. */
  const roomFor = (seq: number): Block => {
    const place = blockOf(seq)
    const block = blocks[place] ?? blocks.at(-1)
    if (block !== undefined && block.length < blockLength) return block
    const added = newBlock()
    if (block === undefined || place === blocks.length) {
      blocks.push(added)
      return added
    }
    append(added, block, blockLength >> 1)
    block.length = blockLength >> 1
    blocks.splice(place + 1, 0, added)
    return seq > block.seqs[block.length - 1]! ? added : block
  }

  /** Blocks that got thin become one with a thin neighbour. */
  const tidy = (place: number): void => {
    const block = blocks[place]!
    if (block.length === 0) {
      blocks.splice(place, 1)
      return
    }
    const following = blocks[place + 1]
    if (following === undefined || block.length + following.length > blockLength >> 1) return
    append(block, following, 0)
    blocks.splice(place + 1, 1)
  }

  return {
    get size() {
      return size
    },
    get bytes() {
      return blocks.length * blockLength * (8 + 8 + 1 + hashBytes)
    },
    get leastIndex() {
      let least = Number.POSITIVE_INFINITY
      for (const { indexes, length } of blocks)
        for (let at = 0; at < length; at++) if (indexes[at]! < least) least = indexes[at]!
      return size === 0 ? undefined : least
    },
    get: (seq) => {
      const found = find(seq)
      if (found === undefined) return undefined
      const { block, at } = found
      const hash = block.hashes.slice(at * hashBytes, (at + 1) * hashBytes)
      return { index: block.indexes[at]!, hash }
    },
    stateOf: (seq) => {
      const found = find(seq)
      return found && (found.block.states[found.at] as State)
    },
    put: (seq, { index, hash }) => {
      let found = find(seq)
      if (found === undefined) {
        const block = roomFor(seq)
        const at = lowerBound(block, seq)
        shift(block, at, 1)
        block.seqs[at] = seq
        block.states[at] = states.waiting
        found = { block, at }
        size++
      }
      found.block.indexes[found.at] = index
      found.block.hashes.set(hash, found.at * hashBytes)
    },
    setState: (seq, state) => {
      const found = find(seq)
      if (found !== undefined) found.block.states[found.at] = state
    },
    setIndex: (seq, index) => {
      const found = find(seq)
      if (found !== undefined) found.block.indexes[found.at] = index
    },
    at: (index) => {
      for (const { indexes, seqs, length } of blocks)
        for (let at = 0; at < length; at++) if (indexes[at] === index) return seqs[at]
      return undefined
    },
    drop: (seq) => {
      const place = blockOf(seq)
      const found = find(seq)
      if (found === undefined) return false
      shift(found.block, found.at + 1, -1)
      size--
      tidy(place)
      return true
    },
    after: (seq, state) => {
      let at = -1
      for (let place = blockOf(seq + 1); place < blocks.length; place++) {
        const block = blocks[place]!
        at = at < 0 ? lowerBound(block, seq + 1) : 0
        for (; at < block.length; at++)
          if (state === undefined || block.states[at] === state) return block.seqs[at]
      }
      return undefined
    },
    ranked: (rank) => {
      let left = rank
      for (const { seqs, length } of blocks) {
        if (left < length) return seqs[left]
        left -= length
      }
      return undefined
    },
    byIndex: () => {
      const indexes = new Float64Array(size)
      const seqs = new Float64Array(size)
      let done = 0
      for (const block of blocks) {
        indexes.set(block.indexes.subarray(0, block.length), done)
        seqs.set(block.seqs.subarray(0, block.length), done)
        done += block.length
      }
      const order = Uint32Array.from(seqs.keys()).sort((a, b) => indexes[b]! - indexes[a]!)
      return Array.from(order, (at) => seqs[at]!)
    },
    clear: () => {
      blocks = []
      size = 0
    },
  }
}
