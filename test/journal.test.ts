import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 as zlibCrc32 } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { crc32 } from '#gateway/journal/crc.ts'
import type { JournalFiles } from '#gateway/journal/files.ts'
import { openJournal } from '#gateway/journal/open.ts'
import { memoryDisk, systemError } from '#test/journal-disk.ts'
import { all, expected, fill, openOn, recordOf, small } from '#test/journal-fill.ts'

describe('a journal on a real disk', () => {
  let directory: string
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'journal-'))
  })
  afterAll(() => rm(directory, { recursive: true }))

  test('is made where its directory is missing, and gives back what was committed when it is opened again', async () => {
    const options = { directory: join(directory, 'a/b/c'), segmentBytes: 16 * 1024, maxRecordBytes: 4000 }
    {
      await using journal = await openJournal(options)
      expect([journal.first, journal.next, journal.committed]).toEqual([0, 0, 0])
      await fill(journal, 2000)
      expect(await all(journal)).toEqual(expected(0, 2000))
    }
    await using journal = await openJournal(options)
    expect([journal.first, journal.next, journal.committed]).toEqual([0, 2000, 2000])
    expect(journal.damage).toEqual([])
    expect(await all(journal)).toEqual(expected(0, 2000))
    expect(await journal.get(1234)).toEqual(recordOf(1234))
    const names = (await readdir(options.directory)).sort()
    expect(names.filter((name) => /^\d{16}-[0-9a-f]{16}\.seg$/.test(name)).length).toBe(names.length - 1)
    expect(names.at(-1)).toMatch(/^\d{16}\.open$/)
  })

  test('reads a stream while others append, up to what was committed when the reading began', async () => {
    await using journal = await openJournal({
      directory: join(directory, 'busy'),
      segmentBytes: 8192,
      maxRecordBytes: 1000,
    })
    await fill(journal, 500)
    const read = journal.read(100)
    let seen = 100
    for await (const { index, record } of read) {
      expect(index).toBe(seen++)
      expect(record).toEqual(recordOf(index))
      if (index % 10 === 0) await fill(journal, 20)
    }
    expect(seen).toBe(500)
    expect(await all(journal)).toEqual(expected(0, 1300))
  })

  test('keeps records as large as allowed and refuses one byte more', async () => {
    const options = { directory: join(directory, 'large'), segmentBytes: 300_000, maxRecordBytes: 65_536 }
    await using journal = await openJournal(options)
    for (let index = 0; index < 12; index++) journal.append(recordOf(index, 65_536))
    expect(() => journal.append(new Uint8Array(65_537))).toThrow(
      'record: expected at most 65536 bytes, got 65537',
    )
    await journal.commit()
    expect((await all(journal)).size).toBe(12)
    expect(await journal.get(11)).toEqual(recordOf(11, 65_536))
  })
})

