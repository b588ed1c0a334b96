/** What is asked of a node, with answers checked for form: a public node is as hostile as any other stranger. */
import type { Address, Hex } from 'viem'
import { type Chain, ChainUnreachable, RpcError } from './chain.ts'

/** A block; `baseFeeWei` is null on a chain from before EIP-1559. */
export type Block = {
  readonly number: number
  readonly hash: Hex
  readonly timeS: number
  readonly baseFeeWei: bigint | null
}

export type Log = {
  readonly address: Address
  readonly topics: readonly Hex[]
  readonly transactionHash: Hex
  readonly blockNumber: number
  readonly blockHash: Hex
}

/** What became of a transaction; `gasUsed` in gas, `contract` where it made one. */
export type Receipt = {
  readonly hash: Hex
  readonly blockNumber: number
  readonly blockHash: Hex
  readonly succeeded: boolean
  readonly gasUsed: number
  readonly contract: Address | null
  readonly logs: readonly Log[]
}

/** Where to look: a block number or the node's name for one. */
export type BlockTag = number | 'latest' | 'finalized'

// A call of ours emits one event and a deployment two; anything far above that is not an answer to us.
const maxLogs = 1000

type Fields = Record<string, unknown>

const nonsense = (chain: Chain, method: string, what: string): ChainUnreachable =>
  new ChainUnreachable(
    `${chain.name} answered ${method} without ${what}. Check that it is an Ethereum JSON-RPC node.`,
  )

const reader = (chain: Chain, method: string) => {
  const wrong = (what: string): never => {
    throw nonsense(chain, method, what)
  }
  const hex = (value: unknown, digits: number, what: string): Hex =>
    typeof value === 'string' && value.length === 2 + digits && /^0x[0-9a-f]*$/i.test(value)
      ? (value.toLowerCase() as Hex)
      : wrong(what)
  const bigint = (value: unknown, what: string): bigint =>
    typeof value === 'string' && /^0x[0-9a-f]{1,64}$/i.test(value) ? BigInt(value) : wrong(what)
  const number = (value: unknown, what: string): number => {
    const whole = bigint(value, what)
    return whole <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(whole) : wrong(what)
  }
  const fields = (value: unknown, what: string): Fields =>
    typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : wrong(what)
  const list = (value: unknown, what: string): unknown[] =>
    Array.isArray(value) && value.length <= maxLogs ? value : wrong(what)
  const hash = (value: unknown, what: string): Hex => hex(value, 64, what)
  const address = (value: unknown, what: string): Address => hex(value, 40, what)
  const log = (value: unknown): Log => {
    const entry = fields(value, 'a log')
    return {
      address: address(entry.address, 'an address in its log'),
      topics: list(entry.topics, 'topics').map((topic) => hash(topic, 'a topic of 32 bytes')),
      transactionHash: hash(entry.transactionHash, 'a transaction hash in its log'),
      blockNumber: number(entry.blockNumber, 'a block number in its log'),
      blockHash: hash(entry.blockHash, 'a block hash in its log'),
    }
  }
  return { bigint, number, fields, list, hash, address, log }
}

const tagOf = (tag: BlockTag): string => (typeof tag === 'number' ? `0x${tag.toString(16)}` : tag)

/** 0 to 2^53; tells chains of one hash history apart. */
export const readChainId = async (chain: Chain): Promise<number> =>
  reader(chain, 'eth_chainId').number(await chain.request({ method: 'eth_chainId' }), 'a number')

/** The block there; undefined where the node has none of that number, or does not know the tag. */
export const readBlock = async (chain: Chain, tag: BlockTag): Promise<Block | undefined> => {
  const method = 'eth_getBlockByNumber'
  let answer: unknown
  try {
    answer = await chain.request({ method, params: [tagOf(tag), false] })
  } catch (error) {
    // Nodes without finality, and those still syncing to it, answer the tag with an error.
    if (tag === 'finalized' && error instanceof RpcError) return undefined
    throw error
  }
  if (answer === null) return undefined
  const { number, hash, bigint, fields } = reader(chain, method)
  const block = fields(answer, 'a block')
  return {
    number: number(block.number, 'a block number'),
    hash: hash(block.hash, 'a block hash'),
    timeS: number(block.timestamp, 'a block time'),
    baseFeeWei: block.baseFeePerGas == null ? null : bigint(block.baseFeePerGas, 'a base fee'),
  }
}

