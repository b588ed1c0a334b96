import { describe, expect, test } from 'vitest'
import { encodeRecord, recordBytes } from '#gateway/journal/segment.ts'
import { type MemoryDisk, memoryDisk } from '#test/journal-disk.ts'
import { all, expected, fill, openOn, recordOf } from '#test/journal-fill.ts'

describe('a segment cut short', () => {
  test('at any byte of its last records keeps every record before the cut, and takes new ones', async () => {
    const disk = memoryDisk()
    const journal = await openOn(disk)
    await fill(journal, 12)
    const name = '0000000000000000.open'
    const whole = disk.bytes(name)
    const ends: number[] = []
    let at = 40
    for (let index = 0; index < 12; index++) {
      at += recordBytes(recordOf(index).length)
      ends.push(at)
    }
    for (let cut = ends[7]! - 1; cut < whole.length; cut += cut < ends[11]! + 8 ? 1 : 9) {
      const left = memoryDisk(new Map([[name, whole.subarray(0, cut)]]))
      const reopened = await openOn(left)
      const kept = reopened.next
      expect(kept).toBeGreaterThanOrEqual(ends.filter((end) => end <= cut).length)
      expect(await all(reopened)).toEqual(expected(0, kept))
      expect(reopened.damage).toMatchObject([{ kind: 'torn', segment: name, lostFrom: kept, lostTo: kept }])
      await fill(reopened, 9)
      expect(await all(reopened)).toEqual(expected(0, kept + 9))
      const again = await openOn(left.afterPowerCut(() => 0))
      expect(await all(again)).toEqual(expected(0, kept + 9))
      expect(again.damage).toEqual([])
    }
  })

  test('to nothing reports it and never gives one of its indexes again', async () => {
    const disk = memoryDisk()
    const journal = await openOn(disk)
    await fill(journal, 5)
    for (const cut of [0, 1, 39]) {
      const left = memoryDisk(
        new Map([['0000000000000000.open', disk.bytes('0000000000000000.open').subarray(0, cut)]]),
      )
      const reopened = await openOn(left)
      expect(reopened.next).toBeGreaterThanOrEqual(5)
      expect(reopened.damage).toMatchObject([{ kind: 'damaged', lostFrom: 0, lostTo: reopened.next }])
      const index = reopened.append(recordOf(0))
      await reopened.commit()
      expect(await all(await openOn(left))).toEqual(new Map([[index, recordOf(0)]]))
    }
  })
})

describe('a flipped bit', () => {
  const flipEach = async (disk: MemoryDisk, name: string, from: number, to: number, count: number) => {
    const whole = disk.bytes(name)
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const bytes = Buffer.from(whole)
      bytes[bit >> 3]! ^= 1 << (bit & 7)
      const flipped = disk.afterKill()
      flipped.put(name, bytes)
      const journal = await openOn(flipped)
      const found = await all(journal)
      const told = `bit ${bit}`
      expect(journal.damage.length, told).toBe(1)
      expect(found.size, told).toBeGreaterThanOrEqual(count - 1)
      for (const [index, record] of found) {
        if (Buffer.compare(record, recordOf(index)) !== 0) expect.fail(`bit ${bit} changed record ${index}`)
      }
      if (found.size < count) {
        const lost = expected(0, count)
          .keys()
          .find((index) => !found.has(index))!
        expect(lost, told).toBeGreaterThanOrEqual(from)
        expect(lost, told).toBeLessThan(to)
        if (journal.damage[0]!.kind === 'torn') expect(lost, told).toBe(count - 1)
        else expect(journal.damage[0], told).toMatchObject({ lostFrom: lost, lostTo: lost + 1 })
      }
      if (bit % 16 === 0) {
        const next = journal.next
        await fill(journal, 3)
        const again = await all(await openOn(flipped.afterPowerCut(() => 0)))
        expect(again, told).toEqual(new Map([...found, ...expected(next, next + 3)]))
      }
    }
  }

  test('anywhere in the open segment costs at most the record it hit, and is reported', async () => {
    const disk = memoryDisk()
    await fill(await openOn(disk, { segmentBytes: 640 }), 7)
    await flipEach(disk, '0000000000000000.open', 0, 7, 7)
  })

  test('anywhere in a sealed segment costs at most the record it hit, and is reported', async () => {
    const disk = memoryDisk()
    const journal = await openOn(disk, { segmentBytes: 640, maxRecordBytes: 100 })
    await fill(journal, 24)
    await journal.close()
    const [, name] = disk.names().filter((each) => each.endsWith('.seg'))
    const from = Number(name!.slice(0, 16))
    await flipEach(disk, name!, from, from + 12, 24)
  })

  test('that happens while the journal is open is found by the reading', async () => {
    const disk = memoryDisk()
    const journal = await openOn(disk)
    await fill(journal, 5)
    const file = await disk.open('0000000000000000.open', 'change')
    await file.write(Uint8Array.of(0xa5), 40 + 30)
    expect(await journal.get(0)).toBeUndefined()
    expect((await all(journal)).size).toBe(4)
    expect(journal.damage).toMatchObject([{ kind: 'damaged', offset: 40, lostFrom: 0, lostTo: 1 }])
  })
})

