/** What goes wrong on a wire, as decorators: each takes a wire and gives one that is worse. */

/** A wire as a device sees it: bytes go in, and the cable can be pulled and put back. */
export type Wire = {
  readonly write: (bytes: Uint8Array) => boolean
  readonly unplug: () => void
  readonly plug: () => void
}

/** One kind of trouble. All randomness is the `random` handed in, so that a seed repeats a bad day. */
export type Fault = (wire: Wire) => Wire

/** Time as the simulation has it; `sleep` ends early, with an error, when the signal is aborted. */
export type SimClock = {
  readonly utcMs: () => number
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>
}

type Random = () => number

// What a stalled wire holds: more is lost, as in a full FIFO.
const maxHeldBytes = 64 * 1024

/** Loses a whole write. */
export const drop =
  (chance: number, random: Random): Fault =>
  (wire) => ({ ...wire, write: (bytes) => (random() < chance ? true : wire.write(bytes)) })

/** Sends a write twice. */
export const duplicate =
  (chance: number, random: Random): Fault =>
  (wire) => ({
    ...wire,
    write: (bytes) => {
      if (random() < chance) wire.write(bytes)
      return wire.write(bytes)
    },
  })

/** Flips one bit of a byte; the chance is per byte. */
export const flipBits =
  (chance: number, random: Random): Fault =>
  (wire) => ({
    ...wire,
    write: (bytes) =>
      wire.write(bytes.map((byte) => (random() < chance ? byte ^ (1 << Math.floor(random() * 8)) : byte))),
  })

/** Sends a write in two pieces, as USB adapters do. */
export const split =
  (chance: number, random: Random): Fault =>
  (wire) => ({
    ...wire,
    write: (bytes) => {
      if (bytes.length < 2 || random() >= chance) return wire.write(bytes)
      const at = 1 + Math.floor(random() * (bytes.length - 1))
      const first = wire.write(bytes.slice(0, at))
      return wire.write(bytes.slice(at)) && first
    },
  })

/** Puts random bytes in front of a write, as a wrong baud rate, a boot message or a long cable does. */
export const noise =
  (chance: number, maxBytes: number, random: Random): Fault =>
  (wire) => ({
    ...wire,
    write: (bytes) => {
      if (random() < chance) {
        const length = 1 + Math.floor(random() * maxBytes)
        wire.write(Uint8Array.from({ length }, () => Math.floor(random() * 256)))
      }
      return wire.write(bytes)
    },
  })

/** Holds everything back for `forMs`, then sends it at once. */
export const stall =
  (chance: number, forMs: number, random: Random, clock: SimClock, signal: AbortSignal): Fault =>
  (wire) => {
    let held: Uint8Array[] | undefined
    let heldBytes = 0
    const release = (): void => {
      const all = held ?? []
      held = undefined
      heldBytes = 0
      for (const bytes of all) wire.write(bytes)
    }
    return {
      ...wire,
      write: (bytes) => {
        if (!held && random() < chance) {
          held = []
          // An aborted simulation has nobody to send it to.
          clock.sleep(forMs, signal).then(release, () => undefined)
        }
        if (!held) return wire.write(bytes)
        if (heldBytes + bytes.length > maxHeldBytes) return false
        held.push(bytes)
        heldBytes += bytes.length
        return true
      },
    }
  }

/** Pulls the cable before a write and puts it back after `forMs`. */
export const unplug =
  (chance: number, forMs: number, random: Random, clock: SimClock, signal: AbortSignal): Fault =>
  (wire) => {
    let out = false
    return {
      ...wire,
      write: (bytes) => {
        if (!out && random() < chance) {
          out = true
          wire.unplug()
          const back = (): void => {
            out = false
            wire.plug()
          }
          clock.sleep(forMs, signal).then(back, () => undefined)
        }
        return out ? false : wire.write(bytes)
      },
    }
  }
