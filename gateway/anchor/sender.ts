/**
 * Sends transactions so that none is lost, doubled or forgotten: the raw bytes and every hash are on disk before a
 * node sees them, one nonce carries one payload for ever, and nothing is final before its block is.
 */
import type { DatabaseSync } from 'node:sqlite'
import { type Address, getContractAddress, type Hex, keccak256 } from 'viem'
import type { PrivateKeyAccount } from 'viem/accounts'
import { type Chain, RpcError } from './chain.ts'
import { explainRevert } from './contract/contract.ts'
import { bumpedFees, defaultPriorityFeeWei, type Fees, firstFees } from './fees.ts'
import {
  type Block,
  estimateGas,
  type Receipt,
  readBalance,
  readBlock,
  readHead,
  readNonce,
  readPriorityFee,
  readReceipt,
} from './node.ts'
import { type Transaction, transactionsOf } from './transactions.ts'

export type SenderOptions = {
  /** Never pay more than this per gas, in wei; above it nothing is sent. */
  readonly capWei: bigint
  /** Raise the fees after this many blocks without the transaction; 3 unless told. */
  readonly bumpAfterBlocks?: number
  /** Send the same bytes again after this many polls; 5 unless told. */
  readonly resendAfterPolls?: number
  /** Blocks on top that count as final where the node knows no finality; 64 unless told. */
  readonly confirmations?: number
}

export type SenderDeps = {
  readonly database: DatabaseSync
  readonly chain: Chain
  /** Row id in `chains`. */
  readonly chainRow: number
  /** EIP-155 id that goes into signatures. */
  readonly chainId: number
  readonly account: PrivateKeyAccount
  readonly nowMs: () => number
}

/** What to send; `event` is the first indexed argument of the event without which it counts as failed. */
export type Call = {
  readonly to: Address | null
  readonly data: Hex
  readonly event: Hex | null
  /** Writes whatever belongs to the transaction, in the same SQLite transaction. */
  readonly keep: (transaction: number) => void
}

/** `reverts` is the contract's own error name where the call would be refused. */
export type Sent =
  | { readonly ok: true; readonly transaction: number }
  | {
      readonly ok: false
      readonly reason: 'in-flight' | 'fee-above-cap' | 'would-revert' | 'no-funds'
      readonly detail: string
      readonly reverts?: string
    }

// EIP-7825: since Osaka no transaction may ask for more.
const maxGas = 2 ** 24

// The machines behind one address do not all know a receipt at the same moment.
const goneAfterPolls = 3

// What nodes say when they have the very same bytes already.
const alreadyKnown = /already known|known transaction|already imported|already exists/i

const gwei = (wei: bigint): string => `${Number(wei) / 1e9} gwei`

/**
 * One sender for one key on one chain; the caller sees to it that there is only one. Its methods must not run at the
 * same time. All of them throw ChainUnreachable when the node is away: nothing is lost, call again later.
 */
