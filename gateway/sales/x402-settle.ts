/** Verifies and settles payments on a chain: this hub is its own x402 facilitator, with one key and one queue. */
import type { FacilitatorEvmSigner } from '@x402/evm'
import { ExactEvmScheme } from '@x402/evm/exact/facilitator'
import { encodeFunctionData, type Hex, isAddressEqual, keccak256, type Log, parseEventLogs } from 'viem'
import type { Account } from '../anchor/account.ts'
import type { Chain } from '../anchor/chain.ts'
import { tokenAbi } from './token/token.ts'
import { type Connection, connect, errorText, multicall3, oneByOne, within } from './x402-connection.ts'
import type { Payment } from './x402-header.ts'
import type { KeptPayment, Payments } from './x402-payments.ts'

export type SettlerOptions = {
  readonly chain: Chain
  readonly chainId: number
  /** Pays for gas; nothing else may send with it. */
  readonly account: Account
  readonly asset: Hex
  readonly payTo: Hex
  /** Name and version in the token's EIP-712 domain. */
  readonly domain: { readonly name: string; readonly version: string }
  readonly payments: Payments
  /** Above this fee per gas, in wei, nothing is sent. */
  readonly capWei: bigint
  /** How long a request waits for its block, and between looks, in milliseconds. */
  readonly waitMs: number
  readonly pollMs: number
  /** How long the chain may take in all, for verifying and for sending each; the answer to a buyer has a limit too. */
  readonly chainMs: number
}

/** `away`: the chain cannot be asked, or nothing can be sent; the payment was not touched. */
export type Verified =
  | { readonly ok: true; readonly fromBlock: number }
  | { readonly ok: false; readonly reason: 'away' | 'invalid'; readonly detail: string }
  /** Signed as it should be, by a wallet that has too little. */
  | { readonly ok: false; readonly reason: 'unfunded'; readonly detail: string; readonly fromBlock: number }

export type Outcome =
  | { readonly state: 'settled'; readonly transaction: Hex }
  | { readonly state: 'pending'; readonly transaction: Hex | null }
  /** The money did not move, and will not. */
  | { readonly state: 'failed'; readonly transaction: Hex | null; readonly detail: string }
  | { readonly state: 'away'; readonly detail: string }

/** How long an authorization is asked to be good for. */
export const validS = 300

// A wallet's signature check is a call into its own code.
const maxGas = 500_000n

const defaultPriorityWei = 1_000_000_000n

// Payments under way at once; more would only wait for blocks.
const mostOpen = 500

// A chain's clock may lie behind ours; an authorization is dead only when both agree.
const deadAfterS = 120

/** The part of a payment that the chain sees, as the library wants it. */
const payloadOf = (payment: Payment, requirements: Requirements) => ({
  x402Version: 2,
  accepted: requirements,
  payload: {
    signature: payment.signature,
    authorization: {
      from: payment.from,
      to: payment.to,
      value: `${payment.value}`,
      validAfter: `${payment.validAfterS}`,
      validBefore: `${payment.validBeforeS}`,
      nonce: payment.nonce,
    },
  },
})

/** What x402 calls payment requirements. */
export type Requirements = {
  scheme: 'exact'
  network: `eip155:${number}`
  asset: Hex
  amount: string
  payTo: Hex
  maxTimeoutSeconds: number
  extra: Record<string, unknown>
}

