/** Verifying a bundle beside the hash and the signature of its envelopes alone; the same in Node and in a page. */
import { verifyBundle } from '#gateway/verify/verify.ts'
import type { ProofCase } from './proof-cases.ts'
import { takeTurns } from './rounds.ts'

/** What the baseline checks with, and what time is counted by: each platform its own. */
export type Platform = {
  /** Milliseconds: of CPU where they can be had, as they do not count what else a machine does. */
  readonly clockMs: () => number

  readonly sha256: (bytes: Uint8Array) => Uint8Array
  readonly verify: (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array) => boolean
}

/** Bundles a second of that clock, round by round. */
export type ProofRates = { readonly ours: number[]; readonly baseline: number[] }

const perSecond = (clockMs: () => number, leastMs: number, work: () => boolean): number => {
  const startedMs = clockMs()
  for (let calls = 1; ; calls++) {
    if (!work()) throw new Error('what is good does not hold')
    const passedMs = clockMs() - startedMs
    if (passedMs >= leastMs) return (calls * 1000) / passedMs
  }
}

/** Takes turns for so many rounds, each turn at least `turnMs`. */
export const proofTurns = async (
  { bundle, envelopes, publicKey, readings }: ProofCase,
  { clockMs, sha256, verify }: Platform,
  rounds: number,
  turnMs: number,
): Promise<ProofRates> =>
  takeTurns(rounds, {
    ours: () =>
      perSecond(clockMs, turnMs, () => {
        const report = verifyBundle(bundle)
        return report.ok && report.readings.length === readings
      }),
    baseline: () =>
      perSecond(clockMs, turnMs, () =>
        envelopes.every(
          ({ bytes, message, signature }) =>
            sha256(bytes).length === 32 && verify(signature, message, publicKey),
        ),
      ),
  })
