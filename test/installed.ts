/** The client package as a stranger has it: packed by npm, installed without a network into an empty project. */
import { execFile } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { temporaryDirectory } from '#test/temporary.ts'

const root = join(import.meta.dirname, '..')
const run = promisify(execFile)

// What the package depends on is packed from what is installed here, as no registry can be asked.
const dependencies = ['@noble/ed25519', '@noble/hashes', 'cbor-x']

/** The project's directory and the names of the files in the package. */
export const installClient = async (): Promise<{
  readonly directory: string
  readonly files: readonly string[]
}> => {
  const directory = temporaryDirectory()
  const [packed, cache] = ['packed', 'cache'].map((name) => join(directory, name)) as [string, string]
  for (const path of [packed, cache]) mkdirSync(path)
  const npm = (args: readonly string[], cwd: string) => run('npm', [...args, '--cache', cache], { cwd })
  const pack = ['pack', '--json', '--pack-destination', packed]
  const { stdout } = await npm([...pack, '--foreground-scripts=false'], join(root, 'gateway/client'))
  const [{ files }] = JSON.parse(stdout.slice(stdout.indexOf('[\n'))) as [{ files: { path: string }[] }]
  for (const name of dependencies)
    await npm([...pack, '--ignore-scripts', join(root, 'node_modules', name)], root)
  writeFileSync(join(directory, 'package.json'), '{ "name": "stranger", "private": true, "type": "module" }')
  const tarballs = readdirSync(packed).map((name) => join(packed, name))
  await npm(
    ['install', '--offline', '--omit=optional', '--ignore-scripts', '--no-audit', '--no-fund', ...tarballs],
    directory,
  )
  return { directory, files: files.map(({ path }) => path) }
}

/** Checks the types of a program in that project; throws with what the compiler says. */
export const checkTypes = async (directory: string, file: string): Promise<void> => {
  const options = {
    strict: true,
    exactOptionalPropertyTypes: true,
    module: 'nodenext',
    target: 'es2023',
    lib: ['es2024', 'dom', 'esnext.array'],
    types: [],
    noEmit: true,
  }
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: [file] }))
  await run(join(root, 'node_modules/.bin/tsc'), ['--project', directory]).catch(
    (error: { stdout: string }) => {
      throw new Error(error.stdout)
    },
  )
}
