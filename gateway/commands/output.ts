/** Where a command puts what it was asked for: files that get their names when they are whole, or standard output. */
import { open, rename, rm } from 'node:fs/promises'
import { join, parse } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { exitCodes } from '../exit.ts'
import { BuyingError } from './buying-error.ts'

/** A file under a name with `.part` at its end until it is kept; without anything in it, it is removed again. */
export type Output = AsyncDisposable & {
  readonly path: string
  readonly part: string
  readonly write: (bytes: Uint8Array) => Promise<void>
  readonly keep: () => Promise<void>
}

/** Opens such a file; a BuyingError where it cannot be written. */
export const openOutput = async (path: string): Promise<Output> => {
  const part = `${path}.part`
  const file = await open(part, 'w').catch((error: NodeJS.ErrnoException) => {
    throw new BuyingError(`${part} cannot be written: ${error.code}`, exitCodes.cannotCreate)
  })
  let isNamed = false
  let isEmpty = true
  return {
    path,
    part,
    write: async (bytes) => {
      isEmpty &&= bytes.length === 0
      await file.writeFile(bytes)
    },
    keep: async () => {
      await file.sync()
      await rename(part, path)
      isNamed = true
    },
    [Symbol.asyncDispose]: async () => {
      await file.close()
      if (!isNamed && isEmpty) await rm(part, { force: true })
    },
  }
}

/** The name of a further file of the same kind: rows.parquet, rows-2.parquet. */
const numbered = (path: string, number: number): string => {
  const { dir, name, ext } = parse(path)
  return join(dir, `${name}-${number}${ext}`)
}

/** Writes each of the contents to a file of its own: the first to the one that is open, the others beside it. */
export const writeEach = async (
  first: Output,
  contents: readonly Uint8Array[],
  files: AsyncDisposableStack,
): Promise<Output[]> => {
  const outputs = [first]
  for (let number = 2; number <= contents.length; number++)
    outputs.push(files.use(await openOutput(numbered(first.path, number))))
  for (const [at, output] of outputs.entries()) await output.write(contents[at] ?? new Uint8Array())
  return outputs
}

/** Writes bytes to standard output, as far as somebody reads them. */
export const toStandardOutput = (bytes: Uint8Array): Promise<void> =>
  pipeline(Readable.from([bytes]), process.stdout, { end: false }).catch((error: NodeJS.ErrnoException) => {
    // Whoever reads has seen enough.
    if (error.code !== 'EPIPE') throw error
  })
