import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isMismatch, rangeCounts, wantedOf } from '#gateway/market/range.ts'
import { openExporter } from './exports-world.ts'
import { nowMs } from './market-world.ts'

describe('a range', () => {
  test('is a first and a last byte, from one on, or the last so many', () => {
    expect(wantedOf('bytes=0-0', 10)).toEqual({ first: 0, last: 0 })
    expect(wantedOf('bytes=3-', 10)).toEqual({ first: 3, last: 9 })
    expect(wantedOf('bytes=3-99', 10)).toEqual({ first: 3, last: 9 })
    expect(wantedOf('bytes=-4', 10)).toEqual({ first: 6, last: 9 })
    expect(wantedOf('bytes=-99', 10)).toEqual({ first: 0, last: 9 })
    for (const none of ['bytes=10-', 'bytes=10-12', 'bytes=-0']) expect(wantedOf(none, 10), none).toBe('none')
    expect(wantedOf('bytes=0-', 0)).toBe('none')
  })

  test('that cannot be read, or is several, is none', () => {
    for (const range of [
      undefined,
      '',
      'bytes=',
      'bytes=-',
      'bytes=5-4',
      'bytes=0-1,3-4',
      'rows=0-1',
      'bytes 0-1',
      'bytes=a-b',
      'bytes=1e2-',
      `bytes=${'9'.repeat(400)}-`,
    ])
      expect(wantedOf(range, 10), range).toBe('whole')
  })

  test('never leaves the file, whatever is asked', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.tuple(fc.nat(), fc.nat()).map(([a, b]) => `bytes=${a}-${b}`),
        ),
        fc.nat(1000),
        (range, length) => {
          const wanted = wantedOf(range, length)
          if (wanted === 'whole' || wanted === 'none') return true
          return wanted.first >= 0 && wanted.first <= wanted.last && wanted.last < length
        },
      ),
    )
  })

  test('counts where If-Range has the tag, and not for a weak one, another or a date', () => {
    expect(rangeCounts(undefined, '"a"')).toBe(true)
    expect(rangeCounts('"a"', '"a"')).toBe(true)
    for (const other of ['W/"a"', '"b"', 'Sat, 21 Nov 2026 12:00:00 GMT', '*'])
      expect(rangeCounts(other, '"a"'), other).toBe(false)
  })

  test('If-Match lets pass what has the tag, or anything with a star', () => {
    for (const fits of [undefined, '*', '"a"', '"b", "a"']) expect(isMismatch(fits, '"a"'), fits).toBe(false)
    for (const other of ['W/"a"', '"b"', '']) expect(isMismatch(other, '"a"'), other).toBe(true)
  })
})

describe('the file of an export', () => {
  test('comes whole, in part, joined from parts, or not at all to whom has it', async () => {
    const { anybody, app } = await openExporter({ sells: false })
    const { shown, bytes } = await anybody.bought({ from: `${nowMs - 3_600_000}`, format: 'csv' })
    const [file] = shown.files
    const get = async (headers: Record<string, string>, method = 'GET') => {
      const response = await app.request(file!.href, { headers, method })
      return { response, body: new Uint8Array(await response.arrayBuffer()) }
    }
    const whole = await get({ 'accept-encoding': 'gzip' })
    const tag = `"${file!.sha256}"`
    expect(whole.response.status).toBe(200)
    expect(Object.fromEntries(whole.response.headers)).toMatchObject({
      etag: tag,
      'accept-ranges': 'bytes',
      'content-length': `${bytes.length}`,
      'content-type': 'text/csv; charset=utf-8; header=present',
      'content-disposition': 'attachment; filename="groundtruth-20261121T110000Z-20261121T120000Z.csv"',
      'repr-digest': `sha-256=:${Buffer.from(file!.sha256, 'hex').toString('base64')}:`,
    })
    expect(whole.response.headers.get('content-encoding')).toBeNull()
    expect(Buffer.from(whole.body).equals(bytes)).toBe(true)

    const parts: Uint8Array[] = []
    for (let at = 0; at < bytes.length; at += 5000) {
      const { response, body } = await get({ range: `bytes=${at}-${at + 4999}`, 'if-range': tag })
      const last = Math.min(at + 4999, bytes.length - 1)
      expect(response.status).toBe(206)
      expect(response.headers.get('content-range')).toBe(`bytes ${at}-${last}/${bytes.length}`)
      expect(response.headers.get('content-length')).toBe(`${body.length}`)
      parts.push(body)
    }
    expect(parts.length).toBeGreaterThan(2)
    expect(Buffer.concat(parts).equals(bytes)).toBe(true)
    const end = await get({ range: 'bytes=-7' })
    expect(Buffer.from(end.body).equals(bytes.subarray(-7))).toBe(true)

    const changed = await get({ range: 'bytes=5-', 'if-range': '"other"' })
    expect([changed.response.status, changed.body.length]).toEqual([200, bytes.length])
    const beyond = await get({ range: `bytes=${bytes.length}-` })
    expect(beyond.response.status).toBe(416)
    expect(beyond.response.headers.get('content-range')).toBe(`bytes */${bytes.length}`)
    const has = await get({ 'if-none-match': `W/"x", ${tag}`, range: 'bytes=0-1' })
    expect([has.response.status, has.body.length]).toEqual([304, 0])
    expect((await get({ 'if-match': '"other"' })).response.status).toBe(412)
    expect((await get({ 'if-match': tag })).response.status).toBe(200)
    const head = await get({ range: 'bytes=0-9' }, 'HEAD')
    expect([head.body.length, head.response.headers.get('accept-ranges')]).toEqual([0, 'bytes'])
  })

  test('is under its own name only, and not there before it is done', async () => {
    const { anybody, work, directory } = await openExporter({ sells: false, works: false })
    const ordered = await anybody.order({ format: 'csv' })
    const address = `/v1/exports/${ordered.id}`
    expect((await anybody.ask(`${address}/readings.csv`)).response.status).toBe(404)
    work()
    await anybody.finished(ordered)
    for (const name of ['readings.json', 'exports.sqlite', ordered.id])
      expect((await anybody.ask(`${address}/${name}`)).response.status, name).not.toBe(200)
    expect((await anybody.ask(`${address}/..%2f..%2fexports.sqlite`)).response.status).toBe(400)
    expect(directory).not.toBe('')
  })
})
