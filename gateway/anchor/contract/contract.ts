/** What is said to the contract and what it answers: ABI encoding of GroundtruthAnchor, nothing that talks to a chain. */
import {
  type Address,
  bytesToHex,
  concatHex,
  decodeErrorResult,
  decodeFunctionResult,
  encodeAbiParameters,
  encodeEventTopics,
  encodeFunctionData,
  type Hex,
  keccak256,
  parseAbi,
} from 'viem'
import artifact from './GroundtruthAnchor.artifact.json' with { type: 'json' }

/** The part of the contract's ABI that this program uses, typed; a test compares it with the compiled one. */
export const anchorAbi = parseAbi([
  'function anchor(bytes32 root, uint64 firstBatch, uint64 batches)',
  'function anchored(bytes32 root) view returns (uint64 firstBatch, uint64 batches, uint64 time)',
  'function anchorers(address account) view returns (bool)',
  'function grantAnchorer(address account)',
  'function revokeAnchorer(address account)',
  'function transferAdmin(address to)',
  'function acceptAdmin()',
  'function admin() view returns (address)',
  'event Anchored(bytes32 indexed root, uint64 indexed firstBatch, uint64 batches)',
  'error AlreadyAnchored(bytes32 root)',
  'error BadRange(bytes32 root, uint64 firstBatch, uint64 batches)',
  'error NotAdmin(address account)',
  'error NotAnchorer(address account)',
  'error NotPendingAdmin(address account)',
  'error NoAddress()',
])

/** keccak256 of the code as it stands on a chain; the contract has no immutables, so every deployment has this one. */
export const anchorCodeHash: Hex = keccak256(artifact.deployedBytecode as Hex)

/** Calldata of `anchor`. `root` is 32 bytes, batches count from 1. */
export const encodeAnchor = (root: Uint8Array, firstBatch: number, batches: number): Hex =>
  encodeFunctionData({
    abi: anchorAbi,
    functionName: 'anchor',
    args: [bytesToHex(root), BigInt(firstBatch), BigInt(batches)],
  })

/** Code that creates the contract, with who may grant roles and who may anchor. */
export const encodeDeployment = (admin: Address, anchorer: Address): Hex =>
  concatHex([
    artifact.bytecode as Hex,
    encodeAbiParameters([{ type: 'address' }, { type: 'address' }], [admin, anchorer]),
  ])

/** What the contract keeps for a root; `timeS` is its block's, UTC, seconds. */
export type AnchoredSlot = { readonly firstBatch: number; readonly batches: number; readonly timeS: number }

/** Calldata of `anchored`. */
export const encodeAnchored = (root: Uint8Array): Hex =>
  encodeFunctionData({ abi: anchorAbi, functionName: 'anchored', args: [bytesToHex(root)] })

/** The answer of `anchored`; undefined where nothing was written for the root, `malformed` where it is not three words. */
export const decodeAnchored = (data: Hex): AnchoredSlot | undefined | 'malformed' => {
  if (!/^0x(0{48}[0-9a-f]{16}){3}$/.test(data)) return 'malformed'
  const [firstBatch, batches, time] = decodeFunctionResult({
    abi: anchorAbi,
    functionName: 'anchored',
    data,
  })
  return batches === 0n
    ? undefined
    : { firstBatch: Number(firstBatch), batches: Number(batches), timeS: Number(time) }
}

/** Topics that find the `Anchored` event of a root in `eth_getLogs`. */
export const anchoredTopics = (root: Uint8Array) =>
  encodeEventTopics({ abi: anchorAbi, eventName: 'Anchored', args: { root: bytesToHex(root) } })

/** Name and arguments of the contract's own refusal, as `NotAnchorer(0x...)`; undefined where the data is none of ours. */
export const explainRevert = (data: unknown): { name: string; text: string } | undefined => {
  if (typeof data !== 'string' || !/^0x[0-9a-f]{8,1024}$/i.test(data)) return undefined
  try {
    const { errorName, args } = decodeErrorResult({ abi: anchorAbi, data: data as Hex })
    return { name: errorName, text: `${errorName}(${(args ?? []).join(', ')})` }
  } catch {
    // Bytes that are not one of our errors are not ours to explain.
    return undefined
  }
}
