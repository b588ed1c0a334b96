/** What a client is told of an error. Stacks and messages of our own mistakes stay here. */
import { HTTPException } from 'hono/http-exception'
import { type Fault, fault, Problem } from './problem.ts'

/** A store that takes longer than this is as good as not there. */
export const answerMs = 30_000

const storeRetryS = 5

/** The fault of an error; `report` hears of those that are our own. */
export const faultOf = (error: Error, report: (error: unknown) => void): Fault => {
  if (error instanceof Problem) return error.fault
  if (error.name === 'StoreUnavailable')
    return fault('store-unavailable', 'the store cannot be reached or is overloaded', {
      retryAfterS: storeRetryS,
    })
  if (error instanceof HTTPException && error.status === 504)
    return fault('store-unavailable', `no answer within ${answerMs / 1000} s`, { retryAfterS: storeRetryS })
  if (error instanceof HTTPException && error.status < 500) return fault('bad-request', error.message)
  report(error)
  return fault('internal-error', 'an unexpected error, which the hub has logged')
}
