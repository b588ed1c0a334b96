#!/usr/bin/env node
// The `groundtruth` command: runs main.ts under the Node that is installed beside it, whatever the system's is.
import { spawn } from 'node:child_process'
import { existsSync, realpathSync } from 'node:fs'
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
const child = spawn(node, [...flags, join(here, 'main.ts'), ...process.argv.slice(2)], { stdio: 'inherit' })
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => {
  process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 1)
})
