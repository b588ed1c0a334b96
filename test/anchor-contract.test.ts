import { readFileSync } from 'node:fs'
import { type Abi, type AbiParameter, encodeFunctionData, type Hex, keccak256 } from 'viem'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { RpcError } from '#gateway/anchor/chain.ts'
import { artifactUrl, compile } from '#gateway/anchor/contract/compile.ts'
import {
  anchorAbi,
  anchorCodeHash,
  anchoredTopics,
  decodeAnchored,
  encodeAnchor,
  encodeAnchored,
  encodeDeployment,
  explainRevert,
} from '#gateway/anchor/contract/contract.ts'
import type { EmbeddedChain } from '#gateway/anchor/embedded.ts'
import { estimateGas, readBlock, readCall, readCode, readLogs } from '#gateway/anchor/node.ts'
import { accountNumber, makeDirectory, openChainIn, walletOf } from '#test/anchor-world.ts'

const committed = JSON.parse(readFileSync(artifactUrl, 'utf8'))

test('the committed artifact is what the compiler makes of the source', () => {
  expect(compile()).toEqual(committed)
}, 120_000)

test('the ABI in the program is a part of the compiled one', () => {
  const shape = (entry: Abi[number]): string => {
    const types = (parameters?: readonly (AbiParameter & { indexed?: boolean })[]) =>
      (parameters ?? []).map(({ type, name, indexed }) => `${type} ${name} ${indexed ?? false}`)
    const { inputs, outputs, name, stateMutability } = entry as Extract<Abi[number], { type: 'function' }>
    return JSON.stringify([
      entry.type,
      name,
      types(inputs),
      (outputs ?? []).map(({ type }) => type),
      stateMutability,
    ])
  }
  const compiled = (committed.abi as Abi).map(shape)
  for (const entry of anchorAbi) expect(compiled).toContain(shape(entry))
})

