/** The Idempotency-Key of a request: a name for an order, so that it is made once however often it is sent. */
import type { Context } from 'hono'
import { fault, Problem } from './problem.ts'

const detail = 'takes 8 to 128 visible ASCII characters'

/** The key; undefined without one. What is none is a problem. */
export const idempotencyKeyIn = (c: Context): string | undefined => {
  const text = c.req.header('idempotency-key')
  if (text !== undefined && !/^[\x21-\x7e]{8,128}$/.test(text))
    throw new Problem(
      fault('invalid-query', `Idempotency-Key ${detail}`, { fields: [{ name: 'Idempotency-Key', detail }] }),
    )
  return text
}
