import { spawn, spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { temporaryDirectory } from '#test/temporary.ts'

// A file system of its own without being root: a user namespace in which one is, and a mount that ends with the process.
const mounted = (directory: string, command: readonly string[]): readonly string[] => [
  '-rm',
  'sh',
  '-c',
  'mount -t tmpfs -o size=640k none "$0" && exec "$@"',
  directory,
  ...command,
]

const possible = spawnSync('unshare', [...mounted(tmpdir(), ['true'])]).status === 0
const hint = possible ? '' : ' (SKIPPED: this system lets nobody mount a file system in a user namespace)'

describe.skipIf(!possible)(`a file system that gets full${hint}`, () => {
  test('stops no station, is in its status, and costs no reading once there is room again', {
    timeout: 90_000,
  }, async () => {
    const directory = temporaryDirectory()
    const script = fileURLToPath(new URL('kill/full-disk.ts', import.meta.url))
    const child = spawn('unshare', [...mounted(directory, [process.execPath, script, directory])])
    const [said, complaints] = await Promise.all([text(child.stdout), text(child.stderr)])
    expect(complaints).toBe('')
    const found = JSON.parse(said) as {
      emitted: number
      delivered: number[]
      fullAt: { state: string; detail: string; held: number }[]
    }
    expect(found).toMatchObject({ twice: 0, lost: 0, conflict: null, refused: 0, failures: [] })
    expect(found.fullAt).toHaveLength(3)
    for (const { state, detail, held } of found.fullAt) {
      expect(state).toBe('full')
      expect(detail).toContain('ENOSPC')
      expect(held).toBeGreaterThanOrEqual(150)
    }
    expect(found.delivered.toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: found.emitted }, (_, at) => at + 1),
    )
  })
})