/** The newest block. */
export const readHead = async (chain: Chain): Promise<Block> => {
  const head = await readBlock(chain, 'latest')
  if (head === undefined) throw nonsense(chain, 'eth_getBlockByNumber', 'a newest block')
  return head
}

/** Undefined while the transaction is in no block that the node knows. */
export const readReceipt = async (chain: Chain, transaction: Hex): Promise<Receipt | undefined> => {
  const method = 'eth_getTransactionReceipt'
  const answer = await chain.request({ method, params: [transaction] })
  if (answer === null) return undefined
  const { number, hash, address, fields, list, log } = reader(chain, method)
  const receipt = fields(answer, 'a receipt')
  // Some client libraries hand out the receipt of another transaction of the account; this one must be ours.
  if (hash(receipt.transactionHash, 'a transaction hash') !== transaction.toLowerCase())
    throw nonsense(chain, method, 'the receipt of the transaction asked for')
  return {
    hash: transaction,
    blockNumber: number(receipt.blockNumber, 'a block number'),
    blockHash: hash(receipt.blockHash, 'a block hash'),
    succeeded: number(receipt.status, 'a status') === 1,
    gasUsed: number(receipt.gasUsed, 'the gas used'),
    contract: receipt.contractAddress == null ? null : address(receipt.contractAddress, 'an address'),
    logs: list(receipt.logs, 'logs').map(log),
  }
}

/** How many transactions of the account are in blocks up to there: the next nonce. */
export const readNonce = async (chain: Chain, account: Address, at: BlockTag): Promise<number> => {
  const method = 'eth_getTransactionCount'
  return reader(chain, method).number(
    await chain.request({ method, params: [account, tagOf(at)] }),
    'a number',
  )
}

/** Wei. */
export const readBalance = async (chain: Chain, account: Address): Promise<bigint> => {
  const method = 'eth_getBalance'
  return reader(chain, method).bigint(await chain.request({ method, params: [account, 'latest'] }), 'wei')
}

/** What the node suggests paying per gas on top of the base fee, in wei; undefined where it has no opinion. */
export const readPriorityFee = async (chain: Chain): Promise<bigint | undefined> => {
  const method = 'eth_maxPriorityFeePerGas'
  try {
    return reader(chain, method).bigint(await chain.request({ method }), 'wei')
  } catch (error) {
    // Not every node has this method; the caller has a default.
    if (error instanceof RpcError) return undefined
    throw error
  }
}

const bytesOf = (chain: Chain, method: string, answer: unknown): Hex => {
  if (typeof answer === 'string' && /^0x([0-9a-f]{2})*$/i.test(answer)) return answer.toLowerCase() as Hex
  throw nonsense(chain, method, 'bytes')
}

/** Code at an address; `0x` where there is none. */
export const readCode = async (chain: Chain, address: Address): Promise<Hex> => {
  const method = 'eth_getCode'
  return bytesOf(chain, method, await chain.request({ method, params: [address, 'latest'] }))
}

/** What a call would answer; throws RpcError where it would revert. */
export const readCall = async (chain: Chain, to: Address, data: Hex): Promise<Hex> => {
  const method = 'eth_call'
  return bytesOf(chain, method, await chain.request({ method, params: [{ to, data }, 'latest'] }))
}

/** Gas a transaction would take; throws RpcError, with the revert's data, where it would revert. */
export const estimateGas = async (
  chain: Chain,
  call: { readonly from: Address; readonly to: Address | null; readonly data: Hex },
): Promise<number> => {
  const method = 'eth_estimateGas'
  const { from, to, data } = call
  const transaction = to === null ? { from, data } : { from, to, data }
  return reader(chain, method).number(await chain.request({ method, params: [transaction] }), 'a number')
}

/** Logs of one contract with these first topics, in blocks `fromBlock` to `toBlock`, both inclusive. */
export const readLogs = async (
  chain: Chain,
  address: Address,
  topics: readonly unknown[],
  fromBlock: number,
  toBlock: number,
): Promise<readonly Log[]> => {
  const method = 'eth_getLogs'
  const filter = { address, topics, fromBlock: tagOf(fromBlock), toBlock: tagOf(toBlock) }
  const { list, log } = reader(chain, method)
  return list(await chain.request({ method, params: [filter] }), 'a list of logs').map(log)
}
