/** Seats: how many streams go on at once, for each reader and in all. */
import { type Fault, fault } from './problem.ts'

export type Seats = {
  /** How many are taken. */
  readonly taken: number
  /** Takes a seat for a reader; `leave` gives it back and is called once. */
  take(reader: string): { readonly ok: true; readonly leave: () => void } | Fault
}

export const openSeats = (mostInAll: number, mostEach: number): Seats => {
  const byReader = new Map<string, number>()
  let inAll = 0
  return {
    get taken() {
      return inAll
    },
    take: (reader) => {
      const own = byReader.get(reader) ?? 0
      if (own >= mostEach)
        return fault('too-many-streams', `${own} streams are open by the same reader, and no more are served`)
      if (inAll >= mostInAll)
        return fault('busy', `${inAll} streams are open, and no more are served at once`, { retryAfterS: 60 })
      inAll++
      byReader.set(reader, own + 1)
      return {
        ok: true,
        leave: () => {
          inAll--
          const left = byReader.get(reader)! - 1
          if (left === 0) byReader.delete(reader)
          else byReader.set(reader, left)
        },
      }
    },
  }
}
