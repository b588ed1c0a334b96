// Runs before `npm start`, `npm test` and `npm run bench`, under whatever Node the system has: makes sure that
// node_modules is what the lock file says, installed under the Node the project runs on. Plain JavaScript, no
// dependency, because nothing is installed yet.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const runtime = 'node@24.21.0'
const lock = createHash('sha256')
  .update(readFileSync(join(root, 'package-lock.json')))
  .digest('hex')
const stamp = join(root, 'node_modules', '.groundtruth-installed')

// What was installed on another machine or by another architecture does not run here.
const wanted = `${lock} ${process.platform} ${process.arch} ${runtime}`

const runs = (file) =>
  existsSync(file) && spawnSync(file, ['--version'], { encoding: 'utf8' }).stdout?.startsWith('v24.')

const installed = () =>
  existsSync(stamp) &&
  readFileSync(stamp, 'utf8') === wanted &&
  runs(join(root, 'node_modules', '.bin', 'node')) &&
  existsSync(join(root, 'node_modules', 'hardhat', 'package.json'))

const install = () => {
  process.stderr.write('Installing what Groundtruth needs (once; a minute or two) ...\n')
  // npm run by an older Node skips Hardhat's native binary without a word, so npm itself runs under Node 24.
  const { status, error } = spawnSync('npx', ['-y', '-p', runtime, '-c', 'npm ci --no-audit --no-fund'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    shell: process.platform === 'win32',
  })
  if (error || status !== 0) {
    process.stderr.write(
      `\nThe installation did not finish${error ? `: ${error.message}` : ''}.\n` +
        'Check the network and the free disk space (700 MB), then run the same command again.\n',
    )
    process.exit(69)
  }
  writeFileSync(stamp, wanted)
}

if (!installed()) install()
