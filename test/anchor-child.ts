/** A process to be killed: sends transactions to an embedded chain and prints the hash of each block once answered. */
import { readHead } from '../gateway/anchor/node.ts'
import { accountNumber, openChainIn } from './anchor-world.ts'

const chain = await openChainIn(process.argv[2]!)
const account = accountNumber(0)
// A bound, should nobody kill it.
for (let nonce = 0; nonce < 2000; nonce++) {
  const raw = await account.signTransaction({
    type: 'eip1559',
    chainId: 31337,
    nonce,
    to: account.address,
    gas: 21_000n,
    maxFeePerGas: 10n ** 11n,
    maxPriorityFeePerGas: 1n,
  })
  await chain.request({ method: 'eth_sendRawTransaction', params: [raw] })
  process.stdout.write(`${(await readHead(chain)).hash}\n`)
}
