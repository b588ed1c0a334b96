/** The embedded chain: an EVM in this process that survives any crash, by replaying its journal of transactions. */
import hardhatPackage from 'hardhat/package.json' with { type: 'json' }
import type { Address, Hex } from 'viem'
import type { Journal } from '../journal/journal.ts'
import { type Chain, ChainUnreachable, RpcError } from './chain.ts'
import { type Edr, startEdr } from './edr.ts'
import {
  type ChainHeader,
  type ChainTransaction,
  decodeRecord,
  encodeHeader,
  encodeTransaction,
  maxRawBytes,
} from './embedded-record.ts'
import { answeredMethods, sendMethod } from './methods.ts'

export type EmbeddedChain = Chain &
  AsyncDisposable & {
    readonly header: ChainHeader
    /** How many transactions it holds: replaying takes about 1 s for each thousand, memory 40 KB for each. */
    readonly transactions: number
    close(): Promise<void>
  }

export type EmbeddedOptions = {
  /** A journal of its own, open; it stays open when the chain is closed. */
  readonly journal: Journal
  /** Any directory with a package.json in it or above it. */
  readonly projectRoot: string
  /** Accounts with money, in wei; taken when the chain is made, and compared ever after. */
  readonly funded: readonly { readonly address: Address; readonly balanceWei: bigint }[]
  /** 31337 unless told. */
  readonly chainId?: number
  /** Names and code hashes of the contracts in use, noted in the header. */
  readonly contracts?: Readonly<Record<string, string>>
  /** UTC, milliseconds; gives blocks their time. */
  readonly nowMs: () => number
  /** Called with the number of transactions from 20,000 on, at open and for every further thousand. */
  readonly onGrowth?: (transactions: number) => void
}

/** From here on starting takes 20 s and more, and memory nears a gigabyte. */
export const growthWarningAt = 20_000
const growthWarningEvery = 1000

// What the machine runs on; a chain keeps the one it was made with.
const hardfork = 'osaka'

const startAnew =
  'Restore its directory from a copy, or move it away: a new chain is then made and every batch is anchored again.'

const numberOf = (quantity: unknown): number => Number(quantity as string)

type Block = {
  readonly number: Hex
  readonly hash: Hex
  readonly timestamp: Hex
  transactions: readonly Hex[]
}

const latestBlock = async (edr: Edr): Promise<Block> =>
  (await edr.request('eth_getBlockByNumber', ['latest', false])) as Block

/** Reads the journal; an empty one gets the header of a new chain. */
const readJournal = async (options: EmbeddedOptions) => {
  const { journal, nowMs } = options
  const hole = journal.damage.find(({ kind }) => kind === 'damaged')
  if (hole !== undefined || journal.first > 0)
    throw new Error(
      `the embedded chain's journal has a hole (${hole === undefined ? 'its beginning is gone' : `${hole.segment} at byte ${hole.offset}`}). ${startAnew}`,
    )
  const wanted = options.funded.map(({ address, balanceWei }) => ({ address, balanceWei: `${balanceWei}` }))
  if (journal.next === 0) {
    const header: ChainHeader = {
      format: 1,
      chainId: options.chainId ?? 31337,
      hardfork,
      initialDateS: Math.floor(nowMs() / 1000),
      funded: wanted,
      hardhat: hardhatPackage.version,
      contracts: options.contracts ?? {},
    }
    journal.append(encodeHeader(header))
    await journal.commit()
    return { header, transactions: [] }
  }
  let header: ChainHeader | undefined
  const transactions: ChainTransaction[] = []
  for await (const { index, record } of journal.read(0)) {
    const decoded = decodeRecord(record)
    if (decoded === undefined || 'header' in decoded !== (index === 0))
      throw new Error(`record ${index} of the embedded chain's journal is not one of a chain. ${startAnew}`)
    if ('header' in decoded) header = decoded.header
    else transactions.push(decoded.transaction)
  }
  if (header === undefined) throw new Error(`the embedded chain's journal has no header. ${startAnew}`)
  const names = (accounts: readonly { address: string }[]) =>
    accounts.map(({ address }) => address.toLowerCase()).join(', ')
  if (names(header.funded) !== names(wanted))
    throw new Error(
      `the embedded chain was made for ${names(header.funded)}, and the key now in use is ${names(wanted)}. ` +
        `Put the old key back. ${startAnew}`,
    )
  return { header, transactions }
}

