/** Which part of a file a request wants (RFC 9110 s13, s14). */

/** First and last byte of a part, both inclusive. */
export type Part = { readonly first: number; readonly last: number }

/** The whole file, one part of it, or nothing that it has. */
export type Wanted = 'whole' | 'none' | Part

/**
 * What a Range header asks of a file of `length` bytes. A header that cannot be read, another unit or several ranges
 * count as none (s14.2 leaves that to the server): the whole file answers them.
 */
export const wantedOf = (range: string | undefined, length: number): Wanted => {
  const match = /^bytes=[ \t]*(\d{0,15})-(\d{0,15})[ \t]*$/i.exec(range ?? '')
  if (match === null) return 'whole'
  const [first, last] = [match[1]!, match[2]!]
  if (first === '') {
    if (last === '') return 'whole'
    // The last bytes, or as many as there are.
    const count = Math.min(Number(last), length)
    return count === 0 ? 'none' : { first: length - count, last: length - 1 }
  }
  if (last !== '' && Number(last) < Number(first)) return 'whole'
  if (Number(first) >= length) return 'none'
  return {
    first: Number(first),
    last: last === '' ? length - 1 : Math.min(Number(last), length - 1),
  }
}

/** Whether If-Range lets a range count (s13.1.5): a strong tag that is this one. A date never is: none is given. */
export const rangeCounts = (ifRange: string | undefined, tag: string): boolean =>
  ifRange === undefined || ifRange.trim() === tag

/** Whether If-Match refuses the request (s13.1.1, strong comparison). */
export const isMismatch = (ifMatch: string | undefined, tag: string): boolean =>
  ifMatch !== undefined && ifMatch.trim() !== '*' && !ifMatch.split(',').some((one) => one.trim() === tag)
