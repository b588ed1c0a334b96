import { parquetReadObjects } from 'hyparquet'
import { expect, test } from 'vitest'
import { diskFiles } from '#gateway/journal/files.ts'
import type { StoredReading } from '#gateway/store/store.ts'
import { openExporter } from './exports-world.ts'
import { nowMs, stationA, stationB } from './market-world.ts'

const rows = 300_000
const fromMs = nowMs - (rows / 2) * 1000

const reading = (at: number): StoredReading => ({
  station: at % 2 === 0 ? stationA : stationB,
  sensor: 'garden',
  model: 'm',
  seq: Math.floor(at / 20) + 1,
  place: Math.floor((at % 20) / 2),
  timeMs: fromMs + Math.floor(at / 2) * 1000,
  values: [
    { quantity: 1, scaled: 2000 + (at % 977) },
    ...(at % 3 === 0 ? [{ quantity: 2, scaled: 400 + (at % 500) }] : []),
  ],
  score: at % 10 === 0 ? 0.6 : 1,
  flags: at % 10 === 0 ? ['late'] : [],
  rules: '1',
})

test('300,000 rows are written a page at a time, and read back as the API gives them page by page', {
  timeout: 240_000,
}, async () => {
  let readSince = 0
  let mostRead = 0
  let reads = 0
  let writes = 0
  const { anybody, world } = await openExporter({
    sells: false,
    readings: [],
    storeBy: (store) => ({
      ...store,
      readings: async (...asked) => {
        const page = await store.readings(...asked)
        reads++
        readSince += page.length
        mostRead = Math.max(mostRead, readSince)
        return page
      },
    }),
    files: {
      ...diskFiles,
      open: async (path, how) => {
        const file = await diskFiles.open(path, how)
        const write: typeof file.write = async (bytes, position) => {
          writes++
          readSince = 0
          return file.write(bytes, position)
        }
        return { ...file, write }
      },
    },
  })
  for (let at = 0; at < rows; at += 10_000)
    await world.store.write(Array.from({ length: 10_000 }, (_, more) => reading(at + more)))
  const query = { from: `${fromMs}`, to: `${nowMs}` }
  const { shown, bytes } = await anybody.bought(query)
  expect(shown.rows).toBe(rows)
  // Pages of ten thousand and one, while what the page before was made of is on its way to the disk.
  expect(mostRead).toBeLessThanOrEqual(2 * 10_001)
  expect(writes).toBeGreaterThan(rows / 20_000)
  expect(reads).toBeGreaterThan(rows / 10_000)

  const file = await parquetReadObjects({
    file: new Uint8Array(bytes).buffer,
  })
  expect(file).toHaveLength(rows)
  let at = 0
  let cursor = ''
  do {
    const { json } = await anybody.ask(
      `/v1/readings?from=${fromMs}&to=${nowMs}&limit=10000${cursor && `&cursor=${cursor}`}`,
    )
    const page = json as {
      readings: {
        station: string
        time: string
        values: Record<string, number>
        quality: { score: number; flags: string[] }
        proof: { seq: number; place: number; status: string; batch?: number }
      }[]
      next: string | null
    }
    for (const row of page.readings) {
      const found = file[at++]!
      const { seq, place, status, batch } = row.proof
      if (
        found.station !== row.station ||
        (found.time as Date).toISOString() !== row.time ||
        found.temperature !== row.values.temperature ||
        (found.humidity ?? undefined) !== row.values.humidity ||
        found.score !== row.quality.score ||
        (found.flags ?? '') !== row.quality.flags.join(' ') ||
        Number(found.seq) !== seq ||
        Number(found.place) !== place ||
        found.status !== status ||
        (found.batch === null || found.batch === undefined ? undefined : Number(found.batch)) !== batch
      )
        return expect.fail(`row ${at - 1}: ${JSON.stringify(row)}`)
    }
    cursor = page.next ?? ''
  } while (cursor !== '')
  expect(at).toBe(rows)
})

test('what is more than a query gives is quoted as an export, and the offer holds for it', {
  timeout: 120_000,
}, async () => {
  const many = 100_010
  const { world, signUp, expectSound } = await openExporter({ readings: [] })
  for (let at = 0; at < many; at += 10_000)
    await world.store.write(
      Array.from({ length: Math.min(10_000, many - at) }, (_, more) => reading(at + more)),
    )
  const buyer = signUp(10_000_000n)
  const quoteOf = async (query: Record<string, string>) =>
    (await buyer.ask(`/v1/quotes?${new URLSearchParams(query)}`, { method: 'POST' })).json as {
      isForExport: boolean
      rows: number
      values: number
      priceMicroUsd: number
      offer: string
    }
  const query = { from: `${fromMs}`, to: `${nowMs}` }
  const quote = await quoteOf(query)
  expect(quote).toMatchObject({ isForExport: true, rows: many })
  expect(await quoteOf({ ...query, station: stationA })).toMatchObject({ isForExport: false, rows: many / 2 })
  const { shown } = await buyer.bought(query, { offer: quote.offer })
  expect(shown.mostMicroUsd).toBe(quote.priceMicroUsd)
  expect(shown.priceMicroUsd).toBeLessThan(quote.priceMicroUsd)
  expect(shown.rows).toBe(many)
  expectSound()
})