describe('appending and committing', () => {
  test('a record counts as kept only after a commit, and an empty record is one', async () => {
    const journal = await openOn(memoryDisk())
    expect(journal.append(new Uint8Array())).toBe(0)
    expect(journal.append(recordOf(1))).toBe(1)
    expect([journal.next, journal.committed]).toEqual([2, 0])
    expect(await journal.get(0)).toBeUndefined()
    expect(await all(journal, 0, 2)).toEqual(new Map())
    await journal.commit()
    expect(journal.committed).toBe(2)
    expect(await all(journal)).toEqual(
      new Map([
        [0, new Uint8Array()],
        [1, recordOf(1)],
      ]),
    )
  })

  test('what the caller does to a record afterwards, given in or out, changes nothing', async () => {
    const journal = await openOn(memoryDisk())
    const record = recordOf(0)
    journal.append(record)
    record.fill(255)
    await journal.commit()
    ;(await journal.get(0))!.fill(9)
    for await (const { record: given } of journal.read(0)) given.fill(9)
    expect(await journal.get(0)).toEqual(recordOf(0))
  })

  test('a hundred who commit at once share a flush, and all who come during it share the next', async () => {
    const disk = memoryDisk()
    let release = () => {}
    let gate = Promise.resolve()
    const files: JournalFiles = {
      ...disk,
      open: async (path, how) => {
        const file = await disk.open(path, how)
        return { ...file, datasync: () => gate.then(file.datasync) }
      },
    }
    const journal = await openJournal({ ...small, segmentBytes: 65_536, files })
    await fill(journal, 1)
    disk.counts.clear()
    const hundred = () =>
      Array.from({ length: 100 }, () => {
        journal.append(recordOf(journal.next))
        return journal.commit()
      })
    await Promise.all(hundred())
    expect(disk.counts.get('datasync')).toBe(1)
    gate = new Promise((resolve) => {
      release = resolve
    })
    const early = hundred()
    while (disk.counts.get('write') !== 2) await new Promise(setImmediate)
    const late = hundred()
    release()
    await Promise.all([...early, ...late])
    expect(journal.committed).toBe(301)
    expect(disk.counts.get('datasync')).toBe(3)
    expect(disk.counts.get('write')).toBe(3)
  })

  test('a commit with nothing new touches no disk', async () => {
    const disk = memoryDisk()
    const journal = await openOn(disk)
    await fill(journal, 3)
    disk.counts.clear()
    await journal.commit()
    expect(disk.counts.size).toBe(0)
  })

  test('what waits for a commit is bounded', async () => {
    const journal = await openOn(memoryDisk(), { maxPendingBytes: 1000 })
    const append = () => {
      for (;;) journal.append(recordOf(0, 100))
    }
    expect(append).toThrow('960 bytes wait for a commit, 1000 may. Await a commit, then append.')
    await journal.commit()
    expect(append).toThrow(expect.objectContaining({ code: 'pending-full' }))
    await journal.commit()
    expect(journal.committed).toBe(16)
  })

  test('options that cannot work are refused with what was expected', async () => {
    await expect(openOn(memoryDisk(), { segmentBytes: 200 })).rejects.toThrow(
      'segmentBytes: a record of 200 bytes needs a segment of 296, got 200',
    )
    await expect(openOn(memoryDisk(), { segmentBytes: 1001 })).rejects.toThrow('expected a multiple of 8')
    await expect(openOn(memoryDisk(), { maxRecordBytes: 0 })).rejects.toThrow('maxRecordBytes: expected 1 to')
    await expect(openOn(memoryDisk(), { maxPendingBytes: 100 })).rejects.toThrow(
      'at least one record of 216 bytes',
    )
  })

  test('closing keeps what was appended, and afterwards everything is refused', async () => {
    const disk = memoryDisk()
    const journal = await openOn(disk)
    journal.append(recordOf(0))
    await journal.close()
    await journal.close()
    expect(() => journal.append(recordOf(1))).toThrow('journal /journal is closed')
    await expect(journal.commit()).rejects.toThrow('is closed')
    expect(await all(await openOn(disk))).toEqual(expected(0, 1))
    expect(disk.names()).toEqual(['0000000000000000.open'])
  })

  test('segments may change their size between two openings', async () => {
    const disk = memoryDisk()
    for (const [segmentBytes, maxRecordBytes] of [
      [1024, 200],
      [4096, 3000],
      [512, 100],
      [2048, 1500],
    ] as const) {
      const journal = await openOn(disk, { segmentBytes, maxRecordBytes })
      journal.append(recordOf(journal.next, maxRecordBytes))
      await fill(journal, 30)
      await journal.close()
    }
    const journal = await openOn(disk)
    const lengths = [...(await all(journal)).values()].map((record) => record.length)
    expect([lengths.length, lengths[0], lengths[31], lengths[62], lengths[93]]).toEqual([
      124, 200, 3000, 100, 1500,
    ])
  })
})

describe('reading', () => {
  test('holds a bounded chunk of the disk, whatever is asked for', async () => {
    const disk = memoryDisk()
    const journal = await openOn(disk, { segmentBytes: 4 * 1024 * 1024, maxRecordBytes: 60_000 })
    for (let index = 0; index < 60; index++) journal.append(recordOf(index, 50_000))
    await journal.commit()
    let largest = 0
    disk.fault = ({ what, bytes }) => {
      if (what === 'read') largest = Math.max(largest, bytes)
      return undefined
    }
    expect((await all(journal)).size).toBe(60)
    expect(largest).toBeLessThanOrEqual(256 * 1024)
  })

  test("forgets old segments' tables and still finds every record, read singly and backwards", async () => {
    const journal = await openOn(memoryDisk())
    await fill(journal, 400)
    for (let index = 399; index >= 0; index -= 7) expect(await journal.get(index)).toEqual(recordOf(index))
    expect(await journal.get(400)).toBeUndefined()
    expect(await journal.get(-1)).toBeUndefined()
    expect(await all(journal, 390, 10_000)).toEqual(expected(390, 400))
    expect(await all(journal, 50, 20)).toEqual(new Map())
  })

  test('a short read is continued', async () => {
    const disk = memoryDisk()
    const journal = await openOn(disk)
    await fill(journal, 60)
    disk.fault = ({ what, bytes }) => (what === 'read' ? Math.ceil(bytes / 3) : undefined)
    expect(await all(journal)).toEqual(expected(0, 60))
  })
})

