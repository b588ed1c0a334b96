/** Proofs: a bundle verified offline, and on the chain where a node is named. */
import type { ConfirmedAnchor } from '../verify/chain.ts'
import type { Report } from '../verify/report.ts'
import { nodeAt } from '../verify/rpc.ts'
import { verifyBundle, verifyOnChain } from '../verify/verify.ts'

export type VerifyOptions = {
  /** Address of an Ethereum node (JSON-RPC over HTTP); without it nothing is asked of any chain. */
  readonly rpc?: string
}

/** A report, with the anchors that the chain confirmed; null where it was not asked, or not reached. */
export type Verified = Report & { readonly onChain: readonly ConfirmedAnchor[] | null }

/**
 * Verifies a proof bundle, trusting nobody: the same checks as `groundtruth verify`. Bad bytes are an answer; throws
 * NodeError where the node cannot be asked. A bundle of thousands of envelopes takes seconds: in a page, call it in a
 * worker.
 */
export const verify = async (bundle: Uint8Array, { rpc }: VerifyOptions = {}): Promise<Verified> => {
  const report = verifyBundle(bundle)
  if (rpc === undefined || !report.ok) return { ...report, onChain: null }
  const { ok, failure, steps, anchors } = await verifyOnChain(report, nodeAt(rpc))
  return {
    ...report,
    ok,
    complete: report.complete && ok,
    failure,
    steps: [...report.steps, ...steps],
    sale: ok ? report.sale : null,
    readings: ok ? report.readings : [],
    onChain: ok ? anchors : null,
  }
}
