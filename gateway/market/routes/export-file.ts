/** Sends a file that never changes, whole or in part (RFC 9110 s13, s14). */
import { createReadStream } from 'node:fs'
import { extname } from 'node:path'
import { Readable } from 'node:stream'
import type { Context } from 'hono'
import { isNotModified } from '../api.ts'
import { fault, Problem } from '../problem.ts'
import type { Plan } from '../query.ts'
import { isMismatch, rangeCounts, wantedOf } from '../range.ts'
import { stampText } from '../time.ts'

export type SentFile = {
  readonly path: string
  readonly name: string
  readonly bytes: number
  /** In hex. */
  readonly sha256: string
  readonly contentType: string
}

const digest = (sha256: string): string => `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:`

/** The answer: the file, the part of it that Range asks for, or nothing where the client has it. */
export const sendFile = (c: Context, file: SentFile, { selection: { fromMs, toMs } }: Plan): Response => {
  const { path, name, bytes, sha256, contentType } = file
  const tag = `"${sha256}"`
  if (isMismatch(c.req.header('if-match'), tag))
    throw new Problem(fault('precondition-failed', `its entity tag is ${tag}`))
  c.header('etag', tag)
  c.header('accept-ranges', 'bytes')
  // Coded on the way it would be other bytes than those of its tag, its parts and its receipt.
  c.header('cache-control', 'private, no-transform, max-age=86400, immutable')
  c.header('repr-digest', digest(sha256))
  if (isNotModified(c, tag)) return c.body(null, 304)
  const range = rangeCounts(c.req.header('if-range'), tag) ? c.req.header('range') : undefined
  const wanted = wantedOf(range, bytes)
  if (wanted === 'none')
    throw new Problem(
      fault('range-not-satisfiable', `it has ${bytes} bytes`, {
        headers: { 'content-range': `bytes */${bytes}` },
      }),
    )
  c.header('content-type', contentType)
  c.header(
    'content-disposition',
    `attachment; filename="groundtruth-${stampText(fromMs)}-${stampText(toMs)}${extname(name)}"`,
  )
  const { first, last } = wanted === 'whole' ? { first: 0, last: bytes - 1 } : wanted
  c.header('content-length', `${last - first + 1}`)
  if (wanted !== 'whole') {
    c.status(206)
    c.header('content-range', `bytes ${first}-${last}/${bytes}`)
  }
  if (c.req.method === 'HEAD' || bytes === 0) return c.body(null)
  const stream = createReadStream(path, { start: first, end: last })
  return c.body(Readable.toWeb(stream) as ReadableStream<Uint8Array<ArrayBuffer>>)
}
