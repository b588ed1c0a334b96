/** Licences of data, by the names that their owners give: SPDX identifiers, or LicenseRef-... of their own. */

const ownNames = 'LicenseRef-'

/** Where a licence is described (spdx.org/licenses); undefined for one that its owner named. */
export const licenceAddress = (licence: string): string | undefined =>
  licence.startsWith(ownNames) ? undefined : `https://spdx.org/licenses/${licence}`

/** Each licence once, in order of name, and last null where some have none. */
export const licencesOf = (all: Iterable<string | null>): (string | null)[] =>
  [...new Set(all)].sort((a, b) => (a === null ? 1 : b === null ? -1 : a < b ? -1 : 1))
