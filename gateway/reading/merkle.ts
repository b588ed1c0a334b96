/** Merkle trees over SHA-256 as in RFC 9162 s2.1: 0x00 before a leaf, 0x01 before a pair, no duplicated odd leaf. */
import { sha256 } from '#sha256'
import { equalBytes } from './bytes.ts'

/** Hash of a leaf's exact bytes. */
export const leafHash = (bytes: Uint8Array): Uint8Array => {
  const input = new Uint8Array(bytes.length + 1)
  input.set(bytes, 1)
  return sha256(input)
}

// One buffer for every pair: hashing copies nothing else and never yields in between.
const pair = new Uint8Array(65)
pair[0] = 1

const pairHash = (left: Uint8Array, right: Uint8Array): Uint8Array => {
  pair.set(left, 1)
  pair.set(right, 33)
  return sha256(pair)
}

/** Sizes from outside are bounded: beyond this no batch of ours goes, and `split` stays exact. */
export const maxTreeSize = 2 ** 32

/** Largest power of two below `size` (1 < size <= maxTreeSize): where RFC 9162 splits a tree. */
const split = (size: number): number => 2 ** Math.ceil(Math.log2(size) - 1)

/** Root of the subtree over leaf hashes `from`..`to`; level by level, an odd node moves up unchanged. */
const subtreeRoot = (leaves: readonly Uint8Array[], from: number, to: number): Uint8Array => {
  if (to === from) return sha256(new Uint8Array(0))
  let level = leaves.slice(from, to)
  while (level.length > 1) {
    const above: Uint8Array[] = []
    for (let at = 0; at + 1 < level.length; at += 2) above.push(pairHash(level[at]!, level[at + 1]!))
    if (level.length % 2 === 1) above.push(level.at(-1)!)
    level = above
  }
  return level[0]!
}

/** Root of a tree given its leaf hashes in order; of no leaves it is SHA-256 of nothing. */
export const treeRoot = (leaves: readonly Uint8Array[]): Uint8Array => subtreeRoot(leaves, 0, leaves.length)

const assertRange = (first: number, count: number, size: number): void => {
  if (
    !(
      Number.isSafeInteger(first) &&
      Number.isSafeInteger(count) &&
      first >= 0 &&
      count >= 1 &&
      first + count <= size
    )
  )
    throw new RangeError(`leaves ${first} to ${first + count - 1} are not in a tree of ${size}`)
}

/**
 * Proof that leaves `first`..`first + count` stand at these places in the tree: the roots of the maximal subtrees
 * outside the range, from left to right. One leaf of n costs at most ceil(log2 n) hashes, a range at most twice that.
 */
export const rangeProof = (leaves: readonly Uint8Array[], first: number, count: number): Uint8Array[] => {
  assertRange(first, count, leaves.length)
  const proof: Uint8Array[] = []
  const walk = (from: number, to: number): void => {
    if (to <= first || from >= first + count) proof.push(subtreeRoot(leaves, from, to))
    else if (from < first || to > first + count) {
      const middle = from + split(to - from)
      walk(from, middle)
      walk(middle, to)
    }
  }
  walk(0, leaves.length)
  return proof
}

/** The root that a range proof leads to; undefined where the proof has not exactly the hashes this range needs. */
export const rootOfRange = (
  range: readonly Uint8Array[],
  first: number,
  size: number,
  proof: readonly Uint8Array[],
): Uint8Array | undefined => {
  if (!Number.isSafeInteger(size) || size > maxTreeSize) return undefined
  if (!Number.isSafeInteger(first) || first < 0) return undefined
  if (range.length === 0 || first + range.length > size) return undefined
  const end = first + range.length
  let used = 0
  const walk = (from: number, to: number): Uint8Array | undefined => {
    if (to <= first || from >= end) return proof[used++]
    if (from >= first && to <= end) return subtreeRoot(range, from - first, to - first)
    const middle = from + split(to - from)
    const left = walk(from, middle)
    const right = left && walk(middle, to)
    return right && pairHash(left, right)
  }
  if (proof.some((hash) => hash.length !== 32)) return undefined
  const root = walk(0, size)
  return used === proof.length ? root : undefined
}

