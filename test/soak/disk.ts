/** The real disk, made to fail for a while. */
import { diskFiles, type JournalFile, type JournalFiles } from '#gateway/journal/files.ts'
import { systemError } from '#test/journal-disk.ts'

type Work = 'open' | 'write' | 'datasync' | 'sync' | 'truncate' | 'rename' | 'remove' | 'syncDirectory'

/** How a disk fails: what the system says, and to what. */
export type DiskFault = { readonly code: string; readonly to: readonly Work[] }

/** Full, remounted read-only, worn out, and one that takes everything and keeps nothing. */
export const diskFaults: readonly DiskFault[] = [
  { code: 'ENOSPC', to: ['write'] },
  {
    code: 'EROFS',
    to: ['open', 'write', 'datasync', 'sync', 'truncate', 'rename', 'remove', 'syncDirectory'],
  },
  { code: 'EIO', to: ['write', 'datasync'] },
  { code: 'EIO', to: ['datasync'] },
]

/** The real files under a journal; while `fault` is set, the operations it names fail. */
export const failingDisk = (): {
  readonly files: JournalFiles
  fault: DiskFault | undefined
  failed: number
} => {
  const disk: ReturnType<typeof failingDisk> = { fault: undefined, failed: 0, files: diskFiles }
  const ask = (work: Work): void => {
    if (!disk.fault?.to.includes(work)) return
    disk.failed += 1
    throw systemError(disk.fault.code)
  }
  // Without `writeThrough`, so that writing and syncing can fail apart.
  const fileOf = ({ writeThrough: _, ...file }: JournalFile): JournalFile => ({
    ...file,
    write: async (bytes, position) => {
      ask('write')
      return file.write(bytes, position)
    },
    datasync: async () => {
      ask('datasync')
      await file.datasync()
    },
    sync: async () => {
      ask('sync')
      await file.sync()
    },
    truncate: async (bytes) => {
      ask('truncate')
      await file.truncate(bytes)
    },
  })
  const files: JournalFiles = {
    ...diskFiles,
    open: async (path, how) => {
      ask('open')
      return fileOf(await diskFiles.open(path, how))
    },
    syncDirectory: async (directory) => {
      ask('syncDirectory')
      await diskFiles.syncDirectory(directory)
    },
    rename: async (from, to) => {
      ask('rename')
      await diskFiles.rename(from, to)
    },
    remove: async (path) => {
      ask('remove')
      await diskFiles.remove(path)
    },
  }
  return Object.assign(disk, { files })
}
