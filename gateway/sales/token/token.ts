/** What is said to a token with EIP-3009, and how the embedded chain gets one. */
import { type Address, encodeFunctionData, type Hex, parseAbi } from 'viem'
import artifact from './TestUSD.artifact.json' with { type: 'json' }

/** The part of the ABI that is used: ERC-20, EIP-3009, and `mint` of the test token. */
export const tokenAbi = parseAbi([
  'function decimals() view returns (uint8)',
  'function balanceOf(address account) view returns (uint256)',
  'function authorizationState(address authorizer, bytes32 nonce) view returns (bool)',
  'function mint(address to, uint256 value)',
  'event Transfer(address indexed from, address indexed to, uint256 value)',
  'event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce)',
])

/** Code that creates the test token. */
export const testUsdCode = artifact.bytecode as Hex

/** Name and version of the test token in its EIP-712 domain. */
export const testUsdDomain = { name: 'Test USD', version: '1' } as const

/** Calldata that makes test dollars, in millionths. */
export const encodeMint = (to: Address, value: bigint): Hex =>
  encodeFunctionData({ abi: tokenAbi, functionName: 'mint', args: [to, value] })
