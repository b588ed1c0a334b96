/** What the embedded chain writes to its journal: one header, then one record per transaction. */
import type { Address, Hex } from 'viem'
import { fromHex, toHex } from '../reading/bytes.ts'

/**
 * What a chain was born with. Everything in it goes into replaying, so none of it may change later.
 * `initialDateS` (UTC, seconds) makes the genesis block of each chain its own; `funded` are the only accounts with
 * money; `hardhat` and `contracts` (code hash by name) are kept to explain a replay that no longer fits.
 */
export type ChainHeader = {
  readonly format: 1
  readonly chainId: number
  readonly hardfork: string
  readonly initialDateS: number
  readonly funded: readonly { readonly address: Address; readonly balanceWei: string }[]
  readonly hardhat: string
  readonly contracts: Readonly<Record<string, string>>
}

/** One mined transaction: its block's time (UTC, seconds) and hash, and the signed bytes. One block has one transaction. */
export type ChainTransaction = { readonly timeS: number; readonly blockHash: Hex; readonly raw: Hex }

// Record layout, big endian:
//   header       0x00, JSON in UTF-8
//   transaction  0x01, u64 block time in s, 32 bytes block hash, raw transaction
const headerKind = 0
const transactionKind = 1
const rawAt = 1 + 8 + 32

/** Raw bytes that still fit in a journal record of 64 KiB. */
export const maxRawBytes = 60 * 1024

export const encodeHeader = (header: ChainHeader): Uint8Array =>
  Uint8Array.from([headerKind, ...new TextEncoder().encode(JSON.stringify(header))])

export const encodeTransaction = ({ timeS, blockHash, raw }: ChainTransaction): Uint8Array => {
  const hash = fromHex(blockHash.slice(2))
  const bytes = fromHex(raw.slice(2))
  if (hash?.length !== 32 || bytes === undefined) throw new RangeError('a block hash and raw bytes are hex')
  const record = new Uint8Array(rawAt + bytes.length)
  record[0] = transactionKind
  new DataView(record.buffer).setBigUint64(1, BigInt(timeS))
  record.set(hash, 9)
  record.set(bytes, rawAt)
  return record
}

/** Reads a record back; undefined where it is none of the two (the journal has already checked its CRC). */
export const decodeRecord = (
  record: Uint8Array,
): { header: ChainHeader } | { transaction: ChainTransaction } | undefined => {
  if (record[0] === headerKind) {
    const header = JSON.parse(new TextDecoder().decode(record.subarray(1))) as ChainHeader
    return header.format === 1 ? { header } : undefined
  }
  if (record[0] !== transactionKind || record.length <= rawAt) return undefined
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength)
  return {
    transaction: {
      timeS: Number(view.getBigUint64(1)),
      blockHash: `0x${toHex(record.subarray(9, rawAt))}`,
      raw: `0x${toHex(record.subarray(rawAt))}`,
    },
  }
}
