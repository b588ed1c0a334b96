/** Why a hub does not take an envelope. The code goes into signed receipts: append only. */

/**
 * `again` marks refusals that may end (a station gets registered, a clock gets right): the sender keeps the
 * envelope and tries later. The others are final for these exact bytes.
 */
export const refusals = {
  malformed: { code: 1, again: false, text: 'not the CBOR or COSE structure of an envelope' },
  'not-canonical': { code: 2, again: false, text: 'valid CBOR, but not in its one deterministic form' },
  'too-large': { code: 3, again: false, text: 'over a size, depth or count limit' },
  'unknown-station': { code: 4, again: true, text: 'no station with this id is registered here' },
  'bad-signature': {
    code: 5,
    again: false,
    text: 'the signature does not fit the bytes, the key and this network',
  },
  'wrong-network': { code: 6, again: false, text: 'sent under the topic of another network' },
  'wrong-topic': { code: 7, again: false, text: 'sent under the topic of another station' },
  replayed: { code: 8, again: false, text: 'this sequence number was already used for other bytes' },
  'broken-chain': {
    code: 9,
    again: false,
    text: 'does not follow the envelope before it (prev hash or count of withheld ones differs)',
  },
  future: { code: 10, again: true, text: 'holds readings from the future' },
  'bad-payload': {
    code: 11,
    again: false,
    text: 'signed, but its readings cannot be read, or do not fit its header',
  },
  'unsupported-algorithm': { code: 12, again: false, text: 'neither Ed25519 nor EdDSA' },
  'unsupported-content': { code: 13, again: false, text: 'a content type that this hub does not read' },
  'weak-key': { code: 14, again: false, text: 'the key is of small or mixed order' },
  revoked: { code: 15, again: false, text: 'the station’s key was revoked' },
  'forged-frame': {
    code: 16,
    again: false,
    text: 'a frame inside is not signed by the node it is said to be from, for this network',
  },
  'replayed-frame': {
    code: 17,
    again: false,
    text: 'a frame inside was in another envelope of this station, or its number is lower than one before it',
  },
} as const satisfies Record<string, { code: number; again: boolean; text: string }>

export type Refusal = keyof typeof refusals

const byCode: ReadonlyMap<number, Refusal> = new Map(
  Object.entries(refusals).map(([name, { code }]) => [code, name as Refusal]),
)

/** The refusal with that code, or undefined where a code came from outside. */
export const refusalCoded = (code: number): Refusal | undefined => byCode.get(code)

/** Bad data is an answer: what was wrong, in a word that programs match and in words for people. */
export type Refused = { readonly ok: false; readonly reason: Refusal; readonly detail: string }

export const refused = (reason: Refusal, detail: string): Refused => ({ ok: false, reason, detail })
