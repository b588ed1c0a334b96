/** Compiles the token of the embedded chain; run as a program it writes the committed artifact anew. Takes a few seconds. */
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const contractName = 'TestUSD'
const sourceName = `${contractName}.sol`

/** The committed artifact. */
export const artifactUrl = new URL(`${contractName}.artifact.json`, import.meta.url)

// Without the metadata hash the same source gives the same bytes on every machine.
const settings = {
  evmVersion: 'cancun',
  optimizer: { enabled: true, runs: 1000 },
  metadata: { bytecodeHash: 'none' },
} as const

type CompilerOutput = {
  errors?: { severity: string; formattedMessage: string }[]
  contracts?: Record<string, Record<string, { evm: { bytecode: { object: string } } }>>
}

/** What is committed: the code that creates the contract. */
export type Artifact = {
  contractName: string
  compiler: { version: string; settings: typeof settings }
  bytecode: string
}

type Solc = {
  compile(input: string, callbacks: { import: (path: string) => { contents: string } }): string
  version(): string
}

/** Compiles with the pinned npm compiler and OpenZeppelin's contracts; throws with the compiler's words on any complaint. */
export const compile = (): Artifact => {
  // Loading the compiler takes seconds, so only who compiles pays for it.
  const require = createRequire(import.meta.url)
  const solc = require('solc') as Solc
  const content = readFileSync(new URL(sourceName, import.meta.url), 'utf8')
  const input = {
    language: 'Solidity',
    sources: { [sourceName]: { content } },
    settings: { ...settings, outputSelection: { [sourceName]: { '*': ['evm.bytecode.object'] } } },
  }
  const imported = (path: string) => ({ contents: readFileSync(require.resolve(path), 'utf8') })
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: imported })) as CompilerOutput
  if (output.errors?.length) throw new Error(output.errors.map((error) => error.formattedMessage).join('\n'))
  const { evm } = output.contracts![sourceName]![contractName]!
  return {
    contractName,
    compiler: { version: solc.version(), settings },
    bytecode: `0x${evm.bytecode.object}`,
  }
}

if (import.meta.main) writeFileSync(artifactUrl, `${JSON.stringify(compile(), null, 2)}\n`)
