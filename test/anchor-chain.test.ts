import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Chain, ChainUnreachable, RpcError } from '#gateway/anchor/chain.ts'
import { type EmbeddedChain, openEmbeddedChain } from '#gateway/anchor/embedded.ts'
import { type Facade, openFacade } from '#gateway/anchor/facade.ts'
import { httpChain } from '#gateway/anchor/http.ts'
import { readBlock, readHead, readNonce } from '#gateway/anchor/node.ts'
import { openJournal } from '#gateway/journal/open.ts'
import { accountNumber, makeDirectory, openChainIn, projectRoot } from '#test/anchor-world.ts'
import { chainContract } from '#test/contract/chain.ts'

const directory = makeDirectory()
afterAll(() => directory.remove())

const sendTransfers = async (chain: Chain, count: number): Promise<void> => {
  const account = accountNumber(0)
  const nonce = await readNonce(chain, account.address, 'latest')
  for (let at = nonce; at < nonce + count; at++) {
    const raw = await account.signTransaction({
      type: 'eip1559',
      chainId: 31337,
      nonce: at,
      to: accountNumber(501).address,
      value: 1n,
      gas: 21_000n,
      maxFeePerGas: 10n ** 11n,
      maxPriorityFeePerGas: 1n,
    })
    await chain.request({ method: 'eth_sendRawTransaction', params: [raw] })
  }
}

const blockHashes = async (chain: Chain): Promise<string[]> => {
  const head = await readHead(chain)
  const blocks = Array.from({ length: head.number + 1 }, (_, number) => readBlock(chain, number))
  return (await Promise.all(blocks)).map((block) => block!.hash)
}

describe('the embedded chain', () => {
  let chain: EmbeddedChain
  const path = join(directory.path, 'main')
  beforeAll(async () => {
    chain = await openChainIn(path)
  })
  afterAll(() => chain.close())

  chainContract(() => chain)

  test.each([
    'hardhat_setBalance',
    'evm_increaseTime',
    'eth_sendTransaction',
    'eth_newFilter',
    'debug_traceTransaction',
  ])('refuses %s', async (method) => {
    await expect(chain.request({ method, params: [] })).rejects.toMatchObject({ code: -32601 })
  })

  test('has the same blocks after a restart, and goes on with the next one', async () => {
    await sendTransfers(chain, 5)
    const before = await blockHashes(chain)
    const { transactions } = chain
    await chain.close()
    await expect(chain.request({ method: 'eth_chainId' })).rejects.toThrow(ChainUnreachable)
    chain = await openChainIn(path, { startMs: 1_000_000_000_000 })
    expect(chain.transactions).toBe(transactions)
    expect(await blockHashes(chain)).toEqual(before)
    await sendTransfers(chain, 1)
    expect((await blockHashes(chain)).slice(0, -1)).toEqual(before)
  })

  test('is opened with no other key than the one it was made for', async () => {
    await chain.close()
    const journal = await openJournal({ directory: path })
    const other = { address: accountNumber(9).address, balanceWei: 1n }
    await expect(
      openEmbeddedChain({ journal, projectRoot, funded: [other], nowMs: Date.now }),
    ).rejects.toThrow(/was made for 0x.*Put the old key back/)
    await journal.close()
    chain = await openChainIn(path)
  })

  test('warns of its size only when it is large', async () => {
    await chain.close()
    const journal = await openJournal({ directory: path })
    const warnings: number[] = []
    const funded = [{ address: accountNumber(0).address, balanceWei: 10n ** 21n }]
    const onGrowth = (count: number) => warnings.push(count)
    const opened = await openEmbeddedChain({ journal, projectRoot, funded, nowMs: Date.now, onGrowth })
    await opened.close()
    await journal.close()
    expect(warnings).toEqual([])
    chain = await openChainIn(path)
  })
})

