import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createContext, runInContext } from 'node:vm'
import { build } from 'esbuild'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { RpcError, type RpcRequest } from '#gateway/anchor/chain.ts'
import { buildBundle } from '#gateway/market/bundle.ts'
import { type VerifyOptions, verifyCommand } from '#gateway/verify/cli.ts'
import { type Report, verifyBundle } from '#gateway/verify/verify.ts'
import { openWorld } from './bundle-world.ts'
import { signerOf, weather } from './reading/samples.ts'
import { temporaryDirectory } from './temporary.ts'

const startMs = 1_763_700_000_000
const world = openWorld()
const station = world.addStation(signerOf(21))
for (let at = 0; at < 6; at++) world.sign(station, weather(4, startMs + at * 120_000 + 1000, 'bme280', at))
world.closeBatch()
world.anchor(1)

let bytes: Uint8Array
beforeAll(async () => {
  const built = await buildBundle(world.deps, {
    stations: [station],
    fromMs: startMs + 120_000,
    toMs: startMs + 360_000,
  })
  bytes = built.ok ? built.bytes : expect.fail(built.detail)
})

const fileOf = (content: Uint8Array): string => {
  const file = join(temporaryDirectory(), 'proof.cbor')
  writeFileSync(file, content)
  return file
}

const run = async (
  options: Partial<VerifyOptions> & { file: string },
): Promise<{ code: number; text: string }> => {
  let text = ''
  const code = await verifyCommand({ json: false, ...options }, { write: (more) => (text += more) })
  return { code, text }
}

