import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { diskFiles, type JournalFile, type JournalFiles } from '#gateway/journal/files.ts'
import { openExporter } from './exports-world.ts'
import { nowMs, stationB } from './market-world.ts'
import { temporaryDirectory } from './temporary.ts'
import { until } from './until.ts'

const query = { station: stationB, from: `${nowMs - 3_600_000}`, to: `${nowMs}`, format: 'csv' }
const price = 100n + 15n * 10n + 44n * 5n

/** The real disk; `before` is asked before each change of it, and may throw or never answer. */
const diskWith = (before: (what: string) => Promise<void>): JournalFiles => ({
  ...diskFiles,
  open: async (path, how) => {
    await before('open')
    const file = await diskFiles.open(path, how)
    const watched = <Arguments extends unknown[], Result>(
      what: string,
      does: (...given: Arguments) => Promise<Result>,
    ) => {
      return async (...given: Arguments): Promise<Result> => {
        await before(what)
        return does(...given)
      }
    }
    return {
      ...file,
      write: watched('write', file.write),
      sync: watched('sync', file.sync),
      close: watched('close', file.close),
    } satisfies JournalFile
  },
  rename: async (from, to) => {
    await before('rename')
    await diskFiles.rename(from, to)
  },
  syncDirectory: async (path) => {
    await before('syncDirectory')
    await diskFiles.syncDirectory(path)
  },
})

const steps = ['open', 'write', 'sync', 'close', 'rename', 'syncDirectory'] as const

test.each(steps)(
  'a hub that dies at %s makes the export anew when it starts, and charges it once',
  async (step) => {
    const directory = temporaryDirectory()
    const dead = Promise.withResolvers<void>()
    const dying = await openExporter({
      directory,
      files: diskWith(async (what) => {
        if (what !== step) return
        dead.resolve()
        await new Promise(() => undefined)
      }),
    })
    const before = dying.signUp(10_000n)
    const ordered = await before.order(query)
    await dead.promise
    await dying.close(true)

    const hub = await openExporter({ directory })
    const buyer = hub.again(before.key, before.customer)
    const shown = await buyer.finished(ordered)
    expect(shown).toMatchObject({ state: 'done', rows: 60, priceMicroUsd: Number(price) })
    await buyer.fetched(shown)
    expect([buyer.credit(), hub.held()]).toEqual([10_000n - price, 0n])
    expect(readdirSync(join(directory, 'exports/files'))).toEqual([ordered.id])
    hub.expectSound()
  },
)

test('a hub that dies between the file and its payment, or between payment and book, charges once', async () => {
  const directory = temporaryDirectory()
  const books = join(directory, 'sales.sqlite')
  const first = await openExporter({ directory, works: false })
  const before = first.signUp(10_000n)
  const ordered = await before.order(query)
  await first.close()
  const held = readFileSync(books)
  const works = await openExporter({ directory })
  await works.again(before.key, before.customer).finished(ordered)
  await works.close()
  const paid = readFileSync(books)
  // The book as it is before a payment is noted, with the sales as they were held, and as they were paid.
  for (const sales of [held, paid]) {
    writeFileSync(books, sales)
    const book = new DatabaseSync(join(directory, 'exports/exports.sqlite'))
    book.exec("UPDATE export SET state = 'written', done_ms = NULL, receipt = NULL")
    book.close()
    const hub = await openExporter({ directory })
    const buyer = hub.again(before.key, before.customer)
    const shown = await buyer.finished(ordered)
    expect(shown).toMatchObject({ state: 'done', priceMicroUsd: Number(price), receipt: shown.id })
    expect([buyer.credit(), hub.held()]).toEqual([10_000n - price, 0n])
    await buyer.fetched(shown)
    hub.expectSound()
    expect(hub.world.reported).toEqual([])
    await hub.close()
  }
})

test('a hub that is stopped in the middle goes on after its start; what was held stays held', async () => {
  const directory = temporaryDirectory()
  const reached = Promise.withResolvers<void>()
  const go = Promise.withResolvers<void>()
  const first = await openExporter({
    directory,
    files: diskWith(async (what) => {
      if (what !== 'open') return
      reached.resolve()
      await go.promise
    }),
  })
  const before = first.signUp(10_000n)
  const ordered = await before.order(query)
  await reached.promise
  const held = first.held()
  expect((await before.look(ordered.id)).state).toBe('working')
  const closed = first.close()
  go.resolve()
  await closed
  const idle = await openExporter({ directory, works: false })
  expect([idle.held(), held > 0n]).toEqual([held, true])
  const buyer = idle.again(before.key, before.customer)
  expect((await buyer.look(ordered.id)).state).toBe('queued')
  idle.work()
  expect((await buyer.finished(ordered)).priceMicroUsd).toBe(Number(price))
  expect([buyer.credit(), idle.held()]).toEqual([10_000n - price, 0n])
  idle.expectSound()
})

test.each(['ENOSPC', 'EIO', 'EROFS'])(
  'a disk that fails with %s ends the export, and nothing is charged',
  async (code) => {
    for (const step of steps.filter((step) => step !== 'close')) {
      let failing = true
      const hub = await openExporter({
        files: diskWith(async (what) => {
          if (failing && what === step) throw Object.assign(new Error('no'), { code })
        }),
      })
      const buyer = hub.signUp(10_000n)
      const shown = await buyer.finished(await buyer.order(query))
      expect([shown.state, shown.detail]).toEqual(['failed', `the hub’s disk does not take it (${code})`])
      expect([buyer.credit(), hub.held()]).toEqual([10_000n, 0n])
      expect(hub.world.reported).toHaveLength(1)
      failing = false
      await buyer.bought(query)
      hub.expectSound()
      await hub.close()
    }
  },
)

test('money held for an order that no book has is given back', async () => {
  const directory = temporaryDirectory()
  const first = await openExporter({ directory, works: false })
  const before = first.signUp(10_000n)
  await before.order(query)
  expect(first.held()).toBeGreaterThan(0n)
  await first.close()
  for (const end of ['', '-wal', '-shm'])
    rmSync(join(directory, `exports/exports.sqlite${end}`), { force: true })
  const hub = await openExporter({ directory })
  expect([hub.held(), hub.again(before.key, before.customer).credit()]).toEqual([0n, 10_000n])
  hub.expectSound()
})

test('files that no order knows of are removed, and a file that is gone is told so', async () => {
  const directory = temporaryDirectory()
  const first = await openExporter({ directory, sells: false })
  const { shown } = await first.anybody.bought(query)
  await first.close()
  const files = join(directory, 'exports/files')
  await diskFiles.open(join(files, 'stray.part'), 'create').then((file) => file.close())
  const hub = await openExporter({ directory, sells: false })
  await until('the stray is gone', 10, async () => (existsSync(join(files, 'stray.part')) ? undefined : true))
  await hub.anybody.fetched(shown)
  rmSync(join(files, shown.id))
  expect((await hub.anybody.ask(shown.files[0]!.href)).response.status).toBe(410)
})
