/** Whether the proof of a purchase would show what was not bought. The evidence here is empty: who may see it gets a 404. */
import { expect, test } from 'vitest'
import type { StoredReading } from '#gateway/store/store.ts'
import { anHour, nowMs, stationA } from '#test/market-world.ts'
import { openShop } from './shop.ts'

const span = `from=${nowMs - 3_600_000}&to=${nowMs}`

/** 600 readings of one sensor, one in five seconds; each tenth is a good one. */
const readings = (): StoredReading[] =>
  Array.from({ length: 600 }, (_, at) => ({
    ...anHour()[0]!,
    timeMs: nowMs - 3_000_000 + at * 5000,
    seq: 1 + Math.floor(at / 50),
    place: at % 50,
    score: at % 10 === 9 ? 1 : 0.4,
    values: [{ quantity: 1, scaled: 2000 + at }],
  }))

const openBuyer = async () => {
  const shop = await openShop(undefined, undefined, readings())
  const { ask } = await shop.signUp(1_000_000n)
  return async (query: string): Promise<{ rows: number; proof: number }> => {
    const bought = await ask(query)
    expect(bought.status).toBe(200)
    const { readings, buckets } = (await bought.json()) as { readings?: unknown[]; buckets?: unknown[] }
    const receipt = bought.headers.get('receipt-id')
    const proof = await ask(`/v1/receipts/${receipt}/bundle`)
    if (proof.status === 402)
      expect(await proof.json()).toMatchObject({
        type: '/problems/payment-required',
        detail: expect.stringContaining('buy those that it is made of'),
      })
    return { rows: (readings ?? buckets)!.length, proof: proof.status }
  }
}

test('a few values that are made of hundreds do not show these in their proof', async () => {
  const buy = await openBuyer()
  expect(await buy(`/v1/readings?${span}&every=2h&fn=mean`)).toEqual({ rows: 1, proof: 402 })
  expect(await buy(`/v1/readings?${span}&every=10m`)).toMatchObject({ proof: 402 })
  // Intervals that are hardly longer than the sensor's own are shown with what they are made of.
  expect(await buy(`/v1/readings?${span}&every=10s`)).toMatchObject({ proof: 404 })
})

test('whole readings are shown, and so are the good ones among many that were not wanted', async () => {
  const buy = await openBuyer()
  expect(await buy(`/v1/readings?${span}`)).toMatchObject({ proof: 404 })
  expect(await buy(`/v1/readings?${span}&min_quality=0.9`)).toEqual({ rows: 60, proof: 404 })
  expect(await buy(`/v1/readings?${span}&min_quality=0.9&every=2h`)).toMatchObject({ rows: 1, proof: 404 })
  expect(await buy(`/v1/latest?station=${stationA}`)).toMatchObject({ proof: 404 })
})