describe('trimming', () => {
  test('drops whole sealed segments before an index and gives their room back, also after reopening', async () => {
    const disk = memoryDisk()
    const journal = await openOn(disk)
    await fill(journal, 200)
    const before = journal.bytesOnDisk
    await journal.trim(100)
    expect(journal.first).toBeGreaterThan(80)
    expect(journal.first).toBeLessThanOrEqual(100)
    expect(journal.bytesOnDisk).toBeLessThan(before * 0.7)
    expect(await all(journal)).toEqual(expected(journal.first, 200))
    expect(await journal.get(journal.first - 1)).toBeUndefined()
    await journal.close()
    const again = await openOn(disk)
    expect([again.first, again.next]).toEqual([journal.first, 200])
    expect(again.damage).toEqual([])
  })

  test('leaves the newest record, whatever index it is given, so that the index goes on', async () => {
    const disk = memoryDisk()
    const journal = await openOn(disk)
    await fill(journal, 50)
    await journal.trim(1_000_000)
    expect(await journal.get(49)).toEqual(recordOf(49))
    await journal.close()
    expect((await openOn(disk)).next).toBe(50)
  })

  test('leaves the newest record also where what follows it is not committed yet', async () => {
    const disk = memoryDisk()
    const journal = await openOn(disk)
    await fill(journal, 50)
    await journal.close()
    disk.erase(disk.names().find((name) => name.endsWith('.open'))!)
    const again = await openOn(disk)
    const newest = again.append(recordOf(again.next)) - 1
    await again.trim(1_000_000)
    expect(await again.get(newest)).toEqual(recordOf(newest))
  })

  test('during a reading ends the trimmed part of it, not the rest', async () => {
    const journal = await openOn(memoryDisk())
    await fill(journal, 200)
    const seen: number[] = []
    for await (const { index } of journal.read(0)) {
      seen.push(index)
      if (index === 3) await journal.trim(150)
    }
    expect(seen.at(-1)).toBe(199)
    expect(seen.length).toBeLessThan(100)
    expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b))
  })
})

describe('a disk that is full', () => {
  test('fails the commit with a clear error, keeps what waits, and takes it when there is room again', async () => {
    const disk = memoryDisk()
    const journal = await openOn(disk)
    await fill(journal, 5)
    disk.fault = ({ what, name }) => {
      if (what === 'write' && name === 'next.new') throw systemError('ENOSPC')
      return undefined
    }
    for (let index = 5; index < 60; index++) journal.append(recordOf(index))
    await expect(journal.commit()).rejects.toThrow(
      /no room on its disk \(ENOSPC: simulated\), a segment takes 1024 bytes\. \d+ records wait in memory; free space, then/,
    )
    expect(journal.committed).toBeGreaterThan(5)
    expect(journal.committed).toBeLessThan(60)
    expect(await all(journal)).toEqual(expected(0, journal.committed))
    expect(disk.names()).toEqual(['0000000000000000.open'])
    expect(await all(await openOn(disk.afterKill()))).toEqual(expected(0, journal.committed))
    journal.append(recordOf(60))
    await expect(journal.commit()).rejects.toMatchObject({ code: 'no-space' })
    disk.fault = () => undefined
    await journal.commit()
    expect(await all(journal)).toEqual(expected(0, 61))
    const again = await openOn(disk.afterPowerCut(() => 0))
    expect(await all(again)).toEqual(expected(0, 61))
    expect(again.damage).toEqual([])
  })

  test('that takes half a write and then no more damages nothing', async () => {
    const disk = memoryDisk()
    const journal = await openOn(disk)
    await fill(journal, 5)
    let writes = 0
    disk.fault = ({ what, bytes }) => {
      if (what !== 'write') return undefined
      if (++writes % 2 === 0) throw systemError('ENOSPC')
      return bytes >> 1
    }
    await expect(journal.commit()).resolves.toBeUndefined()
    journal.append(recordOf(5))
    await expect(journal.commit()).rejects.toMatchObject({ code: 'no-space' })
    const killed = await openOn(disk.afterKill())
    expect(await all(killed)).toEqual(expected(0, 5))
    expect(killed.damage).toMatchObject([{ kind: 'torn', lostFrom: 5, lostTo: 5 }])
    disk.fault = () => undefined
    await journal.commit()
    expect(await all(journal)).toEqual(expected(0, 6))
  })

  test('that writes a few bytes at a time is a slow disk, no more', async () => {
    const disk = memoryDisk()
    const journal = await openOn(disk)
    disk.fault = ({ what, bytes }) => (what === 'write' ? Math.min(bytes, 100) : undefined)
    await fill(journal, 80)
    expect(await all(await openOn(disk.afterPowerCut(() => 0)))).toEqual(expected(0, 80))
  })
})

