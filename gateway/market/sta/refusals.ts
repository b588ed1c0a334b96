/** Problems with query options: what cannot be read, and what the standard has and this service does not offer. */
import { fault, Problem } from '../problem.ts'

/** 400: an option by its name, and what is wrong with it. */
export const invalidOption = (name: string, detail: string): Problem =>
  new Problem(fault('invalid-query', `${name} ${detail}`, { fields: [{ name, detail }] }))

/** 501: an option by its name, and what is offered in its place. */
export const notOffered = (name: string, detail: string): Problem =>
  new Problem(fault('not-implemented', `${name} ${detail}`, { fields: [{ name, detail }] }))
