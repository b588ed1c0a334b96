/** A disk in memory that forgets what was not synced when the power goes, and can be made to fail on demand. */
import type { JournalFile, JournalFiles } from '#gateway/journal/files.ts'

type Change = { readonly at: number; readonly bytes: Uint8Array } | { readonly length: number }
type Inode = { live: Uint8Array<ArrayBuffer>; durable: Uint8Array<ArrayBuffer>; pending: Change[] }
type NameChange =
  | { readonly kind: 'made'; readonly name: string; readonly inode: Inode }
  | { readonly kind: 'renamed'; readonly name: string; readonly to: string }
  | { readonly kind: 'removed'; readonly name: string }
type Names = Map<string, Inode>

/** One operation on the disk, for faults and for counting. */
export type Operation = {
  readonly what:
    | 'open'
    | 'read'
    | 'write'
    | 'datasync'
    | 'sync'
    | 'truncate'
    | 'rename'
    | 'remove'
    | 'syncDirectory'
  readonly name: string
  readonly bytes: number
}

/** Asked before each operation: throw to fail it, or answer how many bytes a read or write may move. */
export type Fault = (operation: Operation) => number | undefined

export type MemoryDisk = JournalFiles & {
  fault: Fault
  readonly counts: Map<Operation['what'], number>
  readonly names: () => string[]
  readonly bytes: (name: string) => Buffer
  readonly put: (name: string, bytes: Uint8Array) => void
  readonly erase: (name: string) => void
  /** The disk as the next boot finds it: of what was not synced, each 512-byte sector is there or not. */
  readonly afterPowerCut: (chance: () => number) => MemoryDisk
  /** The disk as the next process finds it after kill -9: all that was written is there, synced or not. */
  readonly afterKill: () => MemoryDisk
}

/** An error as node:fs would throw it. */
export const systemError = (code: string): Error => Object.assign(new Error(`${code}: simulated`), { code })

const sectorBytes = 512

