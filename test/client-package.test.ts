import { execFile, spawn } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { expect, onTestFinished, test } from 'vitest'
import { checkTypes, installClient } from '#test/installed.ts'
import { startSellingHub } from '#test/sales/whole-hub.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { until } from '#test/until.ts'

/** What a stranger's program does with the package, and tells of it. */
const program = `
import { HubProblem, LimitReached, openClient, type ReadingRow } from '@groundtruth/client'

export const buyAndVerify = async (url: string, key: string, rpc: string): Promise<string> => {
  const hub = openClient({ url, key, maxMicroUsd: 20_000n, maxTotalMicroUsd: 100_000n })
  const stations: string[] = []
  for await (const { station } of hub.stations()) stations.push(station)
  // What is older than this has all come in: the quote and the purchase are of the same rows.
  const query = { station: stations, from: '-10m', to: '-3s' } as const
  const quote = await hub.quote(query)
  const refused = await hub
    .buy(query, { maxMicroUsd: quote.priceMicroUsd - 1n })
    .catch((error: unknown) => error instanceof LimitReached && error.limit)
  const unspent = hub.spentMicroUsd === 0n
  const bought = await quote.buy()
  const rows: ReadingRow[] = await bought.all()
  // @ts-expect-error a row has no such member
  rows[0]?.temperature
  const counts = (await Array.fromAsync(hub.readings({ ...query, every: '1m', fn: 'count' }))).map(
    ({ counts }) => Object.values(counts)[0]!,
  )
  const proof = await bought.proof({ waitMs: 60_000, rpc })
  const damaged = proof.bundle.slice()
  damaged[damaged.length >> 1]! ^= 1
  const forged = await hub.verify(damaged)
  const wrong = await hub.receipt('0'.repeat(32)).catch((error: unknown) => error instanceof HubProblem && error.slug)
  const { leftMicroUsd } = await hub.budget()
  return JSON.stringify({
    stations: stations.length,
    refused,
    unspent,
    rows: rows.length,
    quoted: quote.rows,
    paid: bought.priceMicroUsd === quote.priceMicroUsd && bought.receipt?.rows === rows.length,
    booked: leftMicroUsd === 1_000_000n - hub.spentMicroUsd,
    counted: counts.length > 0,
    proven: proof.ok && proof.report.readings.length > 0,
    answer: proof.pages.map(({ state }) => state),
    onChain: proof.report.onChain?.length,
    forged: forged.ok,
    wrong,
  })
}
`

const expectBought = (said: Record<string, unknown>): void => {
  expect(said).toMatchObject({
    stations: 1,
    refused: 'purchase',
    unspent: true,
    paid: true,
    booked: true,
    counted: true,
    proven: true,
    onChain: expect.any(Number),
    forged: false,
    wrong: 'not-found',
  })
  expect(said.rows).toBe(said.quoted)
  expect(said.rows).toBeGreaterThan(20)
  // The newest readings are in no batch yet.
  expect(['passed', 'warned']).toContain((said.answer as string[])[0])
}

const startHub = async () => {
  const hub = await startSellingHub()
  const rpc = await until('the chain', 60, async () => /"rpc":"(http:[^"]+)"/.exec(hub.said())?.[1])
  await until('readings to buy', 60, async () => {
    const quote = await fetch(`${hub.http}/v1/quotes?from=-10m&to=-3s`, { method: 'POST' })
    return ((await quote.json()) as { rows: number }).rows > 20 ? true : undefined
  })
  return { ...hub, rpc }
}

test('the packed client is installed without a network, has its types, and buys from a whole hub in Node', async () => {
  const [{ directory, files }, { http, key, rpc }] = await Promise.all([installClient(), startHub()])
  expect(files).toContain('README.md')
  expect(files.filter((path) => !/^(dist\/.+\.(d\.ts|js)|package\.json|README\.md)$/.test(path))).toEqual([])
  const manifest = readFileSync(join(directory, 'node_modules/@groundtruth/client/package.json'), 'utf8')
  expect(JSON.parse(manifest)).toMatchObject({ license: 'MIT', type: 'module' })
  writeFileSync(join(directory, 'program.ts'), program)
  await checkTypes(directory, 'program.ts')
  writeFileSync(join(directory, 'wrong.ts'), program.replace('20_000n', '20_000'))
  await expect(checkTypes(directory, 'wrong.ts')).rejects.toThrow(
    "'number' is not assignable to type 'bigint'",
  )
  writeFileSync(
    join(directory, 'run.ts'),
    `import { buyAndVerify } from './program.ts'\nconsole.log(await buyAndVerify(${JSON.stringify(http)}, ${JSON.stringify(key)}, ${JSON.stringify(rpc)}))\n`,
  )
  const { stdout } = await promisify(execFile)(process.execPath, [join(directory, 'run.ts')])
  expectBought(JSON.parse(stdout) as Record<string, unknown>)
}, 180_000)

const chromium = '/usr/bin/chromium'

/** A page of its own origin with a script, and a door to a node that pages may ask; what it posts is the answer. */
const servePage = async (script: string, rpc: string) => {
  const told = Promise.withResolvers<string>()
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks)
    if (request.url === '/told') {
      told.resolve(body.toString())
      return response.end()
    }
    if (request.url === '/rpc') {
      const headers = { 'content-type': 'application/json' }
      const answer = await fetch(rpc, { method: 'POST', headers, body })
      return response.writeHead(answer.status, headers).end(await answer.text())
    }
    const isScript = request.url === '/page.js'
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html')
    response.end(isScript ? script : '<!doctype html><script type="module" src="/page.js"></script>')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, told: told.promise }
}

/** Opens a page in a browser without a window until the test ends. */
const browse = (url: string): void => {
  const browser = spawn(
    chromium,
    [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
      ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
      ...['--remote-debugging-port=0', `--user-data-dir=${temporaryDirectory()}`],
      url,
    ],
    { stdio: 'ignore', detached: true },
  )
  // The whole group: a browser is many processes.
  onTestFinished(() => void process.kill(-browser.pid!, 'SIGKILL'))
}

test.skipIf(!existsSync(chromium))(
  'the packed client has nothing of Node in it, and buys and verifies in Chromium across origins',
  async () => {
    const [{ directory }, { http, key, rpc }] = await Promise.all([installClient(), startHub()])
    writeFileSync(join(directory, 'program.ts'), program)
    writeFileSync(
      join(directory, 'page.ts'),
      `import { buyAndVerify } from './program.ts'
      const said = await buyAndVerify(${JSON.stringify(http)}, ${JSON.stringify(key)}, location.origin + '/rpc')
        .catch((error) => JSON.stringify({ failed: error.stack }))
      await fetch('/told', { method: 'POST', body: said })`,
    )
    const { outputFiles, metafile } = await build({
      entryPoints: [join(directory, 'page.ts')],
      bundle: true,
      write: false,
      platform: 'browser',
      format: 'esm',
      target: 'es2022',
      minify: true,
      metafile: true,
      logLevel: 'silent',
    })
    const inputs = Object.keys(metafile.inputs)
    expect(inputs.some((path) => path.includes('@groundtruth/client/dist/client/client.js'))).toBe(true)
    expect(inputs.filter((path) => path.startsWith('node:') || path.includes('.node.'))).toEqual([])
    const { text } = outputFiles[0]!
    console.log(`the client in a browser: ${Math.round(text.length / 1024)} KiB minified`)
    const { url, told } = await servePage(text, rpc)
    browse(url)
    expectBought(JSON.parse(await told) as Record<string, unknown>)
  },
  180_000,
)
