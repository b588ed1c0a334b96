/** Private keys by their URI: files readable by their owner only, or systemd credentials. */
import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fromHex } from './reading/bytes.ts'
import type { Signer } from './reading/cose.ts'
import { newPem, signerOf } from './sign/key.ts'

const readPrivate = (path: string): string => {
  const { mode } = statSync(path)
  if ((mode & 0o077) !== 0)
    throw new Error(
      `${path} can be read by others (mode ${(mode & 0o777).toString(8)}).\nRun: chmod 600 ${path}`,
    )
  return readFileSync(path, 'utf8')
}

/** Durably and exclusively: a key that is lost takes its station's identity with it. */
const createPrivate = (path: string, text: string): string => {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const file = openSync(path, 'wx', 0o600)
  try {
    writeSync(file, text)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  const directory = openSync(dirname(path), 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
  return text
}

const readOrCreate = (path: string, create: () => string): string => {
  try {
    return readPrivate(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return createPrivate(path, create())
  }
}

/**
 * The Ed25519 key that `uri` names, `file:/path` or `credential:name`; a file that is not there is created (0600).
 * `credentials` is systemd's credentials directory.
 */
export const openKey = (uri: string, credentials?: string): Signer => {
  if (uri.startsWith('file:')) return signerOf(readOrCreate(uri.slice('file:'.length), newPem), uri)
  if (!uri.startsWith('credential:'))
    throw new Error(`a key is named file:/path or credential:name, not ${JSON.stringify(uri)}`)
  if (credentials === undefined)
    throw new Error(`the key ${uri} needs systemd's LoadCredential= (CREDENTIALS_DIRECTORY is not set)`)
  return signerOf(readFileSync(join(credentials, uri.slice('credential:'.length)), 'utf8'), uri)
}

/** 32 secret bytes of a chain account, kept as 64 hex digits; created where the file is not there. */
export const openSecret = (path: string): Uint8Array => {
  const secret = fromHex(
    readOrCreate(path, () => randomBytes(32).toString('hex'))
      .trim()
      .replace(/^0x/, ''),
  )
  if (secret?.length !== 32) throw new Error(`${path} does not hold 64 hex digits`)
  return secret
}
