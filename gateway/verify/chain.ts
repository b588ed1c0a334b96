/** Checks on an EVM chain, by plain JSON-RPC, that the roots a bundle leads to are where it says. */
import type { Chain } from '../anchor/chain.ts'
import {
  type AnchorClaim,
  type Checked,
  counted,
  type Failure,
  failed,
  type Step,
  type StepName,
  when,
} from './report.ts'

/** First four bytes of keccak-256 of `anchored(bytes32)`, which answers (uint64 firstBatch, uint64 batches, uint64 time). */
export const anchoredSelector = '0xdd649146'

/** keccak-256 of `Anchored(bytes32,uint64,uint64)`; root and firstBatch are indexed. */
export const anchoredTopic = '0x665a214d59c3b0d9e6c4975fba280be5e19b9b0862cff85b71d42433191945cf'

/** A root that the chain confirmed, with the time of its block (UTC ms). */
export type ConfirmedAnchor = AnchorClaim & { readonly timeMs: number }

export type ChainReport = {
  readonly ok: boolean
  readonly failure: Failure | null
  readonly steps: readonly Step[]
  readonly anchors: readonly ConfirmedAnchor[]
}

// What a node answers comes from outside: only these shapes are believed.
const field = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined

const lower = (value: unknown): string | undefined =>
  typeof value === 'string' ? value.toLowerCase() : undefined

const number = (value: unknown): number | undefined =>
  typeof value === 'string' && /^0x[0-9a-fA-F]{1,14}$/.test(value)
    ? Number.parseInt(value.slice(2), 16)
    : undefined

/** The `count` 32-byte words of an ABI answer as numbers; undefined where one is beyond 2^53. */
const words = (value: unknown, count: number): number[] | undefined => {
  if (typeof value !== 'string' || !new RegExp(`^0x[0-9a-fA-F]{${64 * count}}$`).test(value)) return undefined
  const numbers = Array.from({ length: count }, (_, at) =>
    BigInt(`0x${value.slice(2 + 64 * at, 66 + 64 * at)}`),
  )
  return numbers.every((one) => one <= Number.MAX_SAFE_INTEGER) ? numbers.map(Number) : undefined
}

const word = (value: number): string => `0x${value.toString(16).padStart(64, '0')}`

const checkReceipt = (claim: AnchorClaim, receipt: unknown): string | undefined => {
  const { contract, txHash, blockNumber, blockHash, root, firstBatch, size } = claim
  if (receipt === null || receipt === undefined) return `the chain knows no transaction ${txHash}`
  if (lower(field(receipt, 'transactionHash')) !== txHash) return 'the node answered with another transaction'
  if (number(field(receipt, 'status')) !== 1) return `transaction ${txHash} failed`
  if (lower(field(receipt, 'blockHash')) !== blockHash)
    return `transaction ${txHash} is in block ${lower(field(receipt, 'blockHash')) ?? 'none'}, not in ${blockHash}`
  if (number(field(receipt, 'blockNumber')) !== blockNumber)
    return `transaction ${txHash} is in another block than ${blockNumber}`
  const logs = field(receipt, 'logs')
  const event = (Array.isArray(logs) ? logs : []).find((log) => {
    const topics = field(log, 'topics')
    return (
      lower(field(log, 'address')) === contract &&
      Array.isArray(topics) &&
      lower(topics[0]) === anchoredTopic &&
      lower(topics[1]) === root
    )
  })
  if (event === undefined) return `transaction ${txHash} did not anchor ${root} in contract ${contract}`
  const first = lower((field(event, 'topics') as unknown[])[2])
  const batches = words(field(event, 'data'), 1)?.[0]
  if (first !== word(firstBatch) || batches !== size)
    return `transaction ${txHash} anchored ${root} for other batches than ${firstBatch} to ${firstBatch + size - 1}`
  return undefined
}

const callAnchored = async (
  chain: Pick<Chain, 'request'>,
  contract: string,
  root: string,
): Promise<unknown> => {
  const call = { to: contract, data: anchoredSelector + root.slice(2) }
  try {
    return await chain.request({ method: 'eth_call', params: [call, 'latest'] })
  } catch (error) {
    // A contract of another kind reverts: the node is fine, the claim is not.
    if (error instanceof Error && error.name === 'RpcError') return undefined
    throw error
  }
}

/**
 * Asks the node about every anchor of a report. Answers what differs; throws what `chain.request` throws when the node
 * cannot be reached or answers with an error.
 */
export const verifyOnChain = async (
  { anchors }: { readonly anchors: readonly AnchorClaim[] },
  chain: Pick<Chain, 'request'>,
): Promise<ChainReport> => {
  const steps: Step[] = []
  const stop = (step: StepName, checked: Extract<Checked, { ok: false }>): ChainReport => {
    const { ok: _, ...failure } = checked
    steps.push({ name: step, state: 'failed', text: checked.text })
    return { ok: false, failure: { ...failure, step }, steps, anchors: [] }
  }
  const wrong = (text: string, batch?: number) =>
    failed(text, batch === undefined ? {} : { batch }) as Extract<Checked, { ok: false }>

  const chainId = number(await chain.request({ method: 'eth_chainId', params: [] }))
  for (const claim of anchors)
    if (claim.chainId !== chainId)
      return stop(
        'chain',
        wrong(
          `batch ${claim.batches[0]} is anchored on chain ${claim.chainId}, and the node serves ${chainId ?? 'none'}`,
          claim.batches[0],
        ),
      )
  if (anchors.length === 0) return stop('chain', wrong('there is no anchor to look for'))
  steps.push({ name: 'chain', state: 'passed', text: `the node serves chain ${chainId}` })

  const confirmed: ConfirmedAnchor[] = []
  for (const claim of anchors) {
    const { contract, txHash, root, firstBatch, size, batches } = claim
    const answer = words(await callAnchored(chain, contract, root), 3)
    if (answer === undefined)
      return stop('contract', wrong(`there is no anchor contract at ${contract}`, batches[0]))
    const [keptFirst, kept, timeS] = answer as [number, number, number]
    if (timeS === 0)
      return stop('contract', wrong(`contract ${contract} does not hold root ${root}`, batches[0]))
    if (keptFirst !== firstBatch || kept !== size)
      return stop(
        'contract',
        wrong(
          `contract ${contract} holds root ${root} for ${counted(kept, 'batch', 'batches')} from ${keptFirst}, not ${size} from ${firstBatch}`,
          batches[0],
        ),
      )
    const receipt = await chain.request({ method: 'eth_getTransactionReceipt', params: [txHash] })
    const difference = checkReceipt(claim, receipt)
    if (difference !== undefined) return stop('contract', wrong(difference, batches[0]))
    confirmed.push({ ...claim, timeMs: timeS * 1000 })
  }
  const times = confirmed.map(({ timeMs }) => timeMs)
  const [first, last] = [Math.min(...times), Math.max(...times)]
  steps.push({
    name: 'contract',
    state: 'passed',
    text: `${counted(confirmed.length, 'root')} held by the contract and emitted in the block named, ${
      first === last ? `at ${when(first)}` : `${when(first)} to ${when(last)}`
    }`,
  })
  return { ok: true, failure: null, steps, anchors: confirmed }
}
