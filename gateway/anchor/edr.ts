/** An EVM inside this process: Hardhat's EDR, set up so that the same transactions always give the same blocks. */
import { createHardhatRuntimeEnvironment } from 'hardhat/hre'
import type { ChainHeader } from './embedded-record.ts'

/** The bare machine: it keeps nothing on disk and answers everything, so nobody but the embedded chain holds it. */
export type Edr = {
  request(method: string, params?: readonly unknown[]): Promise<unknown>
  close(): Promise<void>
}

/**
 * Starts the machine at its genesis block, about half a second and 150 MB. `projectRoot` is any directory with a
 * package.json in it or above it: Hardhat insists on one, and writes nothing there.
 */
export const startEdr = async (header: ChainHeader, projectRoot: string): Promise<Edr> => {
  const environment = await createHardhatRuntimeEnvironment(
    {
      networks: {
        embedded: {
          type: 'edr-simulated',
          chainType: 'l1',
          chainId: header.chainId,
          hardfork: header.hardfork,
          initialDate: new Date(header.initialDateS * 1000),
          accounts: [],
          allowBlocksWithSameTimestamp: false,
          // A reverted transaction is mined all the same; as an error answer it would escape the journal.
          throwOnTransactionFailures: false,
          loggingEnabled: false,
        },
      },
    },
    {},
    projectRoot,
  )
  const connection = await environment.network.connect('embedded')
  const request: Edr['request'] = (method, params = []) =>
    connection.provider.request({ method, params: [...params] })
  // Hardhat funds accounts by their private keys only; an address that came with a balance is set instead.
  for (const { address, balanceWei } of header.funded)
    await request('hardhat_setBalance', [address, `0x${BigInt(balanceWei).toString(16)}`])
  return { request, close: () => connection.close() }
}
