/** A gate: so much work at once, so much waiting, and the rest is told to come again. */
import { fault, Problem } from './problem.ts'

/** Runs work when a place is free; throws the problem `busy` when the queue is full too. */
export type Gate = <T>(work: () => Promise<T>) => Promise<T>

export const openGate = (mostAtOnce: number, mostWaiting: number): Gate => {
  let running = 0
  const waiting: (() => void)[] = []
  return async (work) => {
    if (running < mostAtOnce) running++
    else {
      if (waiting.length >= mostWaiting)
        throw new Problem(
          fault('busy', `${mostAtOnce} queries run and ${mostWaiting} wait`, { retryAfterS: 2 }),
        )
      // The place is handed on by whoever leaves, so `running` stays as it is.
      await new Promise<void>((resolve) => waiting.push(resolve))
    }
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next === undefined) running--
      else next()
    }
  }
}