/** Audit path of one leaf from the bottom up, as in RFC 9162 s2.1.3. */
export const inclusionProof = (leaves: readonly Uint8Array[], index: number): Uint8Array[] => {
  assertRange(index, 1, leaves.length)
  const path = (from: number, to: number): Uint8Array[] => {
    if (to - from === 1) return []
    const middle = from + split(to - from)
    return index < middle
      ? [...path(from, middle), subtreeRoot(leaves, middle, to)]
      : [...path(middle, to), subtreeRoot(leaves, from, middle)]
  }
  return path(0, leaves.length)
}

/** RFC 9162 s2.1.3.2. */
export const verifyInclusion = (
  leaf: Uint8Array,
  index: number,
  size: number,
  proof: readonly Uint8Array[],
  root: Uint8Array,
): boolean => {
  if (!Number.isSafeInteger(size) || !Number.isSafeInteger(index) || index < 0 || index >= size) return false
  let node = index
  let last = size - 1
  let hash = leaf
  for (const sibling of proof) {
    if (last === 0 || sibling.length !== 32) return false
    if (node % 2 === 1 || node === last) {
      hash = pairHash(sibling, hash)
      while (node % 2 === 0 && node !== 0) {
        node /= 2
        last = Math.floor(last / 2)
      }
    } else hash = pairHash(hash, sibling)
    node = Math.floor(node / 2)
    last = Math.floor(last / 2)
  }
  return last === 0 && equalBytes(hash, root)
}

/** Proof that the first `size1` leaves are a prefix of the tree, as in RFC 9162 s2.1.4. */
export const consistencyProof = (leaves: readonly Uint8Array[], size1: number): Uint8Array[] => {
  assertRange(0, size1, leaves.length)
  const proof = (from: number, to: number, size: number, whole: boolean): Uint8Array[] => {
    if (size === to - from) return whole ? [] : [subtreeRoot(leaves, from, to)]
    const half = split(to - from)
    return size <= half
      ? [...proof(from, from + half, size, whole), subtreeRoot(leaves, from + half, to)]
      : [...proof(from + half, to, size - half, false), subtreeRoot(leaves, from, from + half)]
  }
  return proof(0, leaves.length, size1, true)
}

/** RFC 9162 s2.1.4.2. An empty first tree proves nothing and is refused. */
export const verifyConsistency = (
  size1: number,
  size2: number,
  proof: readonly Uint8Array[],
  root1: Uint8Array,
  root2: Uint8Array,
): boolean => {
  if (!Number.isSafeInteger(size1) || !Number.isSafeInteger(size2) || size1 < 1 || size1 > size2) return false
  if (proof.some((hash) => hash.length !== 32)) return false
  if (size1 === size2) return proof.length === 0 && equalBytes(root1, root2)
  const powerOfTwo = Number.isInteger(Math.log2(size1))
  const path = powerOfTwo ? [root1, ...proof] : [...proof]
  if (path.length === 0) return false
  let node = size1 - 1
  let last = size2 - 1
  while (node % 2 === 1) {
    node = (node - 1) / 2
    last = Math.floor(last / 2)
  }
  let hash1 = path[0]!
  let hash2 = path[0]!
  for (const sibling of path.slice(1)) {
    if (last === 0) return false
    if (node % 2 === 1 || node === last) {
      hash1 = pairHash(sibling, hash1)
      hash2 = pairHash(sibling, hash2)
      while (node % 2 === 0 && node !== 0) {
        node /= 2
        last = Math.floor(last / 2)
      }
    } else hash2 = pairHash(hash2, sibling)
    node = Math.floor(node / 2)
    last = Math.floor(last / 2)
  }
  return last === 0 && equalBytes(hash1, root1) && equalBytes(hash2, root2)
}