const resized = (bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> => {
  const result = new Uint8Array(length)
  result.set(bytes.subarray(0, length))
  return result
}

const changed = (bytes: Uint8Array<ArrayBuffer>, change: Change): Uint8Array<ArrayBuffer> => {
  if ('length' in change) return resized(bytes, change.length)
  const end = change.at + change.bytes.length
  const result = end > bytes.length ? resized(bytes, end) : bytes
  result.set(change.bytes, change.at)
  return result
}

const sectors = (change: Change): Change[] => {
  if ('length' in change) return [change]
  const parts: Change[] = []
  for (let from = 0; from < change.bytes.length; ) {
    const to = Math.min(change.bytes.length, from + sectorBytes - ((change.at + from) % sectorBytes))
    parts.push({ at: change.at + from, bytes: change.bytes.subarray(from, to) })
    from = to
  }
  return parts
}

const apply = (names: Names, change: NameChange): void => {
  if (change.kind === 'made') names.set(change.name, change.inode)
  if (change.kind === 'renamed') names.set(change.to, names.get(change.name)!)
  if (change.kind !== 'made') names.delete(change.name)
}

/** A disk with one directory, empty or with that content; the directory part of a path is ignored. */
export const memoryDisk = (content: ReadonlyMap<string, Uint8Array> = new Map()): MemoryDisk => {
  const names: Names = new Map()
  for (const [name, bytes] of content) {
    names.set(name, { live: new Uint8Array(bytes), durable: new Uint8Array(bytes), pending: [] })
  }
  return diskOf(names, new Map(names), [])
}

const diskOf = (live: Names, durable: Names, unsynced: readonly NameChange[]): MemoryDisk => {
  let nameChanges = [...unsynced]
  const counts = new Map<Operation['what'], number>()
  const base = (path: string): string => path.slice(path.lastIndexOf('/') + 1)
  const begin = (what: Operation['what'], path: string, bytes = 0): number => {
    counts.set(what, (counts.get(what) ?? 0) + 1)
    return Math.min(bytes, disk.fault({ what, name: base(path), bytes }) ?? bytes)
  }
  const rename = (change: NameChange): void => {
    apply(live, change)
    nameChanges.push(change)
  }
  const found = (path: string): Inode => {
    const inode = live.get(base(path))
    if (!inode) throw systemError('ENOENT')
    return inode
  }
  const settle = (inode: Inode): void => {
    inode.durable = inode.live.slice()
    inode.pending = []
  }
  const change = (inode: Inode, what: Change): void => {
    inode.live = changed(inode.live, what)
    inode.pending.push(what)
  }
  const nameOf = (inode: Inode): string => [...live].find(([, held]) => held === inode)?.[0] ?? 'removed'
  const fileOf = (inode: Inode): JournalFile => {
    let open = true
    const use = (what: Operation['what'], bytes?: number): number => {
      if (!open) throw systemError('EBADF')
      return begin(what, nameOf(inode), bytes)
    }
    return {
      read: async (into, position) => {
        const allowed = use('read', into.length)
        const bytes = inode.live.subarray(position, position + allowed)
        into.set(bytes)
        return bytes.length
      },
      write: async (bytes, position) => {
        const taken = use('write', bytes.length)
        change(inode, { at: position, bytes: bytes.slice(0, taken) })
        return taken
      },
      datasync: async () => {
        use('datasync')
        settle(inode)
      },
      sync: async () => {
        use('sync')
        settle(inode)
      },
      truncate: async (length) => {
        use('truncate')
        change(inode, { length })
      },
      size: async () => inode.live.length,
      close: async () => {
        open = false
      },
    }
  }
  const disk: MemoryDisk = {
    fault: () => undefined,
    counts,
    open: async (path, how) => {
      begin('open', path)
      const name = base(path)
      if (how === 'create' && !live.has(name)) {
        const inode: Inode = { live: new Uint8Array(), durable: new Uint8Array(), pending: [] }
        rename({ kind: 'made', name, inode })
      }
      const inode = found(path)
      if (how === 'create' && inode.live.length > 0) change(inode, { length: 0 })
      return fileOf(inode)
    },
    list: async () => [...live.keys()],
    makeDirectory: async () => undefined,
    syncDirectory: async (path) => {
      begin('syncDirectory', path)
      for (const each of nameChanges) apply(durable, each)
      nameChanges = []
    },
    rename: async (from, to) => {
      begin('rename', from)
      found(from)
      rename({ kind: 'renamed', name: base(from), to: base(to) })
    },
    remove: async (path) => {
      begin('remove', path)
      found(path)
      rename({ kind: 'removed', name: base(path) })
    },
    names: () => [...live.keys()].sort(),
    bytes: (name) => Buffer.from(found(name).live),
    put: (name, bytes) => {
      const inode: Inode = { live: new Uint8Array(bytes), durable: new Uint8Array(bytes), pending: [] }
      live.set(name, inode)
      durable.set(name, inode)
    },
    erase: (name) => {
      live.delete(name)
      durable.delete(name)
    },
    afterKill: () => {
      const copies = new Map<Inode, Inode>()
      const copy = (inode: Inode): Inode => {
        const made = copies.get(inode) ?? { ...inode, live: inode.live.slice(), pending: [...inode.pending] }
        copies.set(inode, made)
        return made
      }
      const copyAll = (names: Names): Names => new Map([...names].map(([name, inode]) => [name, copy(inode)]))
      const changes = nameChanges.map((each) =>
        each.kind === 'made' ? { ...each, inode: copy(each.inode) } : each,
      )
      return diskOf(copyAll(live), copyAll(durable), changes)
    },
    afterPowerCut: (chance) => {
      const names = new Map(durable)
      // A journalling file system keeps the order of changes to a directory.
      const keep = Math.floor(chance() * (nameChanges.length + 1))
      for (const each of nameChanges.slice(0, keep)) apply(names, each)
      const left = new Map<string, Uint8Array>()
      for (const [name, inode] of names) {
        const luck = chance()
        let bytes = inode.durable.slice()
        for (const part of inode.pending.flatMap(sectors)) if (chance() < luck) bytes = changed(bytes, part)
        left.set(name, bytes)
      }
      return memoryDisk(left)
    },
  }
  return disk
}

/** The same disk with a lying cache: no sync reaches the medium. The control of every power cut. */
export const withoutSync = (files: JournalFiles): JournalFiles => ({
  ...files,
  syncDirectory: async () => {},
  open: async (path, how) => {
    const file = await files.open(path, how)
    return { ...file, writeThrough: file.write, datasync: async () => {}, sync: async () => {} }
  },
})
