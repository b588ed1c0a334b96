/** Seats: how many streams go on at once, for each reader and in all. */
import { type Fault, fault } from './problem.ts'

export type Seats = {
  /** Takes a seat for a reader; `leave` gives it back and is called once. */
  take(reader: string): { readonly ok: true; readonly leave: () => void } | Fault
}

export const openSeats = (mostInAll: number, mostEach: number): Seats => {
  const taken = new Map<string, number>()
  let inAll = 0
  return {
    take: (reader) => {
      const own = taken.get(reader) ?? 0
      if (own >= mostEach)
        return fault('too-many-streams', `${own} streams are open by the same reader, and no more are served`)
      if (inAll >= mostInAll)
        return fault('busy', `${inAll} streams are open, and no more are served at once`, { retryAfterS: 60 })
      inAll++
      taken.set(reader, own + 1)
      return {
        ok: true,
        leave: () => {
          inAll--
          const left = taken.get(reader)! - 1
          if (left === 0) taken.delete(reader)
          else taken.set(reader, left)
        },
      }
    },
  }
}
