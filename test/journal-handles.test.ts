import { expect, test } from 'vitest'
import type { JournalFiles } from '#gateway/journal/files.ts'
import { openJournal } from '#gateway/journal/open.ts'
import { memoryDisk, type Operation, systemError } from '#test/journal-disk.ts'

/** A disk that knows how many of its files are open. */
const countingDisk = () => {
  const disk = memoryDisk()
  let open = 0
  const files: JournalFiles = {
    ...disk,
    open: async (path, how) => {
      const file = await disk.open(path, how)
      open += 1
      return {
        ...file,
        close: async () => {
          await file.close()
          open -= 1
        },
      }
    },
  }
  return { disk, files, open: () => open }
}

const works: readonly Operation['what'][] = [
  ...([
    'write',
    'datasync',
    'sync',
    'truncate',
    'rename',
    'remove',
    'syncDirectory',
    'read',
    'open',
  ] as const),
]

test.each(works)('a disk that fails at %s leaves no file open when the journal is closed', async (what) => {
  // At each place of some segments: while they are filled, sealed, made ready and given up.
  for (let place = 0; place < 60; place++) {
    const { disk, files, open } = countingDisk()
    const journal = await openJournal({ directory: '/d', segmentBytes: 4096, maxRecordBytes: 512, files })
    let done = 0
    disk.fault = (operation) => {
      if (operation.what === what && done++ >= place) throw systemError('EIO')
      return undefined
    }
    const records = 50 + (place % 20)
    for (let n = 0; n < records; n++) {
      journal.append(new Uint8Array(200).fill(n))
      const failed = await journal.commit().then(
        () => false,
        () => true,
      )
      if (n % 20 === 19) await journal.trim(n - 10).catch(() => undefined)
      if (failed) break
    }
    await journal.close().catch(() => undefined)
    expect(open(), `after ${place} that went well`).toBe(0)
  }
})