describe('a disk that fails', () => {
  for (const failing of ['write', 'datasync'] as const) {
    test(`in ${failing} breaks the journal until it is opened again`, async () => {
      const disk = memoryDisk()
      const journal = await openOn(disk)
      await fill(journal, 5)
      disk.fault = ({ what }) => {
        if (what === failing) throw systemError('EIO')
        return undefined
      }
      journal.append(recordOf(5))
      await expect(journal.commit()).rejects.toMatchObject({ code: 'broken', cause: { code: 'EIO' } })
      disk.fault = () => undefined
      await expect(journal.commit()).rejects.toThrow(
        'the disk failed (EIO: simulated). What was committed is kept; check the disk, then open the journal again.',
      )
      expect(journal.committed).toBe(5)
      expect(await all(journal)).toEqual(expected(0, 5))
      await journal.close()
      const again = await openOn(disk.afterPowerCut(() => 0))
      expect(await all(again)).toEqual(expected(0, 5))
      await fill(again, 5)
    })
  }

  test('in a read gives the error to the reader', async () => {
    const disk = memoryDisk()
    const journal = await openOn(disk)
    await fill(journal, 5)
    disk.fault = ({ what }) => {
      if (what === 'read') throw systemError('EIO')
      return undefined
    }
    await expect(journal.get(3)).rejects.toMatchObject({ code: 'EIO' })
    await expect(all(journal)).rejects.toMatchObject({ code: 'EIO' })
  })
})

describe('a disk that writes through', () => {
  /** The same disk where one call does both. */
  const throughFiles = (disk: JournalFiles): JournalFiles => ({
    ...disk,
    open: async (path, how) => {
      const file = await disk.open(path, how)
      const writeThrough = async (bytes: Uint8Array, position: number) => {
        const taken = await file.write(bytes, position)
        await file.datasync()
        return taken
      }
      return { ...file, writeThrough }
    },
  })

  test('keeps what a commit promised when the power goes, also where it takes a few bytes at a time', async () => {
    const disk = memoryDisk()
    const journal = await openJournal({ ...small, files: throughFiles(disk) })
    disk.fault = ({ what, bytes }) => (what === 'write' ? Math.min(bytes, 100) : undefined)
    await fill(journal, 80)
    expect(await all(await openOn(disk.afterPowerCut(() => 0)))).toEqual(expected(0, 80))
  })

  for (const failing of ['write', 'datasync'] as const) {
    test(`and has no room in its ${failing} keeps what waits, and writes all of it again`, async () => {
      const disk = memoryDisk()
      const journal = await openJournal({ ...small, files: throughFiles(disk) })
      await fill(journal, 5)
      disk.fault = ({ what }) => {
        if (what === failing) throw systemError('ENOSPC')
        return undefined
      }
      journal.append(recordOf(5))
      await expect(journal.commit()).rejects.toMatchObject({ code: 'no-space' })
      expect(journal.committed).toBe(5)
      disk.fault = () => undefined
      const before = disk.counts.get('write')!
      await journal.commit()
      expect(disk.counts.get('write')).toBe(before + 1)
      expect(await all(await openOn(disk.afterPowerCut(() => 0)))).toEqual(expected(0, 6))
    })
  }
})

test('the checksum of records is that of zlib, at every length, place and start', () => {
  const bytes = Uint8Array.from({ length: 1200 }, (_, at) => (at * 167) ^ (at >> 3))
  for (let length = 0; length <= 1100; length++) {
    const start = Math.imul(length, 0x9e3779b1) >>> 0
    const from = length % 9
    expect(crc32(bytes, from, from + length, start)).toBe(
      zlibCrc32(bytes.subarray(from, from + length), start),
    )
  }
})