/** The facilitator. Its methods throw only for mistakes of ours. */
export const openSettler = (options: SettlerOptions) => {
  const { chain, chainId, account, asset, payTo, domain, payments, capWei, waitMs, pollMs, chainMs } = options

  const requirementsOf = (amount: bigint, terms?: string): Requirements => ({
    scheme: 'exact',
    network: `eip155:${chainId}`,
    asset,
    amount: `${amount}`,
    payTo,
    maxTimeoutSeconds: validS,
    extra: { ...domain, ...(terms === undefined ? {} : { terms }) },
  })

  const cannotSend = async (): Promise<never> => {
    throw new Error('nothing is sent here')
  }

  const signerOf = (
    connection: Connection,
    writeContract: FacilitatorEvmSigner['writeContract'],
  ): FacilitatorEvmSigner => ({
    getAddresses: () => [account.address],
    readContract: (call) =>
      isAddressEqual(call.address, multicall3)
        ? oneByOne(connection, call.args?.[1] as { target: Hex; callData: Hex }[])
        : connection.client.readContract({ ...call, args: call.args ?? [] }),
    verifyTypedData: (call) =>
      connection.client.verifyTypedData(call as Parameters<typeof connection.client.verifyTypedData>[0]),
    getCode: (call) => connection.client.getCode(call),
    writeContract,
    sendTransaction: cannotSend,
    // What became of it is asked afterwards, and by more than its hash.
    waitForTransactionReceipt: cannotSend,
  })

  // Amounts are micro-USD; asked of the token once.
  let decimalsFit = false

  const verify = async (payment: Payment): Promise<Verified> => {
    const connection = connect(chain, chainMs)
    try {
      const { client } = connection
      const [id, head] = [await client.getChainId(), Number(await client.getBlockNumber({ cacheTime: 0 }))]
      if (id !== chainId)
        return { ok: false, reason: 'away', detail: `the node is on chain ${id}, not ${chainId}` }
      if (!decimalsFit) {
        const decimals = await client.readContract({
          address: asset,
          abi: tokenAbi,
          functionName: 'decimals',
        })
        if (decimals !== 6)
          return { ok: false, reason: 'away', detail: `the token has ${decimals} decimals, not 6` }
        decimalsFit = true
      }
      const scheme = new ExactEvmScheme(signerOf(connection, cannotSend))
      const requirements = requirementsOf(payment.value)
      const said = await scheme.verify(payloadOf(payment, requirements), requirements)
      const away = connection.away()
      if (away !== undefined) return { ok: false, reason: 'away', detail: away }
      if (said.isValid) return { ok: true, fromBlock: head }
      const detail = said.invalidReason ?? 'invalid'
      return detail === 'invalid_exact_evm_insufficient_balance'
        ? { ok: false, reason: 'unfunded', detail, fromBlock: head }
        : { ok: false, reason: 'invalid', detail }
    } catch (error) {
      return { ok: false, reason: 'away', detail: connection.away() ?? errorText(error) }
    }
  }

  /** Whether a transaction used this authorization and moved its money to us. */
  const moved = (logs: readonly Log[], { payer, nonce, value }: KeptPayment): boolean => {
    const ours = logs.filter(({ address }) => isAddressEqual(address, asset))
    const events = parseEventLogs({ abi: tokenAbi, logs: [...ours] })
    return (
      events.some(
        ({ eventName, args }) =>
          eventName === 'AuthorizationUsed' &&
          isAddressEqual(args.authorizer, payer) &&
          args.nonce.toLowerCase() === nonce,
      ) &&
      events.some(
        ({ eventName, args }) =>
          eventName === 'Transfer' &&
          isAddressEqual(args.from, payer) &&
          isAddressEqual(args.to, payTo) &&
          args.value === value,
      )
    )
  }

  /** What became of a payment. Who sent the transaction does not matter: a stranger may have been faster with it. */
  const look = async (kept: KeptPayment): Promise<Outcome> => {
    const { payer, nonce, transaction } = kept
    const { client, away } = connect(chain, chainMs)
    // Not an error of the chain: most often there is none yet.
    const receiptOf = (hash: Hex) => client.getTransactionReceipt({ hash }).catch(() => undefined)
    try {
      const own = transaction === null ? undefined : await receiptOf(transaction)
      if (own !== undefined && own.status === 'success' && moved(own.logs, kept))
        return { state: 'settled', transaction: own.transactionHash }
      const used = await client.readContract({
        address: asset,
        abi: tokenAbi,
        functionName: 'authorizationState',
        args: [payer, nonce],
      })
      if (used) {
        const logs = await client.getLogs({
          address: asset,
          event: tokenAbi[5],
          args: { authorizer: payer, nonce },
          fromBlock: BigInt(kept.fromBlock),
        })
        for (const { transactionHash } of logs) {
          const receipt = await receiptOf(transactionHash)
          if (receipt !== undefined && receipt.status === 'success' && moved(receipt.logs, kept))
            return { state: 'settled', transaction: transactionHash }
        }
      }
      const { timestamp } = await client.getBlock()
      const dead =
        timestamp > BigInt(kept.validBeforeS) &&
        Date.now() / 1000 > kept.validBeforeS + deadAfterS &&
        away() === undefined
      if (own !== undefined && away() === undefined)
        return { state: 'failed', transaction, detail: 'the token refused the transfer' }
      if (dead) return { state: 'failed', transaction, detail: 'it was in no block before it ran out' }
      return { state: 'pending', transaction }
    } catch (error) {
      return { state: 'away', detail: away() ?? errorText(error) }
    }
  }

  // Nonces are given out one after the other: settlements at the same time with one key fail otherwise.
  let tail: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const mine = tail.then(work)
    tail = mine.catch(() => undefined)
    return mine
  }

  /** Signs, keeps, then sends; whatever the node says to the bytes, the chain decides. */
  const send = async (connection: Connection, kept: KeptPayment, data: Hex): Promise<Hex> => {
    const { client, fail } = connection
    const open = payments.open(mostOpen)
    if (open.length === mostOpen) fail('too many payments are under way')
    const estimated = await client.estimateGas({ account: account.address, to: asset, data })
    const gas = (estimated * 5n) / 4n
    if (gas > maxGas) throw new Error('the wallet’s signature takes too much gas')
    const { baseFeePerGas } = await client.getBlock()
    const priority = await client.estimateMaxPriorityFeePerGas().catch(() => defaultPriorityWei)
    const base = baseFeePerGas ?? 0n
    if (base + priority > capWei) fail('gas costs more than this hub pays')
    const most = 2n * base + priority
    const maxFeePerGas = most > capWei ? capWei : most
    if ((await client.getBalance({ address: account.address })) < gas * maxFeePerGas)
      fail(`the hub’s account ${account.address} cannot pay for gas`)
    const taken = new Set(open.map(({ senderNonce }) => senderNonce))
    let nonce = await client.getTransactionCount({ address: account.address, blockTag: 'latest' })
    while (taken.has(nonce)) nonce++
    const raw = await account.signTransaction({
      type: 'eip1559',
      chainId,
      nonce,
      to: asset,
      data,
      gas,
      maxFeePerGas,
      maxPriorityFeePerGas: priority > maxFeePerGas ? maxFeePerGas : priority,
    })
    const hash = keccak256(raw)
    payments.sent(kept, raw, hash, nonce)
    await broadcast(raw)
    return hash
  }

  const broadcast = async (raw: Hex): Promise<void> => {
    // Known already, or the node is away: it is sent again, and looked for, until its authorization ends.
    const sending = chain.request({ method: 'eth_sendRawTransaction', params: [raw] })
    await within(chainMs, sending).catch(() => undefined)
  }

  /** Looks until a payment has landed or the patience for one request is used up. */
  const landed = async (kept: KeptPayment): Promise<Outcome> => {
    const end = Date.now() + waitMs
    for (;;) {
      const outcome = await look(kept)
      if (outcome.state === 'settled' || outcome.state === 'failed' || Date.now() + pollMs > end)
        return outcome.state === 'away' ? { state: 'pending', transaction: kept.transaction } : outcome
      await new Promise((resolve) => setTimeout(resolve, pollMs))
    }
  }

  return {
    requirementsOf,
    verify,
    look,
    landed,
    resend: async ({ raw }: KeptPayment): Promise<void> => {
      if (raw !== null) await broadcast(raw)
    },
    /** Sends a payment that is kept as `taken`, and waits a while for its block. */
    settle: async (payment: Payment, kept: KeptPayment): Promise<Outcome> => {
      const connection = connect(chain, chainMs)
      let refused: string | undefined
      const scheme = new ExactEvmScheme(
        signerOf(connection, async ({ abi, functionName, args }) => {
          const data = encodeFunctionData({ abi, functionName, args })
          try {
            return await inTurn(() => send(connection, kept, data))
          } catch (error) {
            refused = errorText(error)
            throw error
          }
        }),
      )
      const requirements = requirementsOf(payment.value)
      const said = await scheme.settle(payloadOf(payment, requirements), requirements)
      const now = payments.find(kept)
      if (now?.state === 'sent') return landed(now)
      const away = connection.away()
      if (away !== undefined) return { state: 'away', detail: away }
      // A stranger may have sent it a moment ago.
      const found = await look(kept)
      if (found.state === 'settled') return found
      return { state: 'failed', transaction: null, detail: refused ?? said.errorReason ?? 'it was refused' }
    },
  }
}

export type Settler = ReturnType<typeof openSettler>
