/** What commands that buy from a hub share: who asks, for what, for how much at most, and how they end. */
import { openClient } from '../client/client.ts'
import type { HubClient } from '../client/hub.ts'
import type { AnyQuery } from '../client/query.ts'
import { apiKeyIn, readSecret } from '../config.ts'
import { exitCodes } from '../exit.ts'
import { parseTime } from '../market/time.ts'
import { parseUsd } from '../sales/money.ts'
import { BuyingError, buyingErrorOf } from './buying-error.ts'

/** Where something is asked for, and what. */
export type AskingOptions = {
  readonly hub: string
  readonly keyFile?: string
  readonly station?: string
  readonly sensor?: string
  readonly quantity: readonly string[]
  readonly from: string
  readonly to: string
  readonly every?: string
  readonly minQuality?: number
  readonly maxUsd: string
}

/** What is wrong with the command line itself. */
export const usageError = (message: string): BuyingError => new BuyingError(message, exitCodes.usage)

/** The query as the client takes it; wrong times are told before anything is asked. */
export const queryOf = ({
  station,
  sensor,
  quantity,
  from,
  to,
  every,
  minQuality,
}: AskingOptions): AnyQuery => {
  for (const [name, text] of Object.entries({ from, to })) {
    const parsed = parseTime(text)
    if (!parsed.ok) throw usageError(`--${name} ${parsed.detail}`)
  }
  return {
    ...(station === undefined ? {} : { station }),
    ...(sensor === undefined ? {} : { sensor }),
    ...(quantity.length === 0 ? {} : { quantity }),
    ...(every === undefined ? {} : { every }),
    ...(minQuality === undefined ? {} : { minQuality }),
    from,
    to,
  }
}

/** The key of the buyer; undefined without one. */
export const keyOf = ({ keyFile }: AskingOptions): string | undefined => {
  const key = keyFile === undefined ? apiKeyIn(process.env) : readSecret(keyFile)
  if (key !== undefined && !/^[\x21-\x7e]{1,256}$/.test(key))
    throw usageError(`${keyFile ?? 'GROUNDTRUTH_KEY'} does not hold an API key`)
  return key
}

const loopback = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/

/** Whether others on the way see what goes to an address. */
const isOpen = (address: string): boolean => {
  const { protocol, hostname } = new URL(address)
  return protocol === 'http:' && !loopback.test(hostname)
}

/** A client of the hub; says so where the key can be read on the way. */
export const openHub = (url: string, key: string | undefined, maxMicroUsd: bigint): HubClient => {
  if (key !== undefined && URL.canParse(url) && isOpen(url))
    process.stderr.write(`The key goes to ${url} in the clear: https:// would hide it.\n`)
  try {
    return openClient({ url, maxMicroUsd, ...(key === undefined ? {} : { key }) })
  } catch (error) {
    throw usageError(`--hub: ${(error as Error).message}`)
  }
}

/** The most that may be paid, in micro-USD. */
export const mostOf = ({ maxUsd }: AskingOptions): bigint => {
  const most = parseUsd(maxUsd)
  if (most === undefined) throw usageError(`--max-usd takes dollars as 0.01 or 25, not ${maxUsd}`)
  return most
}

/** Does what a command is for, and says what went wrong with the exit code for it. */
export const reporting = async (work: () => Promise<void>): Promise<void> => {
  try {
    await work()
  } catch (error) {
    const reason = buyingErrorOf(error)
    if (!(reason instanceof BuyingError)) throw reason
    process.stderr.write(`${reason.message}\n`)
    process.exitCode = reason.code
  }
}