/** The world's chain behind HTTP on a free port of loopback, or a server that answers as told. */
const serve = async (answer?: (request: RpcRequest) => string): Promise<string> => {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const call = JSON.parse(Buffer.concat(chunks).toString()) as RpcRequest & { id: number }
    if (answer) return response.end(answer(call))
    try {
      const result = await world.chain.request(call)
      response.end(JSON.stringify({ jsonrpc: '2.0', id: call.id, result }))
    } catch (error) {
      const message = error instanceof RpcError ? error.message : 'internal'
      response.end(JSON.stringify({ jsonrpc: '2.0', id: call.id, error: { code: -32000, message } }))
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

describe('groundtruth verify', () => {
  it('says line by line what was checked, and ends with 0', async () => {
    const { code, text } = await run({ file: fileOf(bytes) })
    expect(code).toBe(0)
    const lines = text.trimEnd().split('\n')
    expect(lines.filter((line) => line.startsWith('✓ '))).toHaveLength(11)
    expect(lines[4]).toBe('✓ signatures  4 Ed25519 signatures by these keys for network test')
    expect(lines.slice(-2)).toEqual([
      "VERIFIED: 8 readings proven, from the sensor's station to the root.",
      'Whether the root is on the chain was not asked: give the address of a node with --rpc.',
    ])
  })

  it('with --rpc asks the chain', async () => {
    const { code, text } = await run({ file: fileOf(bytes), rpc: await serve() })
    expect(code).toBe(0)
    expect(text).toContain(
      '✓ chain       the node serves chain 31337\n✓ contract    1 root held by the contract',
    )
    expect(text.trimEnd().split('\n').at(-1)).toBe(
      "VERIFIED: 8 readings proven, from the sensor's station to the root on the chain.",
    )
  })

  it('ends with 1 and names the first thing that fails', async () => {
    const changed = bytes.slice()
    changed[600]! ^= 1
    const { code, text } = await run({ file: fileOf(changed), rpc: 'http://127.0.0.1:1' })
    expect(code).toBe(1)
    expect(text).toMatch(/^✗ (envelopes|signatures) {2}.*\(batch 1, leaf 0\).*$/m)
    expect(text.trimEnd().split('\n').at(-1)).toMatch(/^FAILED: .*leaf 0/)
  })

  it('ends with 1 when the chain does not have the root', async () => {
    const other = await serve(({ method }) =>
      JSON.stringify({ result: method === 'eth_chainId' ? '0x7a69' : `0x${'0'.repeat(192)}` }),
    )
    const { code, text } = await run({ file: fileOf(bytes), rpc: other })
    expect(code).toBe(1)
    expect(text).toMatch(/FAILED: contract 0xc0.* does not hold root 0x.*\.\n$/)
    const reverting = await serve(({ method }) =>
      JSON.stringify(
        method === 'eth_chainId' ? { result: '0x7a69' } : { error: { message: 'execution reverted' } },
      ),
    )
    const reverted = await run({ file: fileOf(bytes), rpc: reverting })
    expect(reverted).toMatchObject({
      code: 1,
      text: expect.stringContaining('there is no anchor contract at 0xc0'),
    })
  })

  it('ends with 69 and a next step when the node cannot be asked', async () => {
    const cases: readonly (readonly [string, string])[] = [
      ['http://127.0.0.1:1', 'the node at http://127.0.0.1:1 cannot be asked'],
      ['ftp://example.org', '"ftp://example.org" is no http:// or https:// address'],
      [await serve(() => '<html>'), 'does not speak JSON-RPC (HTTP status 200)'],
      [await serve(() => 'null'), 'does not speak JSON-RPC'],
      [await serve(() => `"${'x'.repeat(5 << 20)}"`), 'with more than 4194304 bytes'],
      [await serve(() => '{"error":{"message":"go away"}}'), 'refused eth_chainId: go away'],
    ]
    for (const [rpc, words] of cases) {
      const { code, text } = await run({ file: fileOf(bytes), rpc })
      expect(text).toContain(words)
      expect(code).toBe(69)
    }
  })

  it('never shows the password of a node', async () => {
    const { text } = await run({ file: fileOf(bytes), rpc: 'http://user:secret@127.0.0.1:1/key' })
    expect(text).toContain('the node at http://127.0.0.1:1 cannot be asked')
    expect(text).not.toMatch(/secret|user|key/)
  })

  it('ends with 66 where there is no file to read', async () => {
    const missing = join(temporaryDirectory(), 'none.cbor')
    expect(await run({ file: missing })).toEqual({
      code: 66,
      text: `${missing} cannot be read: there is no such file. Name a bundle file, as GET /v1/bundle gives it.\n`,
    })
    expect(await run({ file: temporaryDirectory() })).toMatchObject({ code: 66 })
    expect(await run({ file: fileOf(new Uint8Array(0)) })).toMatchObject({ code: 1 })
  })

  it('with --json gives everything to a program, the readings too', async () => {
    const { code, text } = await run({ file: fileOf(bytes), rpc: await serve(), json: true })
    expect(code).toBe(0)
    const answer = JSON.parse(text)
    expect(answer).toMatchObject({ ok: true, complete: true, failure: null, network: 'test' })
    expect(answer.readings).toHaveLength(24)
    expect(answer.readings[0]).toMatchObject({
      station,
      sensor: 'bme280',
      quantity: 'temperature',
      unit: '°C',
      seq: 2,
    })
    expect(answer.onChain).toHaveLength(1)
    const changed = bytes.slice()
    changed[600]! ^= 1
    const failed = await run({ file: fileOf(changed), json: true })
    expect(failed.code).toBe(1)
    expect(JSON.parse(failed.text)).toMatchObject({ ok: false, readings: [], failure: { batch: 1, leaf: 0 } })
  })
})

describe('the library in a browser', () => {
  it('bundles without anything of Node and answers as it does in Node', async () => {
    const entry = new URL('../gateway/verify/verify.ts', import.meta.url)
    const result = await build({
      entryPoints: [entry.pathname],
      bundle: true,
      write: false,
      platform: 'browser',
      conditions: ['browser'],
      format: 'iife',
      globalName: 'groundtruth',
      target: 'es2024',
      minify: true,
      metafile: true,
      logLevel: 'silent',
    })
    const inputs = Object.keys(result.metafile.inputs)
    expect(inputs.filter((path) => path.startsWith('node:') || path.includes('.node.ts'))).toEqual([])
    const code = result.outputFiles[0]!.text
    console.log(`verify in a browser: ${Math.round(code.length / 1024)} KiB minified`)
    // What a browser has besides the language; no require, no process, no Buffer, no fetch.
    const page = createContext({ TextDecoder, TextEncoder })
    runInContext(code, page)
    const inPage = (input: Uint8Array): Report => {
      const call = `JSON.stringify(groundtruth.verifyBundle(Uint8Array.from(${JSON.stringify([...input])})))`
      return JSON.parse(runInContext(call, page) as string) as Report
    }
    expect(inPage(bytes)).toEqual(JSON.parse(JSON.stringify(verifyBundle(bytes))))
    expect(inPage(bytes)).toMatchObject({ ok: true, complete: true })
    for (const at of [40, 300, 600, 900, bytes.length - 40]) {
      const changed = bytes.slice()
      changed[at]! ^= 4
      expect(inPage(changed)).toEqual(JSON.parse(JSON.stringify(verifyBundle(changed))))
      expect(inPage(changed).ok).toBe(false)
    }
    expect(runInContext('typeof groundtruth.verifyOnChain', page)).toBe('function')
  })
})
