/** Why a purchase on the command line ends. */
import { HubDistrusted, HubProblem, HubUnreachable } from '../client/errors.ts'
import { exitCodes } from '../exit.ts'

/** The reason in words for a person, and the exit code it ends with. */
export class BuyingError extends Error {
  override name = 'BuyingError'
  readonly code: number
  constructor(message: string, code: number = exitCodes.failed) {
    super(message)
    this.code = code
  }
}

/** What a hub refused, did not answer, or answered wrongly, as a person is told; anything else as it is. */
export const buyingErrorOf = (error: unknown): unknown => {
  if (error instanceof HubUnreachable) return new BuyingError(error.message, exitCodes.unavailable)
  if (error instanceof HubDistrusted) {
    const { message, receiptId } = error
    return new BuyingError(`FAILED: ${message}${receiptId === undefined ? '' : ` (receipt ${receiptId})`}`)
  }
  if (!(error instanceof HubProblem)) return error
  const { status, slug, message } = error
  if (slug === 'not-anchored-yet')
    return new BuyingError(`${message}\n--wait SECONDS waits for the proof.`, exitCodes.unavailable)
  if (status >= 500 || status === 429) return new BuyingError(message, exitCodes.unavailable)
  return new BuyingError(message, status === 400 ? exitCodes.usage : exitCodes.failed)
}
