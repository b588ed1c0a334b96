import { parquetReadObjects } from 'hyparquet'
import { expect, test } from 'vitest'
import { verifyBundle } from '#gateway/verify/verify.ts'
import { type Shown, sha256 } from '#test/exports-world.ts'
import { startSellingHub } from '#test/sales/whole-hub.ts'
import { until } from '#test/until.ts'

test('a whole hub makes an export, keeps it over its death, and proves it whole and in parts', {
  timeout: 120_000,
}, async () => {
  const hub = await startSellingHub()
  const headers = { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' }
  const get = (path: string) => fetch(`${hub.http}${path}`, { headers })
  await until('readings', 60, async () => {
    const quote = await fetch(`${hub.http}/v1/quotes?from=-10m`, { method: 'POST', headers })
    return ((await quote.json()) as { rows: number }).rows > 20 ? true : undefined
  })
  const order = { method: 'POST', headers: { ...headers, 'idempotency-key': 'order-12345' } }
  const body = JSON.stringify({ from: '-10m' })
  const ordered = await fetch(`${hub.http}/v1/exports`, { ...order, body })
  expect(ordered.status, await ordered.clone().text()).toBe(202)
  const { id } = (await ordered.json()) as Shown
  await hub.restart('SIGKILL')
  const shown = await until('the export', 60, async () => {
    const one = (await (await get(`/v1/exports/${id}`)).json()) as Shown
    return one.state === 'done' ? one : undefined
  })
  const again = await fetch(`${hub.http}/v1/exports`, { ...order, body })
  expect(((await again.json()) as Shown).id).toBe(id)

  const file = await get(shown.files[0]!.href)
  const bytes = new Uint8Array(await file.arrayBuffer())
  expect(sha256(bytes)).toBe(shown.files[0]!.sha256)
  const rows = await parquetReadObjects({ file: bytes.buffer })
  expect(rows).toHaveLength(shown.rows)
  const credit = ((await (await get('/v1/budget')).json()) as { creditMicroUsd: number }).creditMicroUsd
  expect(credit).toBe(1_000_000 - shown.priceMicroUsd!)

  const bundle = async (search: string) =>
    until('the proof', 60, async () => {
      const answer = await get(`/v1/receipts/${id}/bundle${search}`)
      return answer.ok ? verifyBundle(new Uint8Array(await answer.arrayBuffer())) : undefined
    })
  const whole = await bundle('')
  expect([whole.ok, whole.failure, whole.sale?.id]).toEqual([true, null, id])
  const [from, to] = [Date.parse(shown.from), Date.parse(shown.to)]
  const part = await bundle(`?from=${to - 60_000}&to=${to}`)
  expect([part.ok, part.scope?.fromMs, part.scope?.toMs, part.sale?.id]).toEqual([true, to - 60_000, to, id])
  for (const search of [`?from=${from - 1}`, `?to=${to + 1}`, `?from=${to}`]) {
    const beyond = await get(`/v1/receipts/${id}/bundle${search}`)
    expect(beyond.status, search).toBe(400)
  }
})
