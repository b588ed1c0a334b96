/** Says in the station's chain what its owner says of it, once for each change. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { encodeProfile, type Profile, profileContentType } from '../reading/profile.ts'
import type { Sealer } from './sign.ts'

/** What the owner has configured; nothing of it says when. */
export type OwnerProfile = Omit<Profile, 'declaredMs'>

const said = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined // never said, or its disk has lost it: then it is said again
  }
}

/**
 * A function that signs the profile where it is not what was signed last, and does nothing from then on. To be called when
 * the time is known, and again when the disk is back; `path` is where it notes what was signed.
 */
export const profileAnnouncer = ({
  profile,
  path,
  sealer,
  utc,
}: {
  readonly profile: OwnerProfile
  readonly path: string
  readonly sealer: Pick<Sealer, 'declare'>
  readonly utc: () => number
}): (() => Promise<void>) => {
  const text = `${JSON.stringify(profile)}\n`
  let isSaid = said(path) === text
  let underWay = false
  return async () => {
    if (isSaid || underWay) return
    underWay = true
    try {
      const payload = encodeProfile({ ...profile, declaredMs: utc() })
      if (!(await sealer.declare(profileContentType, payload))) return
      isSaid = true
      try {
        writeFileSync(`${path}.new`, text, { mode: 0o600 })
        renameSync(`${path}.new`, path)
      } catch {
        // The next start says it once more.
      }
    } finally {
      underWay = false
    }
  }
}