describe('the embedded chain after a crash', () => {
  test('keeps every transaction it answered before it was killed, and opens with a torn tail', async () => {
    const path = join(directory.path, 'killed')
    const child = spawn(
      process.execPath,
      [fileURLToPath(new URL('anchor-child.ts', import.meta.url)), path],
      { stdio: ['ignore', 'pipe', 'inherit'], cwd: projectRoot },
    )
    const answered: string[] = []
    for await (const line of createInterface(child.stdout)) {
      answered.push(line)
      if (answered.length === 12) child.kill('SIGKILL')
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    expect(child.signalCode).toBe('SIGKILL')

    const chain = await openChainIn(path)
    const hashes = await blockHashes(chain)
    expect(hashes.slice(1, 1 + answered.length)).toEqual(answered)
    await chain.close()

    // What a power cut leaves of the last record: its first half, then what the file held before.
    const segment = join(path, readdirSync(path).find((name) => name.endsWith('.open'))!)
    const bytes = readFileSync(segment)
    const tornAt = bytes.indexOf(Buffer.from(hashes.at(-1)!.slice(2), 'hex')) + 40
    writeFileSync(segment, bytes.fill(0, tornAt, tornAt + 100))
    const torn = await openChainIn(path)
    expect(await blockHashes(torn)).toEqual(hashes.slice(0, -1))
    await sendTransfers(torn, 1)
    expect(torn.transactions).toBe(hashes.length - 1)
    await torn.close()
  })

  test('refuses a journal whose transactions give other blocks', async () => {
    const path = join(directory.path, 'diverged')
    const journal = await openJournal({ directory: path })
    const funded = [{ address: accountNumber(0).address, balanceWei: 10n ** 21n }]
    const options = { journal, projectRoot, funded, nowMs: () => 1_780_000_000_000 }
    const chain = await openEmbeddedChain(options)
    await sendTransfers(chain, 2)
    await chain.close()
    const last = (await journal.get(2))!
    // The newest record once more, with another block hash.
    const other = Uint8Array.from(last)
    other[9]! ^= 1
    journal.append(other)
    await journal.commit()
    await expect(openEmbeddedChain(options)).rejects.toThrow(/diverged at transaction 3 of 3/)
    await journal.close()
  })
})

describe('the door of the embedded chain', () => {
  let chain: EmbeddedChain
  let facade: Facade
  beforeAll(async () => {
    chain = await openChainIn(join(directory.path, 'facade'))
    facade = await openFacade(chain, { host: '127.0.0.1', port: 0 })
  })
  afterAll(async () => {
    await facade.close()
    await chain.close()
  })

  describe('through HTTP', () => {
    chainContract(() => httpChain({ url: facade.url }))
  })

  const post = (body: string, headers: Record<string, string> = { 'content-type': 'application/json' }) =>
    fetch(facade.url, { method: 'POST', body, headers })
  const call = (id: number, method = 'eth_chainId') => ({ jsonrpc: '2.0', id, method, params: [] })

  test('answers a batch in order, each request on its own', async () => {
    const response = await post(
      JSON.stringify([call(1), call(2, 'evm_mine'), 5, { ...call(4), params: 'no' }]),
    )
    expect(await response.json()).toEqual([
      { jsonrpc: '2.0', id: 1, result: '0x7a69' },
      { jsonrpc: '2.0', id: 2, error: { code: -32601, message: 'evm_mine is not answered here' } },
      { jsonrpc: '2.0', id: null, error: { code: -32600, message: 'a request is an object' } },
      { jsonrpc: '2.0', id: 4, error: { code: -32602, message: 'params is a list' } },
    ])
  })

  test.each([
    ['a batch of none', '[]', 400],
    ['a batch of 51', JSON.stringify(Array.from({ length: 51 }, (_, id) => call(id))), 400],
    ['what is not JSON', '{', 400],
    ['a body of 300 kB', ' '.repeat(300_000), 413],
  ])('refuses %s', async (_, body, status) => {
    expect((await post(body)).status).toBe(status)
  })

  test('refuses what a web page could send without asking', async () => {
    expect((await post('{}', { 'content-type': 'text/plain' })).status).toBe(415)
    expect((await fetch(facade.url)).status).toBe(405)
  })

  test('says which port is taken', async () => {
    const { hostname, port } = new URL(facade.url)
    await expect(openFacade(chain, { host: hostname, port: Number(port) })).rejects.toThrow(
      /cannot listen on 127\.0\.0\.1:\d+ .*Set another port/,
    )
  })
})

describe('a chain behind HTTP', () => {
  const serve = async (listener: RequestListener) => {
    const server = createServer(listener)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return {
      host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
      async [Symbol.asyncDispose]() {
        server.closeAllConnections()
        server.close()
        await once(server, 'close')
      },
    }
  }
  const ask = { method: 'eth_chainId' }

  test.each([
    ['no JSON', 200, '<html>'],
    ['no object', 200, '7'],
    ['another id', 200, '{"jsonrpc":"2.0","id":99,"result":"0x1"}'],
    ['neither result nor error', 200, '{"jsonrpc":"2.0","id":1}'],
    ['a failing gateway', 502, '{}'],
    ['too much', 200, JSON.stringify({ jsonrpc: '2.0', id: 1, result: 'x'.repeat(3000) })],
  ])('that answers %s counts as unreachable', async (_, status, body) => {
    await using server = await serve((_request, response) => response.writeHead(status).end(body))
    const chain = httpChain({ url: `http://${server.host}`, maxAnswerBytes: 2000 })
    await expect(chain.request(ask)).rejects.toThrow(ChainUnreachable)
  })

  test('that does not answer in time, or at all, counts as unreachable', async () => {
    await using server = await serve(() => {})
    const silent = httpChain({ url: `http://${server.host}`, timeoutMs: 50 })
    await expect(silent.request(ask)).rejects.toThrow(/did not answer eth_chainId within 50 ms/)
    await server[Symbol.asyncDispose]().catch(() => undefined)
    await expect(httpChain({ url: `http://${server.host}` }).request(ask)).rejects.toThrow(ChainUnreachable)
  }, 10_000)

  test('hands on the error of the node with code and data, also under an HTTP error', async () => {
    const error = { code: 3, message: 'execution reverted', data: '0x1234' }
    await using server = await serve((_request, response) =>
      response.writeHead(400).end(JSON.stringify({ jsonrpc: '2.0', id: 1, error })),
    )
    const failure = await httpChain({ url: `http://${server.host}` })
      .request(ask)
      .catch((thrown) => thrown)
    expect(failure).toBeInstanceOf(RpcError)
    expect(failure).toMatchObject(error)
  })

  test('sends user and password, and shows neither them nor the path to anyone', async () => {
    let authorization: string | undefined
    await using server = await serve((request, response) => {
      authorization = request.headers.authorization
      const error = { code: -32000, message: `rate limit for ${request.url}` }
      response.end(JSON.stringify({ jsonrpc: '2.0', id: 1, error }))
    })
    const chain = httpChain({ url: `http://me:s%C3%A9cret@${server.host}/v3/0123456789abcdef?key=topsecret` })
    const failure = await chain.request(ask).catch((thrown: Error) => thrown)
    expect(authorization).toBe(`Basic ${Buffer.from('me:sécret').toString('base64')}`)
    expect(chain.name).toBe(`http://${server.host}`)
    expect((failure as Error).message).toBe('rate limit for …')
  })

  test('is never followed elsewhere', async () => {
    await using server = await serve((_request, response) =>
      response.writeHead(307, { location: 'http://127.0.0.1:9/' }).end(),
    )
    await expect(httpChain({ url: `http://${server.host}` }).request(ask)).rejects.toThrow(ChainUnreachable)
  })

  test('must have an http or https address', () => {
    for (const url of ['ws://127.0.0.1:1', 'file:///etc/passwd', 'nonsense'])
      expect(() => httpChain({ url })).toThrow(/not an http:\/\/ or https:\/\/ URL/)
  })
})
