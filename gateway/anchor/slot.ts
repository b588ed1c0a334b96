/** Finds the transaction that wrote a root which is on the chain already. */
import type { Address } from 'viem'
import { type Chain, ChainUnreachable } from './chain.ts'
import { anchoredTopics, decodeAnchored, encodeAnchored } from './contract/contract.ts'
import { readBlock, readCall, readHead, readLogs } from './node.ts'
import type { Mined } from './transactions.ts'

// Public nodes answer logs of a few hundred blocks at a time; fast chains have several blocks in one second.
const logBlocks = 100

/** Lowest block whose time is not before `timeS`: block times ascend, so halving finds it. */
const blockAt = async (chain: Chain, timeS: number, head: number): Promise<number> => {
  let low = 0
  let high = head
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const block = await readBlock(chain, middle)
    if (block === undefined || block.timeS < timeS) low = middle + 1
    else high = middle
  }
  return low
}

/** Where a root was written; undefined when the contract has no slot for it. Throws what the chain throws. */
export const findAnchored = async (
  chain: Chain,
  contract: Address,
  root: Uint8Array,
): Promise<Mined | undefined> => {
  const answer = await readCall(chain, contract, encodeAnchored(root))
  const slot = decodeAnchored(answer)
  if (slot === 'malformed')
    throw new ChainUnreachable(`${chain.name} answered ${answer.slice(0, 66)} for a slot of ${contract}`)
  if (slot === undefined) return undefined
  const head = (await readHead(chain)).number
  const from = await blockAt(chain, slot.timeS, head)
  const [log] = await readLogs(chain, contract, anchoredTopics(root), from, Math.min(from + logBlocks, head))
  if (log === undefined) return undefined
  return {
    hash: log.transactionHash,
    blockNumber: log.blockNumber,
    blockHash: log.blockHash,
    succeeded: true,
  }
}
