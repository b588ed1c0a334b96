/** A connection to a chain for one payment: with a deadline, and a memory of whether the chain could be asked. */
import { createPublicClient, custom, type Hex } from 'viem'
import type { Chain } from '../anchor/chain.ts'

// Whatever a contract says by reverting is an answer; anything else is a node that cannot be relied on just now.
const isAnswer = (error: unknown): boolean =>
  error instanceof Error &&
  error.name === 'RpcError' &&
  (/revert/i.test(error.message) || (error as { data?: unknown }).data !== undefined)

/** What an error says, short. */
export const errorText = (error: unknown): string =>
  (error instanceof Error
    ? ((error as { shortMessage?: string }).shortMessage ?? error.message)
    : String(error)
  ).slice(0, 200)

/** Fails when work takes longer; the work itself goes on. */
export const within = async <T>(ms: number, work: Promise<T>): Promise<T> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('the chain takes too long')), Math.max(ms, 0))
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

/** A client that remembers when the chain could not be asked: the library takes that for a bad signature. */
export const connect = (chain: Chain, chainMs: number) => {
  let away: string | undefined
  const end = Date.now() + chainMs
  const request: Chain['request'] = async (call) => {
    try {
      return await within(end - Date.now(), chain.request(call))
    } catch (error) {
      if (!isAnswer(error)) away ??= errorText(error)
      throw error
    }
  }
  const client = createPublicClient({
    transport: custom({ request: request as (call: unknown) => Promise<unknown> }, { retryCount: 0 }),
  })
  return {
    client,
    away: () => away,
    fail: (detail: string): never => {
      away ??= detail
      throw new Error(detail)
    },
  }
}
export type Connection = ReturnType<typeof connect>

/** Where the library looks for a Multicall3. */
export const multicall3 = '0xcA11bde05977b3631167028862bE2a173976CA11'

/** Not every chain has a Multicall3: its calls are made one by one. */
export const oneByOne = async (
  { client }: Connection,
  calls: readonly { target: Hex; callData: Hex }[],
): Promise<{ success: boolean; returnData: Hex }[]> => {
  const answers: { success: boolean; returnData: Hex }[] = []
  for (const { target, callData } of calls) {
    const returnData = await client.call({ to: target, data: callData }).then(
      ({ data }) => data ?? '0x',
      () => undefined,
    )
    answers.push({ success: returnData !== undefined, returnData: returnData ?? '0x' })
  }
  return answers
}
