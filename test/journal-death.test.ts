import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { openJournal } from '#gateway/journal/open.ts'
import { type MemoryDisk, memoryDisk, systemError, withoutSync } from '#test/journal-disk.ts'
import { all, expected, fill, openOn, recordOf, seeded, small } from '#test/journal-fill.ts'

describe('the process or the power dies at any operation', () => {
  type Work = { readonly acknowledged: number; readonly appended: number; readonly died: boolean }

  /** Appends in groups until the disk dies at its `last` operation; answers what was acknowledged by then. */
  const workUntil = async (disk: MemoryDisk, last: number): Promise<Work> => {
    let operations = 0
    let died = false
    disk.fault = () => {
      died ||= operations++ >= last
      if (died) throw systemError('EIO')
      return undefined
    }
    let acknowledged = 0
    let appended = 0
    try {
      const journal = await openOn(disk, { segmentBytes: 512, maxRecordBytes: 100 })
      for (let group = 0; group < 14; group++) {
        for (let made = 0; made < 1 + (group % 4); made++) journal.append(recordOf(journal.next))
        appended = journal.next
        await journal.commit()
        acknowledged = journal.committed
        if (group === 9) await journal.trim(8)
      }
      await journal.close()
    } catch (error) {
      if (!died) throw error
    }
    return { acknowledged, appended, died }
  }

  const check = async (disk: MemoryDisk, { acknowledged, appended }: Work, told: string): Promise<void> => {
    const journal = await openOn(disk, { segmentBytes: 512, maxRecordBytes: 100 })
    const { first, next } = journal
    expect(next, told).toBeGreaterThanOrEqual(acknowledged)
    expect(next, told).toBeLessThanOrEqual(appended)
    expect(first, told).toBeLessThanOrEqual(8)
    const found = await all(journal)
    for (const [index, record] of expected(first, acknowledged))
      expect(found.get(index), told).toEqual(record)
    for (const [index, record] of found) expect(record, told).toEqual(recordOf(index))
    for (const { lostFrom, lostTo } of journal.damage)
      if (lostTo > lostFrom) expect(lostFrom, told).toBeGreaterThanOrEqual(acknowledged)
    await fill(journal, 20)
    await journal.close()
    const again = await openOn(disk, { segmentBytes: 512, maxRecordBytes: 100 })
    expect(await all(again), told).toEqual(new Map([...found, ...expected(next, next + 20)]))
  }

  test('and nothing acknowledged is lost', async () => {
    let last = 0
    for (; ; last++) {
      const disk = memoryDisk()
      const work = await workUntil(disk, last)
      if (!work.died) break
      await check(disk.afterKill(), work, `killed at operation ${last}`)
      for (let seed = 0; seed < 5; seed++) {
        await check(disk.afterPowerCut(seeded(last * 5 + seed)), work, `power cut at ${last}, seed ${seed}`)
      }
    }
    expect(last).toBeGreaterThan(100)
  })

  test('and what a journal finds when it is opened after a kill survives a power cut then', async () => {
    for (let last = 0; last < 120; last++) {
      const disk = memoryDisk()
      await workUntil(disk, last)
      const killed = disk.afterKill()
      const journal = await openOn(killed)
      const found = await all(journal)
      const left = await openOn(killed.afterPowerCut(() => 0))
      expect(left.next, `killed at operation ${last}`).toBe(journal.next)
      expect(await all(left), `killed at operation ${last}`).toEqual(found)
    }
  })

  test('and while it recovers from the first death', async () => {
    for (let seed = 0; seed < 150; seed++) {
      const chance = seeded(seed)
      const disk = memoryDisk()
      const { acknowledged } = await workUntil(disk, 20 + Math.floor(chance() * 120))
      let left = disk.afterPowerCut(chance)
      for (let again = 0; again < 3; again++) {
        await workUntil(left, Math.floor(chance() * 12)).catch(() => {})
        left = left.afterPowerCut(chance)
      }
      const journal = await openOn(left)
      const found = await all(journal)
      for (const [index, record] of expected(journal.first, acknowledged)) {
        expect(found.get(index), `seed ${seed}, record ${index}`).toEqual(record)
      }
    }
  })

  test('but a disk whose syncs do nothing loses acknowledged records, or this proves nothing', async () => {
    let lost = 0
    for (let seed = 0; seed < 20; seed++) {
      const disk = memoryDisk()
      const journal = await openJournal({ ...small, files: withoutSync(disk) })
      await fill(journal, 10 + seed)
      const left = await openOn(disk.afterPowerCut(seeded(seed)))
      lost += Math.max(0, journal.committed - left.next)
    }
    expect(lost).toBeGreaterThan(0)
  })
})

describe('any sequence of work, deaths and openings', () => {
  type Step =
    | { readonly kind: 'append'; readonly bytes: number }
    | { readonly kind: 'get' | 'read'; readonly at: number }
    | { readonly kind: 'trim'; readonly at: number }
    | { readonly kind: 'commit' }
    | { readonly kind: 'reopen' | 'kill' }
    | { readonly kind: 'cut'; readonly seed: number }
  const at = fc.nat({ max: 120 })
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 12,
      arbitrary: fc.record({ kind: fc.constant('append' as const), bytes: fc.nat({ max: 200 }) }),
    },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('commit' as const) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('get' as const, 'read' as const), at }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('trim' as const), at }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('reopen' as const, 'kill' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut' as const), seed: fc.nat() }) },
  )

  test('answers what a plain array would', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 150 }), async (steps) => {
        let disk = memoryDisk()
        let journal = await openOn(disk)
        // What each index must answer; undefined for one that a death took before it was acknowledged.
        let model: (Uint8Array | undefined)[] = []
        let promised = 0
        const restart = async (left: MemoryDisk) => {
          disk = left
          const written = model
          journal = await openOn(disk)
          expect(journal.next).toBeGreaterThanOrEqual(promised)
          expect(journal.next).toBeLessThanOrEqual(written.length)
          const found = await all(journal)
          model = written.slice(0, journal.next).map((record, index) => {
            if (index < journal.first || found.has(index)) return record
            expect(record === undefined || index >= promised).toBe(true)
            return undefined
          })
          for (const [index, record] of found) expect(record).toEqual(written[index])
          promised = journal.committed
        }
        for (const each of steps) {
          if (each.kind === 'append') {
            const record = recordOf(model.length, each.bytes)
            expect(journal.append(record)).toBe(model.push(record) - 1)
          } else if (each.kind === 'commit') {
            await journal.commit()
            promised = model.length
          } else if (each.kind === 'get') {
            const there = each.at >= journal.first && each.at < promised
            expect(await journal.get(each.at)).toEqual(there ? model[each.at] : undefined)
          } else if (each.kind === 'read') {
            const wanted = model.slice(0, promised).map((record, index) => [index, record] as const)
            const kept = wanted.filter(
              ([index, record]) => record && index >= Math.max(each.at, journal.first),
            )
            expect(await all(journal, each.at)).toEqual(new Map(kept))
          } else if (each.kind === 'trim') {
            const { first } = journal
            await journal.trim(each.at)
            expect(journal.first).toBeLessThanOrEqual(Math.max(each.at, first))
          } else if (each.kind === 'reopen') {
            await journal.close()
            promised = model.length
            await restart(disk)
          } else {
            await restart(each.kind === 'cut' ? disk.afterPowerCut(seeded(each.seed)) : disk.afterKill())
          }
        }
      }),
      { numRuns: 100 },
    )
  })
})
