import { describe, expect, test } from 'vitest'
import { type NewExport, openExportBook } from '#gateway/market/exports/book.ts'
import { percentOf } from '#gateway/market/exports/worker.ts'
import { formats } from '#gateway/market/formats/all.ts'
import { toHex } from '#gateway/reading/bytes.ts'
import { verifySale } from '#gateway/reading/sale.ts'
import { StoreUnavailable } from '#gateway/store/store.ts'
import { dayMs, hub, network, openExporter } from './exports-world.ts'
import { anHour, nowMs, stationA, stationB } from './market-world.ts'
import { until } from './until.ts'

const hour = { from: `${nowMs - 3_600_000}`, to: `${nowMs}` }
const ofB = { ...hour, station: stationB }
const search = (query: object): string => `${new URLSearchParams(query as Record<string, string>)}`

// B has a reading of one value each minute: those of the last quarter of an hour cost 10, the others 5, and the base 100.
// Its first is scored 0.125, below any tier. What is held is for the hour at its freshest and best.
const priceOfB = 100n + 15n * 10n + 44n * 5n
const heldForB = 100n + 60n * 10n

describe('an export', () => {
  test.each(formats.map(({ name }) => [name]))(
    'in %s holds what all pages of the query hold',
    async (format) => {
      const { anybody } = await openExporter({ sells: false })
      const query = { ...hour, min_quality: 0.5 }
      const { shown, bytes } = await anybody.bought({ ...query, format })
      expect(shown).toMatchObject({ rows: 178, percent: 100, priceMicroUsd: 0, receipt: null })
      const whole = await anybody.ask(`/v1/readings?${search(query)}&limit=10000&format=${format}`)
      expect(Buffer.from(bytes).equals(whole.bytes)).toBe(true)
    },
  )

  test('of intervals holds them all', async () => {
    const { anybody } = await openExporter({ sells: false })
    const query = { ...hour, every: '90s', fn: 'max', quantity: ['temperature', 'pm2_5'] }
    const { bytes } = await anybody.bought({ ...query, format: 'json' })
    const pages = await anybody.ask(
      `/v1/readings?${search({ ...hour, every: '90s', fn: 'max', quantity: 'temperature,pm2_5' })}`,
    )
    expect(JSON.parse(Buffer.from(bytes).toString())).toEqual(pages.json)
  })

  test('is of what there is by now, and its times are those of the order', async () => {
    const { anybody } = await openExporter({ sells: false })
    const { shown } = await anybody.bought({ from: '-30m', to: `${nowMs + dayMs}`, format: 'csv' })
    expect([shown.from, shown.to]).toEqual(['2026-11-21T11:30:00.000Z', '2026-11-21T12:00:00.000Z'])
    const { response, json } = await anybody.post({ from: `${nowMs + 1}`, to: `${nowMs + dayMs}` })
    expect([response.status, (json as { fields: unknown[] }).fields]).toEqual([
      400,
      [{ name: 'from', detail: 'is in the future; an export is of what was measured' }],
    ])
  })

  test('is ordered by the names of the query, and says what is wrong with them', async () => {
    const { anybody } = await openExporter({ sells: false })
    for (const [query, name] of [
      [{ every: 'often' }, 'every'],
      [{ limit: 10 }, 'limit'],
      [{ format: 'xls' }, 'format'],
      [{ station: { of: 1 } }, 'station'],
      [{ min_quality: 2 }, 'min_quality'],
    ] as const) {
      const { response, json } = await anybody.post(query)
      expect(response.status, name).toBe(400)
      expect((json as { fields: { name: string }[] }).fields.map((one) => one.name)).toEqual([name])
    }
    for (const body of ['[]', '"all"', 'null', '{']) {
      const { response } = await anybody.ask('/v1/exports', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      })
      expect(response.status, body).toBe(400)
    }
  })
})

