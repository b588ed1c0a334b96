import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryDirectory } from '#test/temporary.ts'

/** The directory as a power cut would leave it now. */
export const copyTree = (directory: string): string => {
  const copy = join(temporaryDirectory(), 'copy')
  cpSync(directory, copy, { recursive: true })
  return copy
}
