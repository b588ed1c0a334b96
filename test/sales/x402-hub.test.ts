import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ExactEvmScheme } from '@x402/evm/exact/client'
import { wrapFetchWithPayment, x402Client, x402HTTPClient } from '@x402/fetch'
import { connectAsync } from 'mqtt'
import { type Hex, hexToBytes } from 'viem'
import { expect, test } from 'vitest'
import { accountOf } from '#gateway/anchor/account.ts'
import { httpChain } from '#gateway/anchor/http.ts'
import { loadConfig } from '#gateway/config.ts'
import { startHub } from '#gateway/hub.ts'
import { encodeMint } from '#gateway/sales/token/token.ts'
import { accountNumber, walletOf } from '#test/anchor-world.ts'
import { newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const settings = {
  GROUNDTRUTH_HUB__HTTP__PORT: '0',
  GROUNDTRUTH_HUB__BROKER__PORT: '0',
  GROUNDTRUTH_HUB__CHAIN__PORT: '0',
  GROUNDTRUTH_HUB__MARKET__SELL: 'true',
  GROUNDTRUTH_HUB__MARKET__X402__ENABLED: 'true',
}

test('a whole hub sells by x402 with nothing but its own chain, knows token and credit after a restart, and gives nothing away', async () => {
  const directory = temporaryDirectory()
  const signer = newSigner()
  const start = async () => {
    const stop = new AbortController()
    const { hub: config } = loadConfig({ env: { ...settings, GROUNDTRUTH_DATA: directory } })
    const hub = await startHub(
      {
        config,
        network: 'testnet',
        directory,
        signer,
        version: '0.1.0',
        log: () => {},
        step: (_, work) => work(),
      },
      stop.signal,
    )
    return {
      ...hub,
      end: async () => {
        stop.abort()
        await hub.done
      },
    }
  }
  const wallet = accountNumber(900)
  const topUp = {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ amountMicroUsd: 20_000 }),
  }
  const tokenOf = async (url: string): Promise<Hex> => {
    const answer = await fetch(`${url}/v1/topup`, topUp)
    expect(answer.status).toBe(402)
    const http = new x402HTTPClient(new x402Client())
    const { resource, accepts } = http.getPaymentRequiredResponse((name) => answer.headers.get(name))
    expect(resource.url).toBe(`${url}/v1/topup`)
    return accepts[0]!.asset as Hex
  }
  const buy = async (url: string, asset: Hex) => {
    const client = new x402Client()
      .register('eip155:*', new ExactEvmScheme(wallet))
      .setSpendControls({ allowedAssets: [{ network: 'eip155:31337', asset }] })
    const answer = await wrapFetchWithPayment(fetch, client)(`${url}/v1/topup`, topUp)
    expect(answer.status).toBe(201)
    return ((await answer.json()) as { creditMicroUsd: number }).creditMicroUsd
  }

  const first = await start()
  const asset = await tokenOf(first.httpUrl)
  const minter = accountOf(hexToBytes(`0x${readFileSync(join(directory, 'x402.key'), 'utf8').trim()}`))
  await walletOf(httpChain({ url: first.rpcUrl! }), minter).send(asset, encodeMint(wallet.address, 50_000n))
  expect(await buy(first.httpUrl, asset)).toBe(20_000)
  await first.end()

  const second = await start()
  expect(await tokenOf(second.httpUrl)).toBe(asset)
  expect(await buy(second.httpUrl, asset)).toBe(40_000)
  // What is sold is not on the broker for everybody.
  await expect(connectAsync(second.mqttUrl, { reconnectPeriod: 0 })).rejects.toThrow('Not authorized')
  await second.end()
}, 60_000)
