/** Random numbers that are the same on every run: everything simulated follows from one seed. */

// The finalizer of MurmurHash3: each bit of the input changes about half the bits of the output.
const mixed = (value: number): number => {
  let bits = value | 0
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return bits ^ (bits >>> 16)
}

/** A number from 0 to below 1 that depends on nothing but these integers. */
export const chanceAt = (seed: number, ...at: readonly number[]): number => {
  let bits = mixed(seed)
  for (const value of at) bits = mixed(Math.imul(bits, 31) + value + 0x9e3779b9)
  return (bits >>> 0) / 2 ** 32
}

/** A generator of numbers from 0 to below 1 (mulberry32). */
export const generator = (seed: number): (() => number) => {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let bits = Math.imul(state ^ (state >>> 15), 1 | state)
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }
}

/** One of the items, always the same for the same seed. */
export const pick = <Item>(items: readonly Item[], seed: number): Item =>
  items[Math.floor(chanceAt(seed, items.length) * items.length)]!

const eased = (part: number): number => part * part * (3 - 2 * part)

/**
 * Smooth noise from -1 to 1 over three dimensions: equal at equal points, alike at near ones, unrelated
 * further than about one unit apart.
 */
export const smoothNoise = (seed: number, x: number, y: number, t: number): number => {
  const [x0, y0, t0] = [Math.floor(x), Math.floor(y), Math.floor(t)]
  const [wx, wy, wt] = [eased(x - x0), eased(y - y0), eased(t - t0)]
  let total = 0
  for (let corner = 0; corner < 8; corner += 1) {
    const [dx, dy, dt] = [corner & 1, (corner >> 1) & 1, corner >> 2]
    const weight = (dx ? wx : 1 - wx) * (dy ? wy : 1 - wy) * (dt ? wt : 1 - wt)
    total += weight * chanceAt(seed, x0 + dx, y0 + dy, t0 + dt)
  }
  return 2 * total - 1
}