export const openSender = (deps: SenderDeps, options: SenderOptions) => {
  const { database, chain, chainRow, chainId, account, nowMs } = deps
  const { capWei, bumpAfterBlocks = 3, resendAfterPolls = 5, confirmations = 64 } = options
  const transactions = transactionsOf(database, chainRow)
  // Polls since the bytes were last handed to the node. Empty after a start, so everything open is sent once.
  const pollsSince = new Map<number, number>()
  // Polls in a row that found the nonce used up and no receipt.
  const pollsGone = new Map<number, number>()
  let balanceWei: bigint | null = null

  const baseFee = (head: Block): bigint => {
    if (head.baseFeeWei === null)
      throw new RpcError(`${chain.name} has no EIP-1559 fees, and nothing else is spoken here`, -32000)
    return head.baseFeeWei
  }

  const sign = async (
    call: Pick<Transaction, 'recipient' | 'data' | 'gas'> & { readonly nonce: number },
    fees: Fees,
    head: Block,
  ) => {
    const raw = await account.signTransaction({
      type: 'eip1559',
      chainId,
      nonce: call.nonce,
      gas: BigInt(call.gas),
      maxFeePerGas: fees.maxFeeWei,
      maxPriorityFeePerGas: fees.priorityFeeWei,
      data: call.data,
      ...(call.recipient === null ? {} : { to: call.recipient }),
    })
    return { hash: keccak256(raw), raw, fees, head: head.number }
  }

  /** Hands the newest bytes to the node; whatever it says, the receipts decide. */
  const broadcast = async (id: number): Promise<void> => {
    const attempt = transactions.attempts(id).at(-1)!
    pollsSince.set(id, 0)
    try {
      const hash = await chain.request({ method: 'eth_sendRawTransaction', params: [attempt.raw] })
      const note = hash === attempt.hash ? null : `${chain.name} named it ${String(hash).slice(0, 66)}`
      transactions.setStatus(id, 'sent', note)
    } catch (error) {
      if (!(error instanceof RpcError)) throw error
      const taken = alreadyKnown.test(error.message)
      transactions.setStatus(
        id,
        taken || transactions.get(id)!.status === 'sent' ? 'sent' : 'signed',
        taken ? null : error.message,
      )
    }
  }

  const tookEffect = ({ recipient, event }: Transaction, { succeeded, logs }: Receipt): boolean =>
    succeeded &&
    (event === null ||
      logs.some(({ address, topics }) => address === recipient?.toLowerCase() && topics[1] === event))

  /** Looks for a receipt of any of its hashes: an earlier attempt may be the one that lands. Not believed until its block stands. */
  const findMined = async (transaction: Transaction): Promise<boolean> => {
    for (const { hash } of transactions.attempts(transaction.id).toReversed()) {
      const receipt = await readReceipt(chain, hash)
      if (receipt === undefined) continue
      transactions.setMined(transaction.id, { ...receipt, succeeded: tookEffect(transaction, receipt) })
      pollsSince.delete(transaction.id)
      return true
    }
    return false
  }

  const finalNumber = async (head: Block): Promise<number> =>
    (await readBlock(chain, 'finalized'))?.number ?? Math.max(0, head.number - confirmations)

  /** Whether a final block holds a transaction with its nonce. */
  const nonceIsUsed = async ({ sender, nonce }: Transaction, head: Block): Promise<boolean> => {
    const count = await readNonce(chain, sender!, 'latest')
    return count > nonce! && (await readNonce(chain, sender!, await finalNumber(head))) > nonce!
  }

  /** Gives up one whose nonce a final block gave to another, if no receipt of its own turns up meanwhile. */
  const countGone = ({ id }: Transaction): void => {
    const polls = (pollsGone.get(id) ?? 0) + 1
    pollsGone.set(id, polls)
    if (polls < goneAfterPolls) return
    pollsGone.delete(id)
    transactions.setStatus(id, 'superseded', 'another transaction took its nonce')
  }

  /** Raises the fees when blocks have passed it by, or sends the same bytes again from time to time. */
  const press = async (transaction: Transaction, head: Block): Promise<void> => {
    const { id, nonce, status } = transaction
    const last = transactions.attempts(id).at(-1)!
    const passedBy = head.number - last.head >= bumpAfterBlocks || baseFee(head) > last.fees.maxFeeWei
    const priority = passedBy ? ((await readPriorityFee(chain)) ?? defaultPriorityFeeWei) : 0n
    const fees = passedBy ? bumpedFees(last.fees, baseFee(head), priority, capWei) : undefined
    if (fees !== undefined) {
      transactions.addAttempt(id, await sign({ ...transaction, nonce: nonce! }, fees, head), nowMs())
      return broadcast(id)
    }
    const polls = pollsSince.get(id)
    if (status === 'signed' || polls === undefined || polls + 1 >= resendAfterPolls) return broadcast(id)
    pollsSince.set(id, polls + 1)
  }

  /** Where its block is gone it goes back to be sent; the bytes stay valid, and the root makes doubles harmless. */
  const unmine = (transaction: Transaction): void => {
    transactions.setUnmined(
      transaction.id,
      transaction.nonce === null ? 'superseded' : 'sent',
      `block ${transaction.blockNumber} was replaced`,
    )
    pollsSince.delete(transaction.id)
  }

  const stands = async ({ blockNumber, blockHash }: Transaction): Promise<boolean> =>
    (await readBlock(chain, blockNumber!))?.hash === blockHash

  return {
    address: account.address,
    transactions,
    /** What the account had before the last send; null before the first. */
    get balanceWei() {
      return balanceWei
    },

    /** The address of the contract that a deployment makes; known before it is mined. */
    contractOf: ({ sender, nonce }: Transaction): Address =>
      getContractAddress({ from: sender!, nonce: BigInt(nonce!) }),

    /**
     * Signs, keeps and broadcasts one call, or says why not. Only one is under way at a time: until a block holds it
     * everything else waits, so a nonce is never left out.
     */
    send: async ({ to, data, event, keep }: Call): Promise<Sent> => {
      if (transactions.unfinished().length > 0)
        return { ok: false, reason: 'in-flight', detail: 'an earlier transaction is not in a block yet' }
      const head = await readHead(chain)
      const priority = (await readPriorityFee(chain)) ?? defaultPriorityFeeWei
      const fees = firstFees(baseFee(head), priority, capWei)
      if (fees === undefined)
        return {
          ok: false,
          reason: 'fee-above-cap',
          detail: `gas costs ${gwei(baseFee(head) + priority)}, the cap is ${gwei(capWei)}`,
        }
      let gas: number
      try {
        const estimated = await estimateGas(chain, { from: account.address, to, data })
        gas = Math.min(Math.ceil(estimated * 1.25), maxGas)
      } catch (error) {
        if (!(error instanceof RpcError)) throw error
        const refusal = explainRevert(error.data)
        return {
          ok: false,
          reason: 'would-revert',
          detail: refusal?.text ?? error.message,
          ...(refusal === undefined ? {} : { reverts: refusal.name }),
        }
      }
      const balance = await readBalance(chain, account.address)
      balanceWei = balance
      if (balance < BigInt(gas) * fees.maxFeeWei)
        return {
          ok: false,
          reason: 'no-funds',
          detail: `${account.address} has ${Number(balance) / 1e18} of the chain's coin, this may take ${
            Number(BigInt(gas) * fees.maxFeeWei) / 1e18
          }. Send it some`,
        }
      // Never `pending`: a pool forgets, and then the nonces above the forgotten one wait for ever.
      const nonce = Math.max(
        await readNonce(chain, account.address, 'latest'),
        transactions.nextNonce(account.address),
      )
      const attempt = await sign({ recipient: to, data, gas, nonce }, fees, head)
      const made = { sender: account.address, nonce, recipient: to, data, gas, event }
      const id = transactions.add(made, attempt, nowMs(), keep)
      await broadcast(id)
      return { ok: true, transaction: id }
    },

    /** Looks after everything that is not final yet. */
    poll: async (): Promise<void> => {
      const unfinished = transactions.unfinished()
      if (unfinished.length + transactions.mined().length === 0) return
      const head = await readHead(chain)
      for (const transaction of unfinished) {
        if (await findMined(transaction)) continue
        if (transaction.sender !== account.address) {
          transactions.setStatus(transaction.id, 'superseded', 'the key has changed')
        } else if (await nonceIsUsed(transaction, head)) countGone(transaction)
        else {
          pollsGone.delete(transaction.id)
          await press(transaction, head)
        }
      }
      const mined = transactions.mined()
      if (mined.length === 0) return
      const final = await finalNumber(head)
      for (const transaction of mined) {
        if (!(await stands(transaction))) unmine(transaction)
        else if (transaction.blockNumber! <= final)
          transactions.setStatus(transaction.id, 'final', transaction.note)
      }
    },

    /** After a reorganisation: walks down from the newest block of ours and takes back what no longer stands. */
    takeBackReplaced: async (): Promise<void> => {
      let below = Number.MAX_SAFE_INTEGER
      for (;;) {
        const transaction = transactions.lastBelow(below)
        if (transaction === undefined || (await stands(transaction))) return
        below = transaction.blockNumber! + 1
        unmine(transaction)
      }
    },
  }
}

export type Sender = ReturnType<typeof openSender>