const replay = async (edr: Edr, header: ChainHeader, transactions: readonly ChainTransaction[]) => {
  for (const [at, { timeS, raw, blockHash }] of transactions.entries()) {
    let came: string
    try {
      await edr.request('evm_setNextBlockTimestamp', [timeS])
      await edr.request(sendMethod, [raw])
      came = (await latestBlock(edr)).hash
    } catch (error) {
      came = error instanceof Error ? error.message : String(error)
    }
    if (came !== blockHash)
      throw new Error(
        `replaying the embedded chain diverged at transaction ${at + 1} of ${transactions.length}: ` +
          `block ${blockHash} expected, ${came} came. It was made with Hardhat ${header.hardhat}, ` +
          `this is ${hardhatPackage.version}: go back to that version. ${startAnew}`,
      )
  }
}

const rpcError = (error: unknown): Error => {
  if (!(error instanceof Error)) return new RpcError(String(error), -32603)
  const { code, data } = error as Error & { code?: unknown; data?: unknown }
  return new RpcError(error.message, typeof code === 'number' ? code : -32603, data ?? undefined)
}

/**
 * Opens the chain kept in a journal, or makes a new one in an empty journal. A transaction is answered only after it
 * is on disk; requests are taken one after the other, so nobody sees a block that a power cut could still take away.
 * Throws when the journal cannot be replayed to the same block hashes.
 */
export const openEmbeddedChain = async (options: EmbeddedOptions): Promise<EmbeddedChain> => {
  const { journal, nowMs, onGrowth } = options
  const { header, transactions } = await readJournal(options)
  const edr = await startEdr(header, options.projectRoot)
  try {
    await replay(edr, header, transactions)
  } catch (error) {
    await edr.close()
    throw error
  }
  let count = transactions.length
  if (count >= growthWarningAt) onGrowth?.(count)
  let timeS = transactions.at(-1)?.timeS ?? header.initialDateS
  let failure: Error | undefined

  const send = async (raw: unknown): Promise<unknown> => {
    if (typeof raw !== 'string' || !/^0x([0-9a-f]{2})+$/i.test(raw))
      throw new RpcError(`${sendMethod} takes one hex string`, -32602)
    if (raw.length > 2 + 2 * maxRawBytes)
      throw new RpcError(`a transaction has at most ${maxRawBytes} bytes`, -32602)
    // Two blocks never share a second, and the clock of a Pi may go backwards.
    const blockTimeS = Math.max(Math.floor(nowMs() / 1000), timeS + 1)
    await edr.request('evm_setNextBlockTimestamp', [blockTimeS])
    const hash = await edr.request(sendMethod, [raw])
    try {
      const block = await latestBlock(edr)
      if (block.transactions.length !== 1 || block.transactions[0] !== hash)
        throw new Error(`block ${block.number} does not hold exactly the transaction just sent`)
      if (numberOf(block.timestamp) !== blockTimeS)
        throw new Error(`block ${block.number} is not of ${blockTimeS}`)
      journal.append(encodeTransaction({ timeS: blockTimeS, blockHash: block.hash, raw: raw as Hex }))
      await journal.commit()
    } catch (error) {
      // The machine is now ahead of the disk: whatever it said from here on could be lost.
      failure = new ChainUnreachable(
        'the embedded chain could not write its journal and has stopped. Check the disk, then start again.',
        { cause: error },
      )
      throw failure
    }
    timeS = blockTimeS
    count += 1
    if (count >= growthWarningAt && count % growthWarningEvery === 0) onGrowth?.(count)
    return hash
  }

  let last: Promise<unknown> = Promise.resolve()
  let closing: Promise<void> | undefined
  const request: Chain['request'] = ({ method, params = [] }) => {
    const answer = last.then(async () => {
      if (failure !== undefined) throw failure
      if (closing !== undefined) throw new ChainUnreachable('the embedded chain is closed')
      if (!answeredMethods.has(method))
        throw new RpcError(`the embedded chain does not answer ${method.slice(0, 64)}`, -32601)
      try {
        return await (method === sendMethod ? send(params[0]) : edr.request(method, params))
      } catch (error) {
        throw error instanceof RpcError || error instanceof ChainUnreachable ? error : rpcError(error)
      }
    })
    last = answer.catch(() => undefined)
    return answer
  }

  const close = (): Promise<void> => {
    closing ??= last.then(() => edr.close())
    return closing
  }
  return {
    name: 'embedded',
    header,
    get transactions() {
      return count
    },
    request,
    close,
    [Symbol.asyncDispose]: close,
  }
}
