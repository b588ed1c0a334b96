import { setTimeout as sleep } from 'node:timers/promises'

const lookEveryMs = 100

/** What `look` finds, as soon as it finds anything; looking that throws has found nothing yet. */
export const until = async <T>(
  what: string,
  seconds: number,
  look: () => Promise<T | undefined>,
): Promise<T> => {
  for (let tries = 0; tries < (seconds * 1000) / lookEveryMs; tries++) {
    const found = await look().catch(() => undefined)
    if (found !== undefined) return found
    await sleep(lookEveryMs)
  }
  throw new Error(`${what}: not within ${seconds} s`)
}
