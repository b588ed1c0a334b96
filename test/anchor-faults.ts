/** A chain with a saboteur in the wire: a test decides what becomes of each request. */
import { type Hex, parseTransaction, recoverTransactionAddress } from 'viem'
import type { Chain, RpcRequest } from '#gateway/anchor/chain.ts'

type Forward = (request: RpcRequest) => Promise<unknown>

/** What a node was given: who, which nonce, and the payload that goes with it. */
export type Broadcast = {
  readonly raw: Hex
  readonly from: string
  readonly nonce: number
  readonly payload: string
  readonly maxFeeWei: bigint
  readonly priorityFeeWei: bigint
}

export type Saboteur = {
  /** Behind the wire; can be swapped for another chain. */
  inner: Chain
  /** What happens to a request; it is passed on unless a test says otherwise. */
  meddle: (request: RpcRequest, forward: Forward) => Promise<unknown>
  readonly broadcasts: Broadcast[]
  readonly requests: RpcRequest[]
  readonly chain: Chain
}

export const saboteur = (first: Chain): Saboteur => {
  const broadcasts: Broadcast[] = []
  const requests: RpcRequest[] = []
  const world: Saboteur = {
    inner: first,
    meddle: (request, forward) => forward(request),
    broadcasts,
    requests,
    chain: {
      name: 'behind a saboteur',
      request: async (request) => {
        requests.push(request)
        if (request.method === 'eth_sendRawTransaction') {
          const raw = request.params![0] as Hex
          const { nonce = 0, to, data, maxFeePerGas, maxPriorityFeePerGas } = parseTransaction(raw)
          broadcasts.push({
            raw,
            from: await recoverTransactionAddress({ serializedTransaction: raw as `0x02${string}` }),
            nonce,
            payload: `${to} ${data}`,
            maxFeeWei: maxFeePerGas!,
            priorityFeeWei: maxPriorityFeePerGas!,
          })
        }
        return world.meddle(request, (passed) => world.inner.request(passed))
      },
    },
  }
  return world
}

/** Changes fields of the newest block's answer, such as its base fee. */
export const withHead =
  (change: (block: Record<string, unknown>) => object) =>
  async (request: RpcRequest, forward: Forward): Promise<unknown> => {
    const answer = await forward(request)
    if (request.method !== 'eth_getBlockByNumber' || request.params?.[0] !== 'latest') return answer
    const block = answer as Record<string, unknown>
    return { ...block, ...change(block) }
  }
