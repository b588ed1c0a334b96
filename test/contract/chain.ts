/** What every chain must do, whether it is in this process or behind HTTP. */
import { expect, test } from 'vitest'
import { type Chain, RpcError } from '#gateway/anchor/chain.ts'
import {
  readBalance,
  readBlock,
  readChainId,
  readHead,
  readNonce,
  readReceipt,
} from '#gateway/anchor/node.ts'
import { accountNumber } from '#test/anchor-world.ts'

/** `open` gives a chain on which key 0 has money and has sent nothing; it is shared by all tests of the suite. */
export const chainContract = (open: () => Chain): void => {
  const account = accountNumber(0)
  const to = accountNumber(500).address

  const transfer = async (chain: Chain, nonce: number) =>
    account.signTransaction({
      type: 'eip1559',
      chainId: await readChainId(chain),
      nonce,
      to,
      value: 1n,
      gas: 21_000n,
      maxFeePerGas: 10n ** 11n,
      maxPriorityFeePerGas: 1n,
    })

  test('a signed transaction is mined, and its receipt names a block that stands', async () => {
    const chain = open()
    const raw = await transfer(chain, await readNonce(chain, account.address, 'latest'))
    const hash = await chain.request({ method: 'eth_sendRawTransaction', params: [raw] })
    const receipt = await readReceipt(chain, hash as `0x${string}`)
    expect(receipt).toMatchObject({ hash, succeeded: true, gasUsed: 21_000, contract: null, logs: [] })
    expect((await readBlock(chain, receipt!.blockNumber))?.hash).toBe(receipt!.blockHash)
    expect(await readBalance(chain, to)).toBeGreaterThan(0n)
  })

  test('blocks ascend in number and time, and the finalized one is known', async () => {
    const chain = open()
    const before = await readHead(chain)
    await chain.request({
      method: 'eth_sendRawTransaction',
      params: [await transfer(chain, await readNonce(chain, account.address, 'latest'))],
    })
    const after = await readHead(chain)
    expect(after.number).toBe(before.number + 1)
    expect(after.timeS).toBeGreaterThan(before.timeS)
    expect((await readBlock(chain, 'finalized'))!.number).toBeLessThanOrEqual(after.number)
  })

  test('a nonce that is too low or too high is refused as an error of the node', async () => {
    const chain = open()
    const nonce = await readNonce(chain, account.address, 'latest')
    const head = await readHead(chain)
    for (const wrong of [nonce - 1, nonce + 1]) {
      const sent = chain.request({
        method: 'eth_sendRawTransaction',
        params: [await transfer(chain, wrong)],
      })
      await expect(sent).rejects.toThrow(RpcError)
      await expect(sent).rejects.toThrow(/nonce/i)
    }
    expect(await readHead(chain)).toEqual(head)
  })

  test('a transaction that nobody has seen has no receipt', async () => {
    expect(await readReceipt(open(), `0x${'ab'.repeat(32)}`)).toBeUndefined()
  })

  test('an unknown method is an error of the node with the code for it', async () => {
    await expect(open().request({ method: 'eth_mineABlockForMe' })).rejects.toMatchObject({
      name: 'RpcError',
      code: -32601,
    })
  })
}