describe('the price of an export', () => {
  test('is held when it is ordered, and taken for what is in the file, with a receipt of its hash', async () => {
    const { signUp, held, sales, expectSound, work } = await openExporter({ works: false })
    const buyer = signUp(10_000n)
    const ordered = await buyer.order({ ...ofB, format: 'csv' })
    expect(ordered).toMatchObject({ state: 'queued', mostMicroUsd: Number(heldForB), priceMicroUsd: null })
    expect([held(), buyer.credit()]).toEqual([heldForB, 10_000n - heldForB])
    work()
    const shown = await buyer.finished(ordered)
    expect(shown).toMatchObject({ state: 'done', priceMicroUsd: Number(priceOfB), receipt: shown.id })
    expect([held(), buyer.credit()]).toEqual([0n, 10_000n - priceOfB])
    expect(sales!.ledger.balance(`owner:${stationB}`)).toBe(((priceOfB - 100n) * 850n) / 1000n)
    expectSound()
    const bytes = await buyer.fetched(shown)
    expect(Buffer.from(bytes).toString().trim().split('\r\n')).toHaveLength(61)

    const { receipts } = (await buyer.ask('/v1/receipts')).json as { receipts: { id: string }[] }
    expect(receipts.map(({ id }) => id)).toEqual([shown.id])
    const receipt = (await buyer.ask(`/v1/receipts/${shown.id}`)).json as { cose: string; state: string }
    expect(receipt.state).toBe('delivered')
    const verified = verifySale(new Uint8Array(Buffer.from(receipt.cose, 'base64')), network, hub.publicKey)
    if (!verified.ok) return expect.fail(verified.detail)
    expect(verified.sale).toMatchObject({ rows: 60, values: 60, priceMicroUsd: Number(priceOfB) })
    expect(toHex(verified.sale.response)).toBe(shown.files[0]!.sha256)
    expect(verified.sale.scope).toEqual({ stations: [stationB], fromMs: nowMs - 3_600_000, toMs: nowMs })
    const { entries } = (await buyer.ask('/v1/usage')).json as {
      entries: { kind: string; amountMicroUsd: number; receipt?: string }[]
    }
    expect(entries[0]).toMatchObject({ kind: 'capture', receipt: shown.id })
  })

  test('is the one that a quote offers, and no more than it', async () => {
    const { signUp } = await openExporter()
    const buyer = signUp(10_000n)
    const { json } = await buyer.ask(`/v1/quotes?${search(ofB)}`, { method: 'POST' })
    const { offer, priceMicroUsd } = json as { offer: string; priceMicroUsd: number }
    expect(priceMicroUsd).toBe(Number(priceOfB))
    const ordered = await buyer.order(ofB, { offer })
    expect(ordered.mostMicroUsd).toBe(priceMicroUsd)
    expect((await buyer.finished(ordered)).priceMicroUsd).toBe(priceMicroUsd)
    const { response } = await buyer.post({ ...hour, station: stationA }, { offer })
    expect(response.status).toBe(409)
  })

  test('must be there before anything is done: in credit, and in the budget of the key', async () => {
    const { signUp, held, expectSound, exports } = await openExporter()
    for (const [buyer, slug] of [
      [signUp(heldForB - 1n), 'credit-exhausted'],
      [signUp(heldForB, heldForB - 1n), 'budget-exhausted'],
    ] as const) {
      const { response, json } = await buyer.post(ofB)
      expect([response.status, (json as { type: string }).type]).toEqual([402, `/problems/${slug}`])
      expect(json).toMatchObject({ payment: { priceMicroUsd: Number(heldForB) } })
      expect(exports.list(buyer.customer, 10)).toEqual([])
    }
    expect(held()).toBe(0n)
    const just = signUp(heldForB, heldForB)
    await just.bought(ofB)
    const { json } = await just.ask('/v1/budget')
    expect(json).toMatchObject({ spentMicroUsd: Number(priceOfB) })
    expectSound()
  })

  test('is nothing for an owner’s own stations, and for nothing', async () => {
    const { signUp, sales, held } = await openExporter()
    const owner = signUp(0n)
    sales!.keys.own(owner.customer, stationB)
    const { shown } = await owner.bought(ofB)
    expect(shown).toMatchObject({ rows: 60, mostMicroUsd: 0, priceMicroUsd: 0, receipt: null })
    const { shown: empty } = await signUp(0n).bought({ ...hour, station: 'nobody' })
    expect(empty).toMatchObject({ rows: 0, priceMicroUsd: 0 })
    expect(held()).toBe(0n)
  })

  test('is told to whoever has no key, with nothing done', async () => {
    const { anybody } = await openExporter()
    const { response, json } = await anybody.post(ofB)
    expect([response.status, json]).toMatchObject([
      402,
      { type: '/problems/payment-required', payment: { priceMicroUsd: Number(heldForB) } },
    ])
  })

  test('is paid once for the same query: made again, also in another format, it costs nothing', async () => {
    const clock = { nowMs }
    const { signUp, app } = await openExporter({ clock })
    const buyer = signUp(10_000n)
    const first = await buyer.bought({ ...ofB, format: 'csv' })
    const left = buyer.credit()
    clock.nowMs += 7 * dayMs - 1
    expect((await buyer.look(first.shown.id)).state).toBe('done')
    clock.nowMs += 1
    const { response, json } = await buyer.ask(`/v1/exports/${first.shown.id}`)
    expect([response.status, (json as { type: string }).type]).toEqual([410, '/problems/export-expired'])
    expect((json as { detail: string }).detail).toContain(`from ${first.shown.from} to ${first.shown.to}`)
    expect((await buyer.ask(first.shown.files[0]!.href)).response.status).toBe(410)
    for (const format of ['csv', 'json']) {
      const { shown } = await buyer.bought({
        station: stationB,
        from: first.shown.from,
        to: first.shown.to,
        format,
      })
      expect(shown).toMatchObject({ priceMicroUsd: 0, receipt: first.shown.id, rows: 60 })
    }
    expect(buyer.credit()).toBe(left)
    // A sale of pages pays for a file of the same as well, once it was taken.
    const paged = { station: stationB, from: `${nowMs - 1_800_000}`, to: `${nowMs}` }
    const page = `/v1/readings?${search(paged)}`
    const unread = await app.request(page, { headers: { authorization: `Bearer ${buyer.key}` } })
    expect((await buyer.order(paged)).mostMicroUsd).toBeGreaterThan(0)
    await unread.text()
    expect((await buyer.order(paged)).mostMicroUsd).toBe(0)
    // What others bought is theirs.
    const other = signUp(10_000n)
    expect((await other.bought(ofB)).shown.priceMicroUsd).toBeGreaterThan(0)
  })
})

