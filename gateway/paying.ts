/** Puts the rail x402 together with a chain: whose key settles, in which token, and what the embedded chain needs for it. */
import { join } from 'node:path'
import { type Address, getAddress, getContractAddress, type Hex } from 'viem'
import { type Account, accountOf } from './anchor/account.ts'
import type { Chain } from './anchor/chain.ts'
import { httpChain } from './anchor/http.ts'
import { readBalance, readChainId, readCode, readNonce, readReceipt } from './anchor/node.ts'
import type { HubConfig } from './config.ts'
import { openSecret } from './keys.ts'
import type { Credit, Rail } from './sales/rail.ts'
import { testUsdCode, testUsdDomain } from './sales/token/token.ts'
import { openX402 } from './sales/x402.ts'

// What the settling key gets on the embedded chain, in wei: gas for more payments than its journal should hold.
const fundedWei = 10n ** 20n
const enoughWei = 10n ** 18n

/** Sends one transaction on the embedded chain, which has it in a block when it answers. */
const sendOn = async (
  chain: Chain,
  account: Account,
  call: { readonly to?: Address; readonly data?: Hex; readonly value?: bigint; readonly gas: bigint },
): Promise<void> => {
  const raw = await account.signTransaction({
    type: 'eip1559',
    chainId: await readChainId(chain),
    nonce: await readNonce(chain, account.address, 'latest'),
    maxFeePerGas: 10n ** 11n,
    maxPriorityFeePerGas: 1n,
    ...call,
  })
  const hash = (await chain.request({ method: 'eth_sendRawTransaction', params: [raw] })) as Hex
  if ((await readReceipt(chain, hash))?.succeeded !== true)
    throw new Error(`the embedded chain did not take transaction ${hash}`)
}

/**
 * The test token on the embedded chain, made with the first transaction of the settling key; that key gets gas money from
 * `rich`, which must not be sending anything else meanwhile.
 */
export const testToken = async (chain: Chain, account: Account, rich: Account): Promise<Address> => {
  if ((await readBalance(chain, account.address)) < enoughWei)
    await sendOn(chain, rich, { to: account.address, value: fundedWei, gas: 21_000n })
  const token = getContractAddress({ from: account.address, nonce: 0n })
  if ((await readCode(chain, token)) !== '0x') return token
  if ((await readNonce(chain, account.address, 'latest')) !== 0)
    throw new Error(
      `the key ${account.address} was used on the embedded chain for something else than payments.\nTake another one for hub.market.x402.keyFile.`,
    )
  await sendOn(chain, account, { data: testUsdCode, gas: 3_000_000n })
  return token
}

export type PayingOptions = {
  readonly config: HubConfig['market']['x402']
  /** The hub's chain, and whether it is the embedded one. */
  readonly chain: Chain
  readonly embedded: boolean
  /** Pays for anchors, and on the embedded chain for the start of this. */
  readonly anchorer: Account
  readonly maxFeeGwei: number
  readonly directory: string
  readonly log: (message: string) => void
}

const gweiWei = 1_000_000_000

/** Makes ready what the rail needs; `openSelling` opens it. An external chain may be away meanwhile. */
export const prepareX402 = async (options: PayingOptions): Promise<(credit: Credit) => Rail & Disposable> => {
  const { config, directory, anchorer, log } = options
  const account = accountOf(openSecret(config.keyFile ?? join(directory, 'x402.key')))
  if (account.address === anchorer.address)
    throw new Error('hub.market.x402.keyFile and hub.chain.keyFile hold the same key; each needs its own.')
  const embedded = options.embedded && config.rpcUrl === undefined
  const chain = config.rpcUrl === undefined ? options.chain : httpChain({ url: config.rpcUrl })
  const { asset, name, version, chainId } = config
  if (asset === undefined && !embedded)
    throw new Error('hub.market.x402 needs asset, name, version and chainId on a chain that is not embedded.')
  if (asset !== undefined && (name === undefined || version === undefined || chainId === undefined))
    throw new Error('hub.market.x402 needs name, version and chainId of its asset.')
  const token =
    asset === undefined
      ? {
          asset: await testToken(chain, account, anchorer),
          domain: testUsdDomain,
          chainId: await readChainId(chain),
        }
      : {
          asset: getAddress(asset.toLowerCase()),
          domain: { name: name!, version: version! },
          chainId: chainId!,
        }
  return (credit) =>
    openX402({
      ...token,
      chain,
      account,
      payTo: getAddress((config.payTo ?? account.address).toLowerCase()),
      capWei: BigInt(Math.round(options.maxFeeGwei * gweiWei)),
      path: join(directory, 'x402.sqlite'),
      credit,
      log,
    })
}
