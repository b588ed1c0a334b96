import { readdirSync, readlinkSync } from 'node:fs'
import { describe, expect, test, vi } from 'vitest'
import { diskFiles, type JournalFiles } from '#gateway/journal/files.ts'
import { openJournal } from '#gateway/journal/open.ts'
import { openLasting } from '#gateway/outbox/lasting.ts'
import { systemError } from '#test/journal-disk.ts'
import { recordOf } from '#test/journal-fill.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const sizes = { segmentBytes: 4096, maxRecordBytes: 1024 } as const

/** Descriptors of this process that point into a directory. */
const openIn = (directory: string): string[] =>
  readdirSync('/proc/self/fd').flatMap((name) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${name}`)
      return target.startsWith(directory) ? [target.slice(directory.length + 1)] : []
    } catch {
      return [] // the descriptor that the listing itself used
    }
  })

type Step = 'write' | 'writeThrough' | 'datasync' | 'sync' | 'truncate' | 'close'
type Call = Step | 'rename' | 'remove' | 'syncDirectory'

/** The real disk, on which these operations fail once `failing` is true; a file that fails to close is closed. */
const failingDisk = (calls: readonly Call[]) => {
  const state = { failing: false }
  const check = (call: Call): void => {
    if (state.failing && calls.includes(call)) throw systemError('EIO')
  }
  const files: JournalFiles = {
    ...diskFiles,
    open: async (path, how) => {
      const file = await diskFiles.open(path, how)
      return {
        ...file,
        write: async (bytes, position) => {
          check('write')
          return file.write(bytes, position)
        },
        writeThrough: async (bytes, position) => {
          check('writeThrough')
          return (file.writeThrough ?? file.write)(bytes, position)
        },
        datasync: async () => {
          check('datasync')
          await file.datasync()
        },
        sync: async () => {
          check('sync')
          await file.sync()
        },
        truncate: async (bytes) => {
          check('truncate')
          await file.truncate(bytes)
        },
        close: async () => {
          await file.close()
          check('close')
        },
      }
    },
    rename: async (from, to) => {
      check('rename')
      await diskFiles.rename(from, to)
    },
    remove: async (path) => {
      check('remove')
      await diskFiles.remove(path)
    },
    syncDirectory: async (directory) => {
      check('syncDirectory')
      await diskFiles.syncDirectory(directory)
    },
  }
  return { files, state }
}

const kinds: readonly (readonly Call[])[] = [
  ['writeThrough'],
  ['write', 'writeThrough', 'datasync', 'sync'],
  ['syncDirectory'],
  ['rename'],
  ['truncate'],
  ['writeThrough', 'remove'],
  ['syncDirectory', 'remove'],
  ['writeThrough', 'close'],
  ['close', 'remove', 'rename', 'syncDirectory'],
]

describe.skipIf(process.platform !== 'linux')('descriptors of a journal', () => {
  test.each(kinds.map((calls) => [calls.join(', '), calls] as const))(
    'are all given back where the disk fails at %s, and at any moment',
    async (_, calls) => {
      const directory = temporaryDirectory()
      for (let good = 0; good < 12; good++) {
        const { files, state } = failingDisk(calls)
        const journal = await openJournal({ directory, ...sizes, files })
        for (let n = 0; n < 20; n++) {
          state.failing = n >= good
          try {
            journal.append(recordOf(n))
            await journal.commit()
          } catch {
            // broken, or no longer taking any: that is not what is asked here
          }
        }
        await journal.close().catch(() => undefined)
        expect(openIn(directory)).toEqual([])
      }
    },
  )

  test('do not grow in number while a disk fails for long and is tried again and again', async () => {
    const directory = temporaryDirectory()
    const { files, state } = failingDisk(['writeThrough', 'remove'])
    let attempts = 0
    await using lasting = await openLasting({
      open: () => {
        attempts++
        return openJournal({ directory, ...sizes, files })
      },
      longestBackoffMs: 1,
    })
    for (let n = 0; n < 8; n++) {
      lasting.append(recordOf(n))
      await lasting.commit()
    }
    const most = openIn(directory).length + 4 // of a segment and a spare, two descriptors each
    state.failing = true
    lasting.append(recordOf(9))
    await lasting.commit()
    await vi.waitFor(() => expect(attempts).toBeGreaterThan(30), { timeout: 10_000 })
    expect(openIn(directory).length).toBeLessThanOrEqual(most)
    state.failing = false
    await vi.waitFor(() => expect(lasting.disk.state).toBe('ok'), { timeout: 10_000 })
  })
})
