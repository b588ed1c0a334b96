/** Public keys and the station ids made of them. */

import * as ed25519 from '@noble/ed25519'
import { sha256 } from '#sha256'
import { toHex } from './bytes.ts'

/** What is wrong with a public key that must not be registered. */
export type KeyFault = 'length' | 'not-a-point' | 'small-order' | 'mixed-order'

/**
 * Checks 32 raw bytes before they are registered. Besides what is no point of the curve it refuses keys of small
 * order (some verifiers accept any signature by them) and of mixed order (verifiers disagree on them), so that
 * whatever one strict verifier accepts from a registered key, every strict verifier accepts.
 */
export const keyFault = (publicKey: Uint8Array): KeyFault | undefined => {
  if (publicKey.length !== 32) return 'length'
  let point: ed25519.Point
  try {
    point = ed25519.Point.fromBytes(publicKey)
  } catch {
    return 'not-a-point' // also a y coordinate that is not reduced
  }
  if (point.isSmallOrder()) return 'small-order'
  if (!point.isTorsionFree()) return 'mixed-order'
  return undefined
}

// The check takes a multiplication on the curve, and the keys of nodes come again with each of their frames.
const cacheLimit = 4096
const faults = new Map<string, KeyFault | undefined>()

/** `keyFault`, remembered for keys that were seen lately. */
export const knownKeyFault = (publicKey: Uint8Array): KeyFault | undefined => {
  const id = toHex(publicKey)
  if (faults.has(id)) return faults.get(id)
  const fault = keyFault(publicKey)
  if (faults.size >= cacheLimit) faults.delete(faults.keys().next().value!)
  faults.set(id, fault)
  return fault
}

// A signer hashes the same key for each of its envelopes.
const ids = new WeakMap<Uint8Array, Uint8Array>()

/** The 16-byte key id (COSE `kid`): the first half of SHA-256 over the raw public key. */
export const keyId = (publicKey: Uint8Array): Uint8Array => {
  let id = ids.get(publicKey)
  if (id === undefined) {
    id = sha256(publicKey).slice(0, 16)
    ids.set(publicKey, id)
  }
  return id
}

/** The station id: its key id in lower-case hex, 32 characters. */
export const stationId = (publicKey: Uint8Array): string => toHex(keyId(publicKey))
