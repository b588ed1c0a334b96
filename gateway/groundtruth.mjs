#!/usr/bin/env node
// The `groundtruth` command: runs main.ts under the Node that is installed beside it, whatever the system's is.
import { spawn } from 'node:child_process'
import { existsSync, realpathSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(realpathSync(fileURLToPath(import.meta.url)))
const own = join(here, '..', 'node_modules', '.bin', 'node')
const [major, minor] = process.versions.node.split('.').map(Number)

if (!existsSync(own) && (major < 24 || (major === 24 && minor < 21))) {
  process.stderr.write(
    `Groundtruth needs Node 24.21 or newer, this is ${process.versions.node}.\n` +
      'Run "npm start" once in its directory: it installs the right one beside it.\n',
  )
  process.exit(69)
}

// A station makes little garbage and shares a small machine: the space for new objects need not grow to 16 MB.
const isStation = ['run', 'edge'].includes(process.argv[2])
const flags = isStation ? ['--max-semi-space-size=1'] : []
const node = existsSync(own) ? own : process.execPath
const args = [...flags, join(here, 'main.ts'), ...process.argv.slice(2)]
// From the first file on: where one is not found there, what strips its types is loaded, 25 MB that stay.
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'groundtruth', 'compiled')
const env = { NODE_COMPILE_CACHE: cache, ...process.env }

// Where it can, this process becomes the other one: waiting for it would cost 45 MB.
if (process.execve && process.platform !== 'win32') {
  process.execve(realpathSync(node), [node, ...args], env)
}
const child = spawn(node, args, { stdio: 'inherit', env })
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => {
  process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 1)
})
