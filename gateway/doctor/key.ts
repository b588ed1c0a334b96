/** The station's key: whether it is there, its owner's alone, and sound. It is never made here, and never shown. */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type Config, credentialsDirectory } from '../config.ts'
import type { Signer } from '../reading/cose.ts'
import { stationId } from '../reading/key.ts'
import { signerOf } from '../sign/key.ts'
import { type Check, type Finding, fail, ok, warn } from './doctor.ts'

const about = 'key'

/** Path of the key file; undefined for a credential that systemd has not given. */
export const keyPath = (config: Config, env: NodeJS.ProcessEnv): string | undefined => {
  const uri = config.edge.key ?? `file:${join(config.data, 'edge', 'station.key')}`
  if (uri.startsWith('file:')) return uri.slice('file:'.length)
  const folder = credentialsDirectory(env)
  return folder && uri.startsWith('credential:') ? join(folder, uri.slice('credential:'.length)) : undefined
}

/** The signer, where there is a key that can be read; undefined otherwise, and nothing is created. */
export const existingSigner = (config: Config, env: NodeJS.ProcessEnv): Signer | undefined => {
  const path = keyPath(config, env)
  try {
    return path === undefined ? undefined : signerOf(readFileSync(path, 'utf8'), path)
  } catch {
    return undefined // told by the check of the key
  }
}

const findings = (config: Config, env: NodeJS.ProcessEnv): Finding[] => {
  const path = keyPath(config, env)
  if (path === undefined)
    return [
      warn(
        about,
        `${config.edge.key} is a credential that only the service gets`,
        'Look from within it: systemd-run -p LoadCredential=... groundtruth doctor',
      ),
    ]
  const mode = statSync(path, { throwIfNoEntry: false })?.mode
  if (mode === undefined)
    return [warn(about, `${path} is not there yet`, 'It is made at the first start, or by: groundtruth key')]
  const isCredential = config.edge.key?.startsWith('credential:') === true
  if ((mode & 0o077) !== 0 && !isCredential)
    return [
      fail(
        about,
        `${path} can be read by others (mode ${(mode & 0o777).toString(8)})`,
        `Run: chmod 600 ${path}`,
      ),
    ]
  try {
    const { publicKey } = signerOf(readFileSync(path, 'utf8'), path)
    return [ok(about, `${path} is sound: station ${stationId(publicKey)}`)]
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return [
      fail(
        about,
        code === 'EACCES' ? `${path} may not be read by this user` : `${path} holds no sound Ed25519 key`,
        code === 'EACCES'
          ? 'Run this as the user that the station runs as.'
          : 'Put the key back from its backup; a new one is a new station.',
      ),
    ]
  }
}

export const key: Check = {
  name: 'key',
  run: async ({ config, env }) => (config ? findings(config, env) : []),
}
