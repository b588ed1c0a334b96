/** What an answer says beside its rows: the same members in every format that has members. */
import type { Answer } from '../query.ts'
import { durationText, timeText } from '../time.ts'

/** Members in front of the rows, the name of the member with the rows, and members behind them. */
export type Members = {
  readonly head: Readonly<Record<string, string>>
  readonly rows: 'readings' | 'buckets'
  readonly tail: { readonly next?: string | null }
}

/** The members of an answer; times are RFC 3339, UTC. */
export const membersOf = (answer: Answer): Members => {
  if (answer.kind === 'latest') return { head: {}, rows: 'readings', tail: {} }
  const span = { from: timeText(answer.fromMs), to: timeText(answer.toMs) }
  const tail = { next: answer.next }
  return answer.kind === 'readings'
    ? { head: span, rows: 'readings', tail }
    : { head: { ...span, every: durationText(answer.everyMs), fn: answer.fn }, rows: 'buckets', tail }
}