describe('an order', () => {
  test('with the same Idempotency-Key is one, and of something else a conflict', async () => {
    const { signUp, exports } = await openExporter()
    const buyer = signUp(100_000n)
    const once = { 'idempotency-key': 'order-12345' }
    const orders = await Promise.all(Array.from({ length: 10 }, () => buyer.order(ofB, once)))
    expect(new Set(orders.map(({ id }) => id)).size).toBe(1)
    await buyer.finished(orders[0]!)
    expect((await buyer.order(ofB, once)).id).toBe(orders[0]!.id)
    expect(exports.list(buyer.customer, 10)).toHaveLength(1)
    expect(buyer.credit()).toBe(100_000n - priceOfB)
    const { response } = await buyer.post({ ...ofB, format: 'csv' }, once)
    expect(response.status).toBe(409)
    // Another buyer may call an order the same.
    expect((await signUp(100_000n).order(ofB, once)).id).not.toBe(orders[0]!.id)
  })

  test('is seen by its account only, and listed there', async () => {
    const { signUp, anybody } = await openExporter()
    const [buyer, other] = [signUp(10_000n), signUp(10_000n)]
    const { shown } = await buyer.bought(ofB)
    const { href } = shown.files[0]!
    for (const [who, status] of [
      [other, 404],
      [anybody, 401],
    ] as const) {
      expect((await who.ask(`/v1/exports/${shown.id}`)).response.status).toBe(status)
      expect((await who.ask(href)).response.status).toBe(status)
      expect((await who.ask(`/v1/exports/${shown.id}`, { method: 'DELETE' })).response.status).toBe(status)
    }
    expect((await anybody.ask('/v1/exports')).response.status).toBe(401)
    expect((await other.ask('/v1/exports')).json).toEqual({ exports: [] })
    expect((await buyer.ask('/v1/exports')).json).toEqual({ exports: [shown] })
    expect((await buyer.ask(`/v1/exports/${'0'.repeat(32)}`)).response.status).toBe(404)
  })

  test('that is given up before it is done costs nothing; after that its file is gone', async () => {
    const { signUp, held, work, expectSound } = await openExporter({ works: false })
    const buyer = signUp(10_000n)
    const first = await buyer.order(ofB)
    expect(held()).toBe(heldForB)
    expect((await buyer.ask(`/v1/exports/${first.id}`, { method: 'DELETE' })).response.status).toBe(204)
    expect([held(), buyer.credit()]).toEqual([0n, 10_000n])
    expect((await buyer.ask(`/v1/exports/${first.id}`)).response.status).toBe(404)
    work()
    const { shown } = await buyer.bought(ofB)
    expect((await buyer.ask(`/v1/exports/${shown.id}`, { method: 'DELETE' })).response.status).toBe(204)
    expect((await buyer.ask(shown.files[0]!.href)).response.status).toBe(410)
    expect(buyer.credit()).toBe(10_000n - priceOfB)
    expectSound()
  })

  test('beyond ten of an account waits for the others', async () => {
    const { signUp } = await openExporter({ works: false })
    const buyer = signUp(1_000_000n)
    for (let at = 0; at < 10; at++) await buyer.order({ ...ofB, from: `${nowMs - 60_000 * (at + 1)}` })
    const { response, json } = await buyer.post(ofB)
    expect([response.status, (json as { type: string }).type]).toEqual([503, '/problems/busy'])
    expect(response.headers.get('retry-after')).toBe('30')
    await signUp(10_000n).order(ofB)
  })
})

