/**
 * What a station's owner says of it: where it stands (only as coarse as the owner chose), under which licence its data is
 * given, and at what price. An envelope of its own chain, so that nobody but its key can say it. Layout: readings.cddl.
 */
import { fromHex, toHex } from './bytes.ts'
import { CborWriter, decodeCbor, envelopeBounds, isUint } from './cbor.ts'
import { type Refused, refused } from './refusal.ts'

export const profileContentType = 'application/vnd.groundtruth.profile+cbor'

/** H3 resolutions that a place can be published at: cells of some 253 km2 down to 0.1 km2. */
export const cellResolutions = { coarsest: 5, finest: 9 } as const

/** Thousandths of the list price that an owner can ask, at most. */
export const maxPricePermille = 10_000

/**
 * `cell` is the H3 index in hex (15 digits), which is all that is told of the place. `licence` is an SPDX identifier or
 * `LicenseRef-...`. `pricePermille` is what the owner asks in thousandths of the list price. `declaredMs` is UTC.
 */
export type Profile = {
  readonly declaredMs: number
  readonly licence: string
  readonly pricePermille: number
  readonly name?: string
  readonly cell?: string
}

const licencePattern = /^[A-Za-z0-9.+-]{1,64}$/

/** Names are for people: letters, digits, marks, spaces and some punctuation, no control or direction characters. */
const namePattern = /^[\p{L}\p{M}\p{N} .,'()_-]{1,64}$/u

const latestMs = 253_402_300_799_999

export const isLicence = (text: string): boolean => licencePattern.test(text)
export const isStationName = (text: string): boolean => namePattern.test(text)

/** The resolution of an H3 cell by its index in hex; undefined for what is no cell. */
export const cellResolution = (cell: string): number | undefined => {
  if (!/^8[0-9a-f]{14}$/.test(cell)) return undefined
  // Bit 63 is zero, mode 1 (cell) in bits 59 to 62, reserved bits 56 to 58, resolution in bits 52 to 55: h3geo.org,
  // "H3 index bit layout". Fifteen digits leave the leading zero out.
  return Number.parseInt(cell[1]!, 16)
}

const isCell = (cell: string): boolean => {
  const resolution = cellResolution(cell)
  return (
    resolution !== undefined && resolution >= cellResolutions.coarsest && resolution <= cellResolutions.finest
  )
}

const faultOf = ({ licence, pricePermille, name, cell, declaredMs }: Profile): string | undefined => {
  if (!isLicence(licence)) return 'a licence is an SPDX identifier'
  if (!isUint(pricePermille) || pricePermille > maxPricePermille)
    return `a price is 0 to ${maxPricePermille} thousandths`
  if (name !== undefined && !isStationName(name)) return 'a name has 1 to 64 letters'
  if (cell !== undefined && !isCell(cell)) return 'a place is an H3 cell of resolution 5 to 9'
  if (!isUint(declaredMs) || declaredMs > latestMs) return 'no time of declaration'
  return undefined
}

/** The payload of a profile. Throws RangeError for one that no hub would take. */
export const encodeProfile = (profile: Profile): Uint8Array => {
  const fault = faultOf(profile)
  if (fault !== undefined) throw new RangeError(fault)
  const { declaredMs, licence, pricePermille, name, cell } = profile
  const writer = new CborWriter().map(3 + (name === undefined ? 0 : 1) + (cell === undefined ? 0 : 1))
  writer.int(0).int(declaredMs).int(1).text(licence).int(2).int(pricePermille)
  if (name !== undefined) writer.int(3).text(name)
  if (cell !== undefined) writer.int(4).bytes(fromHex(`0${cell}`)!)
  return writer.finish()
}

/** Reads a profile back. Never throws. */
export const decodeProfile = (
  payload: Uint8Array,
): { readonly ok: true; readonly profile: Profile } | Refused => {
  const bad = (what: string): Refused => refused('bad-payload', what)
  const decoded = decodeCbor(payload, envelopeBounds)
  if (!decoded.ok) return bad(decoded.detail)
  const body = decoded.value
  if (!(body instanceof Map)) return bad('a profile is a map')
  const [declaredMs, licence, pricePermille] = [body.get(0), body.get(1), body.get(2)]
  const [name, place] = [body.get(3), body.get(4)]
  const size = 3 + (name === undefined ? 0 : 1) + (place === undefined ? 0 : 1)
  if (body.size !== size) return bad('a profile has members 0 to 4')
  if (typeof licence !== 'string' || !isUint(pricePermille) || !isUint(declaredMs))
    return bad('a profile has a time, a licence and a price')
  if (name !== undefined && typeof name !== 'string') return bad('a name is text')
  if (place !== undefined && !(place instanceof Uint8Array && place.length === 8))
    return bad('a place is an H3 cell of 8 bytes')
  const profile: Profile = {
    declaredMs,
    licence,
    pricePermille,
    ...(name === undefined ? {} : { name }),
    ...(place === undefined ? {} : { cell: toHex(place as Uint8Array).slice(1) }),
  }
  const fault = faultOf(profile)
  return fault === undefined ? { ok: true, profile } : bad(fault)
}
