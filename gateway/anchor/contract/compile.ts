/** Compiles the contract; run as a program it writes the committed artifact anew. Takes a few seconds. */
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const contractName = 'GroundtruthAnchor'
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
  contracts?: Record<
    string,
    Record<
      string,
      { abi: unknown[]; evm: { bytecode: { object: string }; deployedBytecode: { object: string } } }
    >
  >
}

/** What is committed: ABI, code to deploy (without constructor arguments), code as it stands on the chain. */
export type Artifact = {
  contractName: string
  compiler: { version: string; settings: typeof settings }
  abi: unknown[]
  bytecode: string
  deployedBytecode: string
}

/** Compiles with the pinned npm compiler (WebAssembly, no network); throws with the compiler's words on any complaint. */
export const compile = (): Artifact => {
  // Loading the compiler takes seconds, so only who compiles pays for it.
  const solc = createRequire(import.meta.url)('solc') as { compile(input: string): string; version(): string }
  const content = readFileSync(new URL(sourceName, import.meta.url), 'utf8')
  const input = {
    language: 'Solidity',
    sources: { [sourceName]: { content } },
    settings: {
      ...settings,
      outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object'] } },
    },
  }
  const output = JSON.parse(solc.compile(JSON.stringify(input))) as CompilerOutput
  if (output.errors?.length) throw new Error(output.errors.map((error) => error.formattedMessage).join('\n'))
  const { abi, evm } = output.contracts![sourceName]![contractName]!
  return {
    contractName,
    compiler: { version: solc.version(), settings },
    abi,
    bytecode: `0x${evm.bytecode.object}`,
    deployedBytecode: `0x${evm.deployedBytecode.object}`,
  }
}

if (import.meta.main) writeFileSync(artifactUrl, `${JSON.stringify(compile(), null, 2)}\n`)
