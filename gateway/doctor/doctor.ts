/** The port of the doctor: checks that look at one thing each, and say what to do next. */
import type { Config } from '../config.ts'
import type { Roots } from '../link/ports.ts'

export type Level = 'ok' | 'warn' | 'fail'

/** What a check found; `next` is what to do about it. Never a secret: this is copied into e-mails. */
export type Finding = {
  readonly about: string
  readonly level: Level
  readonly found: string
  readonly next?: string
}

/** What checks are given. Trees of the system are handed in, so that another machine can be looked at. */
export type Patient = {
  /** Path of the configuration, where one was named. */
  readonly file: string | undefined
  /** Undefined where it is wrong; then `configError` says why. */
  readonly config: Config | undefined
  readonly configError: string | undefined
  readonly env: NodeJS.ProcessEnv
  readonly roots: Roots & { readonly run: string }
  readonly nowMs: () => number
  /** Seconds to listen to each sensor; 0 opens the links and no more. */
  readonly listenS: number
}

/** A check: its name, as in `groundtruth doctor --json`, and what it finds. It never throws for what the world does. */
export type Check = {
  readonly name: string
  readonly run: (patient: Patient, signal: AbortSignal) => Promise<readonly Finding[]>
}

export const ok = (about: string, found: string): Finding => ({ about, level: 'ok', found })
export const warn = (about: string, found: string, next: string): Finding => ({
  about,
  level: 'warn',
  found,
  next,
})
export const fail = (about: string, found: string, next: string): Finding => ({
  about,
  level: 'fail',
  found,
  next,
})

/** First line, and the rest as what to do next, of an error that is written that way. */
export const inTwo = (error: unknown): readonly [found: string, next: string] => {
  const [found = '', ...next] = (error instanceof Error ? error.message : String(error)).split('\n')
  return [found, next.join(' ') || 'See the message; "groundtruth doctor" looks again.']
}