describe('bytes that are no record of this journal', () => {
  const name = '0000000000000000.open'

  test('an old record behind the end does not come back to life', async () => {
    const disk = memoryDisk()
    await fill(await openOn(disk), 5)
    const bytes = disk.bytes(name)
    const lengths = [0, 1, 2, 3].map((index) => recordBytes(recordOf(index).length))
    const third = 40 + lengths[0]! + lengths[1]! + lengths[2]!
    const end = third + lengths[3]! + recordBytes(recordOf(4).length)
    // A whole copy of record 3, exactly behind where record 5 will be.
    const behind = end + recordBytes(recordOf(5).length)
    bytes.copy(bytes, behind, third, third + lengths[3]!)
    disk.put(name, bytes)
    const journal = await openOn(disk)
    expect(journal.next).toBe(5)
    expect(journal.damage).toMatchObject([{ kind: 'torn', offset: end, lostFrom: 5, lostTo: 5 }])
    await fill(journal, 1)
    const again = await openOn(disk.afterPowerCut(() => 0))
    expect(again.next).toBe(6)
    expect(again.damage).toEqual([])
  })

  test('a torn record is not glued to the next one', async () => {
    const disk = memoryDisk()
    await fill(await openOn(disk), 5)
    const bytes = disk.bytes(name)
    const end = [0, 1, 2, 3].reduce((sum, index) => sum + recordBytes(recordOf(index).length), 40)
    bytes[end + 20]! ^= 1
    disk.put(name, bytes)
    const journal = await openOn(disk)
    expect(journal.next).toBe(4)
    journal.append(Uint8Array.of(1))
    await journal.commit()
    const after = disk.bytes(name)
    expect(after.subarray(end + 24, 1024 - 40).every((byte) => byte === 0)).toBe(true)
  })

  test('a record forged inside a payload is not taken for one when the record around it is damaged', async () => {
    const forged = Buffer.alloc(48)
    encodeRecord(forged, 0, 2, Buffer.from('forged forged forged forged'), 0xbad)
    for (const damaged of [40, 44]) {
      const disk = memoryDisk()
      const journal = await openOn(disk)
      journal.append(Buffer.concat([Buffer.alloc(8), forged, Buffer.alloc(8), forged]))
      await fill(journal, 4)
      const bytes = disk.bytes(name)
      bytes[damaged]! ^= 4
      disk.put(name, bytes)
      const again = await openOn(disk)
      expect(await all(again)).toEqual(expected(1, 5))
      expect(again.damage).toMatchObject([{ kind: 'damaged', offset: 40, lostFrom: 0, lostTo: 1 }])
    }
  })

  test('a segment of another version is refused, not overwritten', async () => {
    const disk = memoryDisk()
    await fill(await openOn(disk), 5)
    const { crc32 } = await import('node:zlib')
    const bytes = disk.bytes(name)
    bytes.writeUInt16LE(2, 6)
    bytes.writeUInt32LE(crc32(bytes.subarray(24, 40), crc32(bytes.subarray(0, 20))), 20)
    disk.put(name, bytes)
    await expect(openOn(disk)).rejects.toThrow(
      `${name}: journal segment 0 has format 2, this program reads 1`,
    )
    expect(disk.bytes(name)).toEqual(bytes)
  })

  test('other files in the directory are left alone', async () => {
    const disk = memoryDisk(new Map([['notes.txt', Buffer.from('mine')]]))
    await fill(await openOn(disk), 50)
    expect(disk.bytes('notes.txt').toString()).toBe('mine')
  })
})

