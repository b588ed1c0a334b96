/** The disk that the station's state is on, and how much of it waits for receipts. */
import { access, constants, readdir, stat, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Check, type Finding, fail, ok, warn } from './doctor.ts'

const MiB = 1024 * 1024
// Less than this is gone within days; without a little room not even a cursor can be written.
const lowBytes = 512 * MiB
const fullBytes = 32 * MiB
const staleMs = 24 * 3600_000
const maxFiles = 10_000

const nearestExisting = async (path: string): Promise<string> => {
  for (let at = path; ; at = dirname(at))
    if ((await stat(at).catch(() => undefined)) || at === dirname(at)) return at
}

const writable = async (directory: string, existing: string): Promise<Finding> => {
  try {
    await access(existing, constants.W_OK | constants.X_OK)
    return ok('disk', `${directory} can be written`)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EROFS'
      ? fail(
          'disk',
          `${directory} is on a disk that is read-only`,
          'Run "dmesg | tail": a worn SD card does that. Or give another place with --data DIR.',
        )
      : fail(
          'disk',
          `${directory} is not writable for this user`,
          `Run this as the station's user, or: chown -R $USER ${existing}`,
        )
  }
}

const space = async (existing: string): Promise<Finding> => {
  const { bavail, bsize, blocks } = await statfs(existing)
  const free = bavail * bsize
  const shown = `${Math.floor(free / MiB)} MiB of ${Math.floor((blocks * bsize) / MiB)} MiB are free at ${existing}`
  if (free < fullBytes)
    return fail('disk', shown, 'Delete what is not needed: readings are lost when nothing can be written.')
  return free < lowBytes
    ? warn('disk', shown, 'Make room, or bound the outbox with edge.outbox.maxMiB.')
    : ok('disk', shown)
}

/** Size of the outbox, and since when its oldest part has not been changed. */
const outboxOf = async (folder: string): Promise<{ bytes: number; oldestMs: number } | undefined> => {
  const names = await readdir(folder, { recursive: true }).catch(() => undefined)
  if (!names) return undefined
  let bytes = 0
  let oldestMs = Number.POSITIVE_INFINITY
  for (const name of names.slice(0, maxFiles)) {
    const file = await stat(join(folder, name)).catch(() => undefined)
    if (!file?.isFile()) continue
    bytes += file.size
    oldestMs = Math.min(oldestMs, file.mtimeMs)
  }
  return { bytes, oldestMs }
}

const waiting = async (directory: string, maxMiB: number, nowMs: number): Promise<Finding[]> => {
  const outbox = await outboxOf(join(directory, 'outbox', 'envelopes'))
  if (!outbox) return []
  const sizeMiB = outbox.bytes / MiB
  const hours = Math.max(0, Math.floor((nowMs - outbox.oldestMs) / 3600_000))
  const shown = `the outbox takes ${sizeMiB.toFixed(1)} MiB of at most ${maxMiB}`
  const since =
    Number.isFinite(outbox.oldestMs) && nowMs - outbox.oldestMs > staleMs
      ? `, the oldest part since ${hours} h`
      : ''
  if (sizeMiB > maxMiB * 0.8)
    return [
      warn('disk', shown + since, 'Check the broker and the hub below: no receipts come, or too slowly.'),
    ]
  return [ok('disk', shown + since)]
}

export const disk: Check = {
  name: 'disk',
  run: async ({ config, nowMs }) => {
    if (!config) return []
    const directory = join(config.data, 'edge')
    const existing = await nearestExisting(directory)
    return [
      await writable(directory, existing),
      await space(existing),
      ...(await waiting(directory, config.edge.outbox.maxMiB, nowMs())),
    ]
  },
}