describe('what is too large', () => {
  test('a list of no quantities is refused: nothing could be made of it', async () => {
    const { signUp } = await openExporter()
    const { response, json } = await signUp(100_000n).post({ ...ofB, quantity: [], every: '1m' })
    expect([response.status, (json as { fields: unknown }).fields]).toEqual([
      400,
      [{ name: 'quantity', detail: 'names nothing; leave it out for all' }],
    ])
  })

  test('is refused where that is known before, and ends without a charge where it shows', async () => {
    const { signUp, held, expectSound } = await openExporter({ limits: { maxRows: 59 } })
    const buyer = signUp(100_000n)
    const { response, json } = await buyer.post(ofB)
    expect([response.status, (json as { type: string }).type]).toEqual([413, '/problems/query-too-large'])
    const shown = await buyer.finished(await buyer.order({ ...ofB, every: '1m', fn: 'max' }))
    expect(shown).toMatchObject({ state: 'failed', priceMicroUsd: null, files: [] })
    expect(shown.detail).toContain('more than 59 rows')
    expect([held(), buyer.credit()]).toEqual([0n, 100_000n])
    expectSound()
  })

  test('for the room that is left fails, and no order is taken while there is none', async () => {
    const clock = { nowMs }
    const { signUp, held } = await openExporter({ limits: { maxBytes: 10_000 }, clock })
    const buyer = signUp(100_000n)
    const large = await buyer.finished(await buyer.order({ ...hour, format: 'json' }))
    expect([large.state, large.detail]).toEqual([
      'failed',
      'the hub has no room for it; order it in parts, or later',
    ])
    expect([held(), buyer.credit()]).toEqual([0n, 100_000n])
    const { shown } = await buyer.bought({ ...ofB, format: 'csv' })
    expect(shown.files[0]!.bytes).toBeLessThan(10_000)
    await using tight = {
      ...(await openExporter({ limits: { maxBytes: 1 }, sells: false })),
      [Symbol.asyncDispose]: async () => {},
    }
    expect((await tight.anybody.finished(await tight.anybody.order(ofB))).state).toBe('failed')
  })
})