describe('the contract', () => {
  const directory = makeDirectory()
  let chain: EmbeddedChain
  let contract: Hex
  const [admin, anchorer, newcomer, stranger] = [0, 1, 2, 3].map(accountNumber) as [
    ...[ReturnType<typeof accountNumber>, ReturnType<typeof accountNumber>],
    ...[ReturnType<typeof accountNumber>, ReturnType<typeof accountNumber>],
  ]
  beforeAll(async () => {
    chain = await openChainIn(directory.path, { keys: 4 })
    const deployment = encodeDeployment(admin.address, anchorer.address)
    contract = (await walletOf(chain, stranger).send(null, deployment)).contract!
  })
  afterAll(async () => {
    await chain.close()
    directory.remove()
  })

  let roots = 0
  const newRoot = (): Uint8Array => {
    const root = new Uint8Array(32).fill(0x5a)
    new DataView(root.buffer).setUint32(0, ++roots)
    return root
  }
  const call = (functionName: string, ...args: readonly unknown[]): Hex =>
    encodeFunctionData({ abi: anchorAbi as Abi, functionName, args })
  const refusal = async (from: { address: Hex }, data: Hex): Promise<string | undefined> => {
    const failure = await estimateGas(chain, { from: from.address, to: contract, data }).catch(
      (error) => error,
    )
    expect(failure).toBeInstanceOf(RpcError)
    return explainRevert(failure.data)?.text
  }
  const slot = async (root: Uint8Array) =>
    decodeAnchored(await readCall(chain, contract, encodeAnchored(root)))

  test('stands on the chain with the code whose hash is known', async () => {
    expect(keccak256(await readCode(chain, contract))).toBe(anchorCodeHash)
    expect(BigInt(await readCall(chain, contract, call('admin')))).toBe(BigInt(admin.address))
  })

  test('keeps a root with its batches and the block’s time, says so in an event, and costs below 52,000 gas', async () => {
    const root = newRoot()
    const receipt = await walletOf(chain, anchorer).send(contract, encodeAnchor(root, 1_000_001, 12))
    expect(receipt.succeeded).toBe(true)
    const block = await readBlock(chain, receipt.blockNumber)
    expect(await slot(root)).toEqual({ firstBatch: 1_000_001, batches: 12, timeS: block!.timeS })
    const [log, ...more] = await readLogs(chain, contract, anchoredTopics(root), 0, receipt.blockNumber)
    expect(more).toEqual([])
    expect(log).toMatchObject({ transactionHash: receipt.hash, blockHash: receipt.blockHash })
    expect(BigInt(log!.topics[2]!)).toBe(1_000_001n)
    expect(receipt.gasUsed).toBeLessThan(52_000)
    expect(receipt.gasUsed).toBeGreaterThan(40_000)
  })

  test('has nothing for a root that nobody wrote', async () => {
    expect(await slot(newRoot())).toBeUndefined()
  })

  test('takes a root once, and leaves the first words about it as they are', async () => {
    const root = newRoot()
    const wallet = walletOf(chain, anchorer)
    await wallet.send(contract, encodeAnchor(root, 5, 1))
    const first = await slot(root)
    expect(await refusal(anchorer, encodeAnchor(root, 6, 2))).toMatch(/^AlreadyAnchored\(0x/)
    const again = await wallet.send(contract, encodeAnchor(root, 6, 2))
    expect(again).toMatchObject({ succeeded: false, logs: [] })
    expect(await slot(root)).toEqual(first)
  })

  test('takes roots from anchorers only, also not from its admin', async () => {
    for (const account of [admin, newcomer, stranger])
      expect(await refusal(account, encodeAnchor(newRoot(), 1, 1))).toBe(`NotAnchorer(${account.address})`)
  })

  test('refuses no root, no batches, and batches beyond 64 bits', async () => {
    expect(await refusal(anchorer, encodeAnchor(new Uint8Array(32), 1, 1))).toMatch(/^BadRange/)
    expect(await refusal(anchorer, encodeAnchor(newRoot(), 1, 0))).toMatch(/^BadRange/)
    const beyond = call('anchor', `0x${'11'.repeat(32)}`, 2n ** 64n - 1n, 1n)
    expect(await refusal(anchorer, beyond)).toMatch(/^BadRange/)
  })

  test('lets its admin grant and revoke anchorers, and nobody else', async () => {
    expect(await refusal(anchorer, call('grantAnchorer', anchorer.address))).toMatch(/^NotAdmin/)
    expect(await refusal(anchorer, call('revokeAnchorer', anchorer.address))).toMatch(/^NotAdmin/)
    const wallet = walletOf(chain, admin)
    expect((await wallet.send(contract, call('grantAnchorer', newcomer.address))).succeeded).toBe(true)
    const root = newRoot()
    expect((await walletOf(chain, newcomer).send(contract, encodeAnchor(root, 9, 1))).succeeded).toBe(true)
    expect((await wallet.send(contract, call('revokeAnchorer', newcomer.address))).succeeded).toBe(true)
    expect(await refusal(newcomer, encodeAnchor(newRoot(), 9, 1))).toMatch(/^NotAnchorer/)
    expect(await slot(root)).toMatchObject({ firstBatch: 9 })
  })

  test('changes its admin only when the new one accepts', async () => {
    const wallet = walletOf(chain, admin)
    expect(await refusal(newcomer, call('transferAdmin', newcomer.address))).toMatch(/^NotAdmin/)
    await wallet.send(contract, call('transferAdmin', newcomer.address))
    expect(await refusal(stranger, call('acceptAdmin'))).toMatch(/^NotPendingAdmin/)
    expect(await refusal(newcomer, call('grantAnchorer', newcomer.address))).toMatch(/^NotAdmin/)
    expect((await walletOf(chain, newcomer).send(contract, call('acceptAdmin'))).succeeded).toBe(true)
    expect(await refusal(admin, call('grantAnchorer', admin.address))).toMatch(/^NotAdmin/)
    expect(await refusal(newcomer, call('acceptAdmin'))).toMatch(/^NotPendingAdmin/)
  })

  test('is not made without an admin and an anchorer', async () => {
    const nobody = `0x${'00'.repeat(20)}` as const
    for (const data of [
      encodeDeployment(nobody, anchorer.address),
      encodeDeployment(admin.address, nobody),
    ]) {
      const failure = await estimateGas(chain, { from: admin.address, to: null, data }).catch(
        (error) => error,
      )
      expect(explainRevert(failure.data)?.text).toBe('NoAddress()')
    }
  })
})
