/** Whether the node still speaks for the chain we anchored on. */
import { type Address, type Hex, keccak256 } from 'viem'
import type { Chain } from './chain.ts'
import { readBlock, readChainId, readCode } from './node.ts'

/**
 * What is remembered of a chain. `contract.final` says that the contract was there before we came, or that its
 * deployment is final; `last` is the newest block that holds a transaction of ours.
 */
export type KnownChain = {
  readonly chainId: number
  readonly genesisHash: Hex
  readonly contract: { readonly address: Address; readonly codeHash: Hex; readonly final: boolean } | null
  readonly last: { readonly blockNumber: number; readonly blockHash: Hex } | null
}

/** `reorg`: the same chain with other recent blocks. `reset`: another chain, ours is gone. */
export type Identity =
  | { readonly kind: 'same' }
  | { readonly kind: 'reorg' | 'reset'; readonly detail: string }

/**
 * Compares chain id, block 0, the contract's code and our newest block. Block 0 alone does not tell: a development
 * chain started with a fixed date has the same one every time.
 */
export const checkIdentity = async (chain: Chain, known: KnownChain): Promise<Identity> => {
  const chainId = await readChainId(chain)
  if (chainId !== known.chainId)
    return { kind: 'reset', detail: `chain id ${known.chainId} was expected, ${chainId} came` }
  const genesis = await readBlock(chain, 0)
  if (genesis?.hash !== known.genesisHash)
    return {
      kind: 'reset',
      detail: `block 0 was ${known.genesisHash}, now it is ${genesis?.hash ?? 'missing'}`,
    }
  const { contract, last } = known
  const code = contract === null ? '0x' : await readCode(chain, contract.address)
  const codeStands = contract === null || (code !== '0x' && keccak256(code) === contract.codeHash)
  const block = last === null ? undefined : await readBlock(chain, last.blockNumber)
  if (codeStands && (last === null || block?.hash === last.blockHash)) return { kind: 'same' }
  if (!codeStands && contract.final)
    return { kind: 'reset', detail: `the contract at ${contract.address} is gone` }
  return {
    kind: 'reorg',
    detail:
      last === null
        ? 'the contract is not there yet'
        : `block ${last.blockNumber} was ${last.blockHash}, now it is ${block?.hash ?? 'missing'}`,
  }
}