describe('files that cost nothing', () => {
  const csvOfB = { ...ofB, format: 'csv' }

  test('take half of the room where data is sold, their oldest go first, and none is larger', async () => {
    const { anybody } = await openExporter({ sells: false })
    const { bytes } = await anybody.bought(csvOfB)
    const worldWith = async (files: number) => {
      const world = await openExporter({
        limits: { maxBytes: Math.floor(files * bytes.length) },
        clock: { nowMs },
      })
      const owner = world.signUp(0n)
      world.sales!.keys.own(owner.customer, stationB)
      return { ...world, owner }
    }
    const { signUp, owner, clock } = await worldWith(5)
    const own: string[] = []
    for (let n = 0; n < 4; n++) {
      own.push((await owner.bought(csvOfB)).shown.id)
      clock.nowMs += 1000
    }
    const buyer = signUp(100_000n)
    const paid = (await buyer.bought(csvOfB)).shown.id
    clock.nowMs += 1000
    const last = (await owner.bought(csvOfB)).shown.id
    const statuses = async (ids: readonly string[]) =>
      Promise.all(ids.map(async (id) => (await owner.ask(`/v1/exports/${id}`)).response.status))
    await until('the third is gone', 10, async () => (await statuses(own))[2] === 410 || undefined)
    expect(await statuses(own)).toEqual([410, 410, 410, 200])
    expect(await statuses([last])).toEqual([200])
    expect((await buyer.ask(`/v1/exports/${paid}`)).response.status).toBe(200)
    const { owner: large } = await worldWith(1.5)
    expect(await large.finished(await large.order(csvOfB))).toMatchObject({ state: 'failed' })
  })

  test('are remembered by their ends, but not without end', async () => {
    using book = openExportBook(':memory:')
    for (let at = 0; at < 6; at++) {
      const plan = {} as NewExport['plan']
      const mostMicroUsd = at === 0 ? 1n : 0n
      book.add({ id: `e${at}`, owner: '', asked: '', plan, format: 'csv', createdMs: at, mostMicroUsd })
      if (at < 5) book.fail(`e${at}`, 'of a test')
    }
    book.forget(0, 2)
    const known = [0, 1, 2, 3, 4, 5].filter((at) => book.find(`e${at}`) !== undefined)
    expect(known).toEqual([0, 3, 4, 5])
    book.forget(0, Number.MAX_SAFE_INTEGER)
    expect(book.find('e3')).toBeDefined()
  })
})

describe('what goes wrong', () => {
  test('a store that is away makes an export wait, and not fail', async () => {
    let away = true
    let tries = 0
    const { anybody, world } = await openExporter({
      sells: false,
      storeBy: (store) => ({
        ...store,
        readings: async (...asked) => {
          tries++
          if (away) throw new StoreUnavailable('away')
          return store.readings(...asked)
        },
      }),
    })
    const ordered = await anybody.order(ofB)
    await until('a try', 10, async () => (tries > 0 ? true : undefined))
    expect((await anybody.look(ordered.id)).state).toBe('queued')
    away = false
    expect((await anybody.finished(ordered)).rows).toBe(60)
    expect(world.reported).toEqual([])
  }, 30_000)

  test('much more that came in after an order is not given away', async () => {
    const { signUp, world, work, held } = await openExporter({ works: false })
    const buyer = signUp(10_000n)
    const query = { ...ofB, to: `${nowMs - 1_800_000}`, sensor: 'roof' }
    const ordered = await buyer.order(query)
    await world.store.write(
      Array.from({ length: 30 }, (_, at) => ({
        ...anHour()[1]!,
        score: 1,
        seq: 1000 + at,
        timeMs: nowMs - 3_500_000 + at * 1000,
      })),
    )
    work()
    const shown = await buyer.finished(ordered)
    expect([shown.state, shown.detail]).toEqual([
      'failed',
      'much more has come in since it was ordered; order it again',
    ])
    expect([held(), buyer.credit()]).toEqual([0n, 10_000n])
    expect((await buyer.bought(query)).shown.rows).toBe(60)
  })
})

test('how far an export is stays between nothing and nearly all, also where an interval begins before its span', () => {
  const span = { fromMs: 1000, toMs: 2000 }
  expect([400, 1000, 1255, 1999, 3000].map((reachedMs) => percentOf(reachedMs, span))).toEqual([
    0, 0, 25, 99, 99,
  ])
})
