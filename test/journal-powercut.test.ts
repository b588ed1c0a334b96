/**
 * The power is cut under a journal on ext4: the writer is stopped, the image that its file system lives on is copied
 * (it holds only what left the page cache for the disk), the copy is mounted, and every promised record must be there.
 * Mounting happens in private namespaces, which take their mounts and loop devices with them when they end.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { copyFile, mkdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const script = join(import.meta.dirname, 'journal-powercut-process.ts')
const imageBytes = 24 * 1024 * 1024
// commit: the file system's own timer must not save the control; noload is not given, so its journal is replayed.
const inMounted = 'mount -o loop,commit=300 "$1" "$2" && shift 2 && exec "$@"'

const mounted = (image: string, at: string, ...command: string[]): ChildProcess =>
  spawn(
    'unshare',
    ['--mount', '--propagation', 'private', 'sh', '-c', inMounted, 'sh', image, at, ...command],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )

const makeImage = (path: string): void => {
  execFileSync('truncate', ['-s', String(imageBytes), path])
  execFileSync('mkfs.ext4', ['-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0', path])
}

/** Why power cuts cannot be tried here, or undefined where they can. */
const obstacle = (): string | undefined => {
  if (process.platform !== 'linux') return 'it needs Linux'
  if (process.getuid?.() !== 0) return 'it needs root to mount'
  const directory = mkdtempSync(join(tmpdir(), 'powercut-try-'))
  try {
    const image = join(directory, 'image')
    makeImage(image)
    mkdirSync(join(directory, 'mnt'))
    const arguments_ = ['--mount', '--propagation', 'private', 'sh', '-c', inMounted, 'sh', image]
    const tried = spawnSync('unshare', [...arguments_, join(directory, 'mnt'), 'true'], { encoding: 'utf8' })
    return tried.status === 0
      ? undefined
      : `mounting an image fails: ${tried.stderr.trim() || tried.error?.message}`
  } catch (error) {
    return `making an image fails: ${(error as Error).message}`
  } finally {
    rmSync(directory, { recursive: true })
  }
}

const why = obstacle()
if (why) console.warn(`SKIPPED: the journal's power cut test, because ${why}.`)

type Checked = { lost: number; wrong: number; next: number; damage: { lostFrom: number; lostTo: number }[] }

describe.skipIf(why !== undefined)('when the power goes', { timeout: 60_000 }, () => {
  let directory: string
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'powercut-'))
    makeImage(join(directory, 'empty'))
  })
  afterAll(() => rmSync(directory, { recursive: true }))

  /** Cuts the power once `promises` commits were answered; gives what was promised and what is left of it. */
  const cut = async (
    seed: number,
    promises: number,
    ...how: string[]
  ): Promise<Checked & { promised: number }> => {
    const place = join(directory, `${how[0] ?? 'honest'}-${seed}`)
    const [image, copy, mount] = [join(place, 'image'), join(place, 'copy'), join(place, 'mnt')]
    await mkdir(mount, { recursive: true })
    await copyFile(join(directory, 'empty'), image)
    const writer = mounted(
      image,
      mount,
      process.execPath,
      script,
      'write',
      join(mount, 'j'),
      String(seed),
      ...how,
    )
    let promised = 0
    let count = 0
    try {
      const lines = createInterface({ input: writer.stdout! })
      lines.on('line', (line) => {
        promised = Number(line)
        if (++count === promises) writer.kill('SIGSTOP')
      })
      const ended = once(writer, 'exit').then(([code]) => {
        if (count < promises) throw new Error(`the writer ended with ${code} after ${count} promises`)
      })
      while (count < promises) await Promise.race([sleep(5), ended])
      // A flush under way ends in the kernel, and what was promised before the stop arrives through the pipe.
      await sleep(100)
      await copyFile(image, copy)
    } finally {
      const gone = writer.exitCode === null && writer.signalCode === null ? once(writer, 'exit') : undefined
      writer.kill('SIGKILL')
      await gone
    }
    const told = await mountedOutput(copy, mount, join(mount, 'j'), seed, promised)
    await rm(place, { recursive: true })
    return { ...(JSON.parse(told) as Checked), promised }
  }

  const mountedOutput = async (
    image: string,
    at: string,
    journal: string,
    seed: number,
    promised: number,
  ) => {
    const reader = mounted(
      image,
      at,
      process.execPath,
      script,
      'check',
      journal,
      String(seed),
      String(promised),
    )
    let told = ''
    reader.stdout!.on('data', (data) => {
      told += data
    })
    const [code] = await once(reader, 'close')
    if (code !== 0) throw new Error(`the check ended with ${code}`)
    return told
  }

  const seeds = (from: number, count: number) => Array.from({ length: count }, (_, at) => from + at)

  test('no record is lost that a commit had promised', async () => {
    for (const seed of seeds(1, 6)) {
      const result = await cut(seed, 20 + ((seed * 89) % 300))
      const told = `seed ${seed}: ${JSON.stringify(result)}`
      expect(result.promised, told).toBeGreaterThan(20)
      expect([result.lost, result.wrong], told).toEqual([0, 0])
      for (const { lostFrom, lostTo } of result.damage)
        expect(lostTo === lostFrom || lostFrom >= result.promised, told).toBe(true)
    }
  })

  test('records are lost where the syncs are left out, or the test above proves nothing', async () => {
    let lost = 0
    for (const seed of seeds(101, 3)) lost += (await cut(seed, 20 + ((seed * 89) % 300), 'lying')).lost
    expect(lost).toBeGreaterThan(0)
  })
})