describe('segments gone or doubled', () => {
  const sealedOf = (disk: MemoryDisk) => disk.names().filter((name) => name.endsWith('.seg'))

  const filled = async () => {
    const disk = memoryDisk()
    const journal = await openOn(disk)
    await fill(journal, 100)
    await journal.close()
    return disk
  }

  test('a missing segment in between is reported with the indexes it held', async () => {
    const disk = await filled()
    const names = sealedOf(disk)
    const [from, to] = [names[1], names[2]].map((name) => Number(name!.slice(0, 16)))
    disk.erase(names[1]!)
    const journal = await openOn(disk)
    expect(journal.damage).toMatchObject([{ kind: 'damaged', segment: names[0], lostFrom: from, lostTo: to }])
    expect(await all(journal)).toEqual(new Map([...expected(0, from!), ...expected(to!, 100)]))
    expect(await journal.get(from!)).toBeUndefined()
  })

  test('a sealed segment cut short is reported with the indexes it lost', async () => {
    const disk = await filled()
    const [, name, after] = sealedOf(disk)
    const to = Number(after!.slice(0, 16))
    disk.put(name!, disk.bytes(name!).subarray(0, 700))
    const journal = await openOn(disk)
    const [lost] = journal.damage.filter(({ lostTo, lostFrom }) => lostTo > lostFrom)
    expect(lost).toMatchObject({ kind: 'damaged', segment: name, lostTo: to })
    expect(await all(journal)).toEqual(new Map([...expected(0, lost!.lostFrom), ...expected(to, 100)]))
  })

  test('the last segment gone leaves an index that goes on behind the sealed ones', async () => {
    const disk = await filled()
    const open = disk.names().find((name) => name.endsWith('.open'))!
    disk.erase(open)
    const journal = await openOn(disk)
    expect(journal.next).toBe(Number(open.slice(0, 16)))
    await fill(journal, 3)
    expect(await all(journal)).toEqual(expected(0, journal.next))
  })

  test('two files of one segment become one again, the fuller one', async () => {
    const disk = await filled()
    const [, name] = sealedOf(disk)
    const open = `${name!.slice(0, 16)}.open`
    disk.put(open, disk.bytes(name!).subarray(0, 600))
    let journal = await openOn(disk)
    expect(await all(journal)).toEqual(expected(0, 100))
    expect(disk.names()).not.toContain(open)
    await journal.close()

    disk.put(open, disk.bytes(name!))
    disk.put(name!, disk.bytes(name!).subarray(0, 600))
    journal = await openOn(disk)
    expect(await all(journal)).toEqual(expected(0, 100))
    expect(journal.damage).toEqual([])
    expect(disk.names()).toContain(name)
  })

  test('a half-written spare is removed', async () => {
    const disk = await filled()
    disk.put('next.new', Buffer.alloc(300, 1))
    const journal = await openOn(disk)
    expect(disk.names()).not.toContain('next.new')
    await fill(journal, 100)
    expect(await all(journal)).toEqual(expected(0, 200))
  })
})
