/** What tests of payments on the spot stand on: a shop on a real embedded chain, wallets with test dollars, the stock client. */
import { join } from 'node:path'
import { ExactEvmScheme } from '@x402/evm/exact/client'
import { wrapFetchWithPayment, x402Client } from '@x402/fetch'
import { type Hex, parseAbi } from 'viem'
import { expect, onTestFinished } from 'vitest'
import type { Chain } from '#gateway/anchor/chain.ts'
import { readCall } from '#gateway/anchor/node.ts'
import type { Evidence } from '#gateway/evidence/evidence.ts'
import { testToken } from '#gateway/paying.ts'
import { defaultPrices } from '#gateway/sales/price.ts'
import type { Credit } from '#gateway/sales/rail.ts'
import { defaultSla, type SlaPromises } from '#gateway/sales/sla.ts'
import { encodeMint, testUsdDomain } from '#gateway/sales/token/token.ts'
import { openX402 } from '#gateway/sales/x402.ts'
import { openSelling } from '#gateway/selling.ts'
import { accountNumber, openChainIn, walletOf } from '#test/anchor-world.ts'
import { fakeEvidence, nowMs, openWorld } from '#test/market-world.ts'
import { newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

export const balanceAbi = parseAbi(['function balanceOf(address) view returns (uint256)'])

/** Requests on their way to the chain can be refused, or transactions held back. */
export const openWeather = (chain: Chain) => {
  const held: Hex[] = []
  const weather = {
    down: false,
    /** A method that is answered with an error, as by a node that is overloaded. */
    hanging: false,
    /** Transactions are taken and forgotten. */
    forgetting: false,
    failing: undefined as string | undefined,
    holding: false,
    /** Transactions that were sent, however far they came. */
    sent: [] as Hex[],
    held,
    release: async () => {
      weather.holding = false
      for (const raw of held.splice(0))
        await chain.request({ method: 'eth_sendRawTransaction', params: [raw] })
    },
    chain: {
      name: chain.name,
      request: async (call) => {
        if (weather.down) throw Object.assign(new Error('the node is away'), { name: 'ChainUnreachable' })
        if (weather.hanging) return new Promise(() => {})
        if (weather.failing === call.method)
          throw Object.assign(new Error('too many requests'), { name: 'RpcError', code: -32_005 })
        if (call.method !== 'eth_sendRawTransaction') return chain.request(call)
        const raw = call.params![0] as Hex
        weather.sent.push(raw)
        if (weather.forgetting) return `0x${'00'.repeat(32)}`
        if (!weather.holding) return chain.request(call)
        if (!held.includes(raw)) held.push(raw)
        return `0x${'00'.repeat(32)}`
      },
    } satisfies Chain,
  }
  return weather
}

const settling = accountNumber(1)
const rich = accountNumber(0)

/** The chain of a test file: opened once, with the token on it. */
export const openTokenChain = async (directory: string) => {
  const chain = await openChainIn(directory, { keys: 1, startMs: Date.now() })
  const asset = await testToken(chain, settling, rich)
  let wallets = 100
  return {
    chain,
    asset,
    /** A wallet with test dollars, in millionths, and no gas money. */
    newWallet: async (microUsd: bigint) => {
      const account = accountNumber(wallets++)
      if (microUsd > 0n) await walletOf(chain, rich).send(asset, encodeMint(account.address, microUsd))
      return account
    },
    close: () => chain.close(),
  }
}
export type TokenChain = Awaited<ReturnType<typeof openTokenChain>>
export type Wallet = Awaited<ReturnType<TokenChain['newWallet']>>

/** Opens a rail that settles on that chain, with its books in a directory. */
export const railOn =
  (
    { chain, asset }: { readonly chain: Chain; readonly asset: Hex },
    directory: string,
    log: (message: string) => void,
    { waitMs = 5000, chainMs = 1000 } = {},
  ) =>
  (credit: Credit) =>
    openX402({
      chain,
      chainId: 31337,
      account: settling,
      asset,
      payTo: settling.address,
      domain: testUsdDomain,
      capWei: 10n ** 11n,
      path: join(directory, 'x402.sqlite'),
      credit,
      log,
      waitMs,
      pollMs: 20,
      chainMs,
      roundMs: 50,
    })

const hub = newSigner()

/** A shop whose rail settles on that chain; reopening its directory is a restart of the hub. */
export const openShop = async (
  { chain, asset }: TokenChain,
  {
    directory = temporaryDirectory(),
    waitMs = 5000,
    chainMs = 1000,
    sla = defaultSla,
    evidence = fakeEvidence(),
  }: {
    readonly directory?: string
    readonly waitMs?: number
    readonly chainMs?: number
    readonly sla?: SlaPromises
    readonly evidence?: Evidence
  } = {},
) => {
  const weather = openWeather(chain)
  const clock = { nowMs }
  const logged: string[] = []
  const selling = openSelling({
    path: join(directory, 'sales.sqlite'),
    network: 'testnet',
    hub,
    prices: defaultPrices,
    factor: () => 1000,
    starterMicroUsd: 0n,
    sla,
    publicUrl: 'https://data.example',
    openRail: railOn({ chain: weather.chain, asset }, directory, (message) => logged.push(message), {
      waitMs,
      chainMs,
    }),
    nowMs: () => clock.nowMs,
  })
  const { till } = selling
  const world = await openWorld({
    ...{ till, network: 'testnet', hubKey: hub.publicKey, evidence },
    nowMs: () => clock.nowMs,
  })
  let closed = false
  const close = async () => {
    if (closed) return
    closed = true
    selling[Symbol.dispose]()
    await world[Symbol.asyncDispose]()
  }
  onTestFinished(close)
  const { sales } = till
  const ask = async (url: string, init: RequestInit = {}): Promise<Response> => world.api.request(url, init)

  /** The stock client in front of the API. `requests` are all that it sent. */
  const buyer = (wallet: Wallet) => {
    const requests: Request[] = []
    const client = new x402Client().register('eip155:*', new ExactEvmScheme(wallet)).setSpendControls({
      allowedAssets: [{ network: 'eip155:31337', asset, maxAmountPerPayment: '1000000' }],
    })
    const fetching = wrapFetchWithPayment(async (input, init) => {
      const request = new Request(input, init)
      requests.push(request.clone())
      return world.api.fetch(request)
    }, client)
    return {
      client,
      requests,
      buy: (url: string, init: RequestInit = {}) => fetching(`http://shop.test${url}`, init),
      /** A signed header for what a request costs. */
      sign: async (url: string, init: RequestInit = {}): Promise<string> => {
        const { x402HTTPClient } = await import('@x402/fetch')
        const http = new x402HTTPClient(client)
        const answer = await ask(url, init)
        const required = http.getPaymentRequiredResponse((name) => answer.headers.get(name))
        return http.encodePaymentSignatureHeader(await client.createPaymentPayload(required))[
          'PAYMENT-SIGNATURE'
        ]!
      },
      credit: () => sales.ledger.balance(`customer:x402-${wallet.address.toLowerCase()}`),
    }
  }
  const balance = async (address: Hex): Promise<bigint> => {
    const { encodeFunctionData } = await import('viem')
    const data = encodeFunctionData({ abi: balanceAbi, functionName: 'balanceOf', args: [address] })
    return BigInt(await readCall(chain, asset, data))
  }
  /** The ledger adds up, and says that as much came by x402 as the chain says. */
  const expectSound = () =>
    expect(sales.ledger.audit()).toEqual({ sum: 0n, unbalanced: [], wrongBalances: [] })
  return { world, clock, logged, sales, till, weather, ask, buyer, balance, expectSound, close, directory }
}
