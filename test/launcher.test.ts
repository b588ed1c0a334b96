/** The `groundtruth` command, as it is installed: what it starts, and as what. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { temporaryDirectory } from '#test/temporary.ts'

const launcher = fileURLToPath(new URL('../gateway/groundtruth.mjs', import.meta.url))

const launch = (...args: string[]) => {
  const child = spawn(process.execPath, [launcher, ...args], {
    env: { ...process.env, XDG_CACHE_HOME: temporaryDirectory() },
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  let [out, err] = ['', '']
  child.stdout.on('data', (text: Buffer) => {
    out += text.toString()
  })
  child.stderr.on('data', (text: Buffer) => {
    err += text.toString()
  })
  return { child, out: () => out, err: () => err }
}

describe('the groundtruth command', () => {
  test('passes on what it is told, what is said, and how it ended', { timeout: 60_000 }, async () => {
    const good = launch('config', 'sample')
    expect(await once(good.child, 'close')).toEqual([0, null])
    expect(good.out()).toContain('edge:')
    expect(good.err()).toBe('')
    const wrong = launch('no-such-command')
    expect((await once(wrong.child, 'close'))[0]).toBe(64)
  })

  test.runIf(existsSync('/proc/self/cmdline'))(
    'becomes the station: one process, with little space for new objects, that stops when it is told',
    { timeout: 60_000 },
    async () => {
      const directory = temporaryDirectory()
      const config = join(directory, 'station.yaml')
      const sensors = [{ id: 'a', model: 'text-lines', link: 'tcp://127.0.0.1:9' }]
      writeFileSync(config, JSON.stringify({ edge: { broker: { url: 'mqtt://127.0.0.1:9' }, sensors } }))
      const { child, err } = launch('run', '--config', config, '--data', join(directory, 'data'))
      await expect.poll(err, { timeout: 50_000 }).toContain('with 1 device')
      const running = readFileSync(`/proc/${child.pid}/cmdline`, 'utf8').split('\0')
      expect(running).toContain('--max-semi-space-size=1')
      expect(running.some((arg) => arg.endsWith('main.ts'))).toBe(true)
      child.kill('SIGTERM')
      expect(await once(child, 'close')).toEqual([0, null])
    },
  )
})
