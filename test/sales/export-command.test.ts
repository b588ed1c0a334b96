import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { run as serve } from '#gateway/market/serve.ts'
import { openExporter, sha256 } from '#test/exports-world.ts'
import { start } from '#test/kill/process.ts'
import { nowMs, stationB } from '#test/market-world.ts'
import { temporaryDirectory } from '#test/temporary.ts'

type Fetch = (request: Request) => Response | Promise<Response>

/** A hub that sells exports, on a socket; `between` sees requests before it and may answer for it. */
const openShop = async (
  between: (request: Request, hub: Fetch) => ReturnType<Fetch> = (request, hub) => hub(request),
) => {
  const world = await openExporter()
  const hub: Fetch = (request) => world.app.fetch(request)
  const stop = new AbortController()
  const bound = Promise.withResolvers<number>()
  const ended = serve(
    {
      app: { fetch: (request) => between(request, hub) },
      host: '127.0.0.1',
      port: 0,
      listening: bound.resolve,
    },
    stop.signal,
  )
  onTestFinished(async () => {
    stop.abort()
    await ended
  })
  const url = `http://127.0.0.1:${await bound.promise}`
  const buyer = world.signUp(10_000n)
  const output = join(temporaryDirectory(), 'rows.csv')
  const take = async (...args: string[]) => {
    const hour = ['--station', stationB, '--from', `${nowMs - 3_600_000}`, '--to', `${nowMs}`]
    const running = start(['export', '--hub', url, ...hour, '--format', 'csv', '--output', output, ...args], {
      GROUNDTRUTH_KEY: buyer.key!,
    })
    let out = ''
    running.child.stdout!.on('data', (chunk: Buffer) => (out += chunk))
    const code = await new Promise<number | null>((resolve) => running.child.once('close', resolve))
    return { code, said: running.said(), out }
  }
  return { ...world, buyer, output, take }
}

test('groundtruth export takes the whole file, and checks it against its hash and the receipt', async () => {
  let cut = 0
  const { take, output, buyer } = await openShop(async (request, hub) => {
    const response = await hub(request)
    // A connection that breaks in the middle, once.
    if (!request.url.endsWith('/readings.csv') || cut++ > 0) return response
    const bytes = new Uint8Array(await response.arrayBuffer())
    let pulls = 0
    const body = new ReadableStream({
      pull: async (controller) => {
        if (pulls++ === 0) return controller.enqueue(bytes.subarray(0, 100))
        await sleep(50)
        controller.error(new Error('cut'))
      },
    })
    return new Response(body, response)
  })
  const { code, said, out } = await take('--json')
  expect(code, said).toBe(0)
  expect(cut).toBe(2)
  const bytes = readFileSync(output)
  const summary = JSON.parse(out) as { id: string; sha256: string; receipt: string }
  expect(summary).toMatchObject({ rows: 60, bytes: bytes.length, priceMicroUsd: 470, output })
  expect([sha256(bytes), summary.receipt]).toEqual([summary.sha256, summary.id])
  expect(bytes.toString().trim().split('\r\n')).toHaveLength(61)
  expect(buyer.credit()).toBe(10_000n - 470n)
  expect(said).toContain(`100 % taken of ${bytes.length} bytes`)
})

test('an export that may cost more than allowed is not ordered, and one that is not what was promised fails', async () => {
  const { take, output, buyer, exports } = await openShop(async (request, hub) => {
    const response = await hub(request)
    if (!request.url.endsWith('/readings.csv')) return response
    const bytes = new Uint8Array(await response.arrayBuffer())
    bytes[50]! ^= 1
    return new Response(bytes, response)
  })
  const dear = await take('--max-usd', '0.0006')
  expect([dear.code, existsSync(output)]).toEqual([1, false])
  expect(dear.said).toContain('this can cost 0.000700 USD, more than 0.000600; nothing was ordered')
  expect([buyer.credit(), exports.list(buyer.customer, 10)]).toEqual([10_000n, []])

  const changed = await take()
  expect([changed.code, existsSync(output)]).toEqual([1, false])
  expect(changed.said).toContain('FAILED: the file is not what its SHA-256 says')
  const wrong = await take('--from', 'yesterday')
  expect(wrong.code).toBe(64)
})
