import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type EmbeddedStore, openEmbeddedStore } from '#gateway/store/embedded.ts'
import { rollupFunctions, StoreUnavailable } from '#gateway/store/store.ts'
import { storeContract } from '#test/contract/store.ts'
import { all, hour, order, reading, startMs, untidyReadings } from '#test/contract/store-oracle.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'store-'))
})
afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

storeContract('the embedded store', { open: () => openEmbeddedStore({ path: join(folder, 'rows.db') }) })

storeContract('the embedded store with every hour sealed', {
  open: () => openEmbeddedStore({ path: join(folder, 'sealed.db') }),
  settle: async (store) => {
    await (store as EmbeddedStore).seal(Infinity)
  },
})

describe('the embedded store over time', () => {
  const answers = async (store: EmbeddedStore) => ({
    readings: await store.readings(all, 10_000),
    page: await store.readings(
      { fromMs: startMs + hour / 2, toMs: startMs + 2.5 * hour, sensor: 'yard' },
      17,
    ),
    rollups: await Promise.all(
      rollupFunctions.flatMap((fn) => [
        store.rollup(all, hour, fn, 10_000),
        store.rollup(all, 3 * hour, fn, 10_000),
        store.rollup({ fromMs: startMs + 1, toMs: startMs + 4 * hour }, 600_000, fn, 10_000),
      ]),
    ),
    latest: await store.latest({}),
    sensors: await store.sensors(),
    cursor: await store.cursor(),
  })

  const count = (path: string, table: 'row' | 'chunk' | 'open') => {
    using database = new DatabaseSync(path, { readOnly: true })
    return (database.prepare(`SELECT count(*) AS n FROM ${table}`).get() as { n: number }).n
  }

  test('answers the same unsealed, sealed, sealed again, and opened anew', async () => {
    const path = join(folder, 'again.db')
    const store = await openEmbeddedStore({ path })
    await store.write(untidyReadings(1, 500))
    await store.setCursor(12)
    const before = await answers(store)
    expect(before.readings).toHaveLength(500)
    expect(await store.seal(startMs + 2 * hour)).toBeGreaterThan(0)
    expect(await answers(store)).toEqual(before)
    expect(await store.seal(startMs + 24 * hour)).toBeGreaterThan(0)
    expect(await store.seal(startMs + 24 * hour)).toBe(0)
    expect([count(path, 'row'), count(path, 'open')]).toEqual([0, 0])
    expect(await answers(store)).toEqual(before)
    await store[Symbol.asyncDispose]()
    await expect(store.readings(all, 1)).rejects.toThrow('is closed')
    await using anew = await openEmbeddedStore({ path })
    expect(await answers(anew)).toEqual(before)
  })

  test('takes late readings for a sealed hour, once, before and after they are sealed with it', async () => {
    const readings = untidyReadings(2, 500)
    const late = readings.filter((_, at) => at % 7 === 0)
    const early = readings.filter((_, at) => at % 7 !== 0)
    await using whole = await openEmbeddedStore({ path: ':memory:' })
    await whole.write(readings)
    const expected = await answers(whole)
    const path = join(folder, 'late.db')
    await using store = await openEmbeddedStore({ path })
    await store.write(early)
    await store.seal(Infinity)
    await store.write(late)
    await store.write(readings)
    expect(count(path, 'chunk')).toBeGreaterThan(0)
    expect(count(path, 'row')).toBeGreaterThan(0)
    expect(await answers(store)).toEqual(expected)
    await store.seal(Infinity)
    await store.write(readings)
    expect(count(path, 'row')).toBe(0)
    expect(await answers(store)).toEqual(expected)
  })

  test('gives a reading of a sealed hour its newer score, also back to the one it was sealed with', async () => {
    await using store = await openEmbeddedStore({ path: ':memory:' })
    await store.write([reading({ score: 1 }), reading({ seq: 2 })])
    for (const score of [0.5, 1]) {
      await store.seal(Infinity)
      await store.write([reading({ score: 0.1 })])
      await store.write([reading({ score })])
      expect(await store.readings(all, 10)).toEqual([reading({ score }), reading({ seq: 2 })])
      expect(await store.rollup(all, hour, 'count', 10)).toMatchObject([{ value: 2 }])
      expect(await store.sensors()).toMatchObject([{ readings: 2 }])
    }
  })

  test('seals by itself what is over and quiet, and not the hour that is going on', async () => {
    const path = join(folder, 'itself.db')
    await using store = await openEmbeddedStore({ path })
    const readings = Array.from({ length: 12_000 }, (_, at) =>
      reading({
        sensor: `n${at % 5}`,
        timeMs: startMs + Math.floor(at / 5) * 10_000,
        seq: Math.floor(at / 50) + 1,
        place: at % 50,
      }),
    )
    for (let at = 0; at < readings.length; at += 500) await store.write(readings.slice(at, at + 500))
    expect(count(path, 'chunk')).toBeGreaterThan(0)
    expect(count(path, 'row')).toBeGreaterThan(0)
    expect(await store.readings(all, 20_000)).toEqual(readings.toSorted(order))
  })

  test('counts right when a rebuild writes beside the hub', async () => {
    const path = join(folder, 'two.db')
    await using hub = await openEmbeddedStore({ path })
    await using rebuild = await openEmbeddedStore({ path })
    await hub.write([reading({ seq: 1 })])
    await rebuild.write([reading({ seq: 1 }), reading({ seq: 2, timeMs: startMs + 5 })])
    await hub.write([reading({ seq: 3 })])
    expect(await hub.sensors()).toMatchObject([{ readings: 3, lastMs: startMs + 5 }])
    expect(await rebuild.latest({})).toMatchObject([{ seq: 2 }])
  })

  test('is unavailable, and not broken, while another program holds the file', async () => {
    const path = join(folder, 'held.db')
    await using store = await openEmbeddedStore({ path })
    const other = new DatabaseSync(path)
    other.exec('BEGIN IMMEDIATE')
    await expect(store.write([reading()])).rejects.toThrow(StoreUnavailable)
    other.exec('ROLLBACK')
    other.close()
    await store.write([reading()])
    expect(await store.readings(all, 10)).toEqual([reading()])
  })

  test('says what to do about a file that is no store, of another layout, or damaged', async () => {
    const path = join(folder, 'no-store.db')
    await writeFile(path, 'This is no database, but long enough to be taken for one. '.repeat(20))
    await expect(openEmbeddedStore({ path })).rejects.toThrow(
      /damaged or no store: .*\. Delete it; it is rebuilt/,
    )

    const newer = join(folder, 'newer.db')
    using database = new DatabaseSync(newer)
    database.exec('PRAGMA user_version = 99')
    await expect(openEmbeddedStore({ path: newer })).rejects.toThrow('has layout 99, this program writes 1')

    const damaged = join(folder, 'damaged.db')
    await using store = await openEmbeddedStore({ path: damaged })
    await store.write([reading()])
    await store.seal(Infinity)
    using hand = new DatabaseSync(damaged)
    hand.exec("UPDATE chunk SET body = CAST(substr(body, 1, 10) || x'ff' || substr(body, 12) AS BLOB)")
    await expect(store.readings(all, 1)).rejects.toThrow(
      /hour 490992, is damaged: its checksum .* Delete the store; it is rebuilt/,
    )
  })

  test('keeps every reading it acknowledged when the process is killed', async () => {
    const path = join(folder, 'killed.db')
    const program = `
      import { openEmbeddedStore } from './gateway/store/embedded.ts'
      const store = await openEmbeddedStore({ path: ${JSON.stringify(path)} })
      const first = await store.cursor()
      for (let seq = first + 1; ; seq++) {
        const readings = Array.from({ length: 50 }, (_, place) => ({
          station: 'a', sensor: 'n' + (place % 3), model: 'm', timeMs: ${startMs} + seq * 60_000 + place, seq, place,
          score: 1, flags: [], rules: '1', values: [{ quantity: 1, scaled: seq }],
        }))
        await store.write(readings)
        await store.setCursor(seq)
        console.log(seq)
      }`
    let acknowledged = 0
    for (const lines of [3, 90, 200]) {
      const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      let left = lines
      for await (const line of createInterface({ input: child.stdout })) {
        acknowledged = Number(line)
        if (--left === 0) child.kill('SIGKILL')
      }
    }
    await using store = await openEmbeddedStore({ path })
    expect(await store.cursor()).toBeGreaterThanOrEqual(acknowledged)
    const kept = await store.readings(all, 1_000_000)
    const places = new Set(kept.map(({ seq, place }) => `${seq}/${place}`))
    expect(places.size).toBe(kept.length)
    for (let seq = 1; seq <= acknowledged; seq++)
      for (const place of [0, 24, 49]) expect(places).toContain(`${seq}/${place}`)
    const known = await store.sensors()
    expect(known.reduce((sum, { readings }) => sum + readings, 0)).toBe(kept.length)
  })
})
