import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { bundleForBrowser, chromiumHint, chromiumPath, openPage } from '#test/chromium.ts'
import { checkTypes, installClient } from '#test/installed.ts'
import { startSellingHub } from '#test/sales/whole-hub.ts'
import { until } from '#test/until.ts'
import { publishedWebhook } from '#test/webhook-vector.ts'

/** What a stranger's program does with the package, and tells of it. */
const program = `
import { HubProblem, LimitReached, openClient, type ReadingRow, verifyWebhook } from '@groundtruth/client'

const message = ${JSON.stringify(publishedWebhook)}
const webhook = (body: string) => {
  const { id, timestampS, signature, secret } = message
  const headers = { 'webhook-id': id, 'webhook-timestamp': \`\${timestampS}\`, 'webhook-signature': signature }
  const checked = verifyWebhook(new Headers(headers), body, { secret }, { nowMs: timestampS * 1000 })
  return checked.ok ? checked.events.map(({ data }) => data.station) : checked.reason
}

export const buyAndVerify = async (url: string, key: string, rpc: string): Promise<string> => {
  const hub = openClient({ url, key, maxMicroUsd: 200_000n, maxTotalMicroUsd: 900_000n })
  const stations: string[] = []
  for await (const { station } of hub.stations()) stations.push(station)
  // What is older than this has all come in: the quote and the purchase are of the same rows.
  const query = { station: stations, from: '-1m', to: '-3s' } as const
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
  const booked = leftMicroUsd === 1_000_000n - hub.spentMicroUsd
  const login = await hub.subscribe({ kind: 'mqtt', station: stations })
  const told: string = login.login.password
  // @ts-expect-error a login has no address that is called
  login.url
  const kept = await hub.subscription(login.id)
  await hub.unsubscribe(login.id)
  const subscribed = [told.length > 20, kept.kind, (await hub.subscriptions()).length]
  const file = await hub.export({ ...query, every: '1m' }, 'csv')
  let exported = 0
  for await (const part of file.parts()) exported += part.length
  const heard: string[] = []
  for (const after of [undefined, 'last']) {
    const behind = after === undefined ? {} : { after: heard[0]! }
    for await (const { id } of hub.stream({ station: stations[0]! }, behind)) {
      heard.push(id)
      break
    }
  }
  return JSON.stringify({
    stations: stations.length,
    refused,
    unspent,
    rows: rows.length,
    quoted: quote.rows,
    paid: bought.priceMicroUsd === quote.priceMicroUsd && bought.receipt?.rows === rows.length,
    booked,
    exported: exported === file.bytes && exported > 0,
    heard: new Set(heard).size,
    counted: counts.length > 0,
    proven: proof.ok && proof.report.readings.length > 0,
    answer: proof.pages.map(({ state }) => state),
    onChain: proof.report.onChain?.length,
    forged: forged.ok,
    wrong,
    subscribed,
    // Signed, and no reading; then not signed.
    webhooks: [webhook(message.body), webhook(message.body + ' ')],
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
    exported: true,
    heard: 2,
    counted: true,
    proven: true,
    onChain: expect.any(Number),
    forged: false,
    wrong: 'not-found',
    subscribed: [true, 'mqtt', 0],
    webhooks: ['events', 'signature'],
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
  writeFileSync(join(directory, 'wrong.ts'), program.replace('200_000n', '200_000'))
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

test.skipIf(chromiumPath === undefined)(
  `the packed client has nothing of Node in it, and buys and verifies in Chromium across origins${chromiumHint}`,
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
    const { script, inputs } = await bundleForBrowser(join(directory, 'page.ts'))
    expect(inputs.some((path) => path.includes('@groundtruth/client/dist/client/client.js'))).toBe(true)
    expect(inputs.filter((path) => path.startsWith('node:') || path.includes('.node.'))).toEqual([])
    const packages = inputs.map((path) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? 'own')
    expect([...new Set(packages)].sort()).toEqual([
      '@groundtruth/client',
      '@noble/ed25519',
      '@noble/hashes',
      'cbor-x',
      'own',
    ])
    expect(script.length).toBeLessThan(200 * 1024)
    console.log(`the client in a browser: ${Math.round(script.length / 1024)} KiB minified`)
    // Stands for a node that pages may ask, as public ones are.
    await using page = await openPage(script, async (_, body) => {
      const headers = { 'content-type': 'application/json' }
      return (await fetch(rpc, { method: 'POST', headers, body: new Uint8Array(body) })).text()
    })
    expectBought(JSON.parse(await page.told) as Record<string, unknown>)
  },
  180_000,
)
