/** InfluxQL in pieces: names, texts, numbers, durations and signs, by the rules of the InfluxQL reference (1.x), bounded. */

/** One piece; `at` is where it begins, from 0. Durations are in nanoseconds. */
export type Token = { readonly at: number } & (
  | { readonly kind: 'word'; readonly text: string }
  | { readonly kind: 'name'; readonly text: string }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'number'; readonly text: string }
  | { readonly kind: 'duration'; readonly ns: bigint }
  | { readonly kind: 'regex'; readonly text: string }
  | { readonly kind: 'sign'; readonly text: string }
  | { readonly kind: 'end' }
)

/** Why a query is not answered. Thrown while one is read, and caught where reading began. */
export class InfluxRefusal extends Error {
  override name = 'InfluxRefusal'
}

/** Bound parameters: `$name` in a query stands for a value, never for a piece of the language. */
export type Bound = ReadonlyMap<string, string | number>

/** Longest query, in characters; and most pieces of it. A panel has some hundred of each. */
export const maxQueryLength = 16_384
export const maxTokens = 4_000

const nsPer: Readonly<Record<string, bigint>> = {
  ns: 1n,
  u: 1_000n,
  µ: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
  d: 86_400_000_000_000n,
  w: 604_800_000_000_000n,
}

// Sticky, so that each looks at its place alone; none can match in two ways.
const space = /[ \t\r\n]+/y
const word = /[A-Za-z_][A-Za-z0-9_]*/y
const number = /[0-9]+(?:\.[0-9]*)?|\.[0-9]+/y
const unit = /ns|ms|[uµsmhdw]/y
const digits = /[0-9]+/y
const sign = /=~|!~|!=|<>|<=|>=|::|[=<>(),.;*+\-/%]/y

// Ten characters of a digit each are some decades in nanoseconds; more is no honest number.
const maxDigits = 25

/** Line and character of a place in a text, both from 1, as in InfluxDB's own messages. */
export const placeText = (text: string, at: number): string => {
  const before = text.slice(0, at).split('\n')
  return `line ${before.length}, char ${before.at(-1)!.length + 1}`
}

const escapes: Readonly<Record<string, string>> = { n: '\n', '\\': '\\', '"': '"', "'": "'" }

/** The pieces of a query, the end included. Throws InfluxRefusal for what is no InfluxQL, and for too much of it. */
export const tokensOf = (query: string, bound: Bound): Token[] => {
  if (query.length > maxQueryLength)
    throw new InfluxRefusal(`a query has at most ${maxQueryLength} characters here`)
  const tokens: Token[] = []
  let at = 0

  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    const found = pattern.exec(query)?.[0]
    if (found !== undefined) at += found.length
    return found
  }
  const refuse = (what: string, where: number): never => {
    throw new InfluxRefusal(`${what} at ${placeText(query, where)}`)
  }

  /** What stands between quotes; `at` is behind the closing one. */
  const quoted = (quote: string): string => {
    const start = at++
    let text = ''
    for (;;) {
      const character = query[at++]
      if (character === undefined || character === '\n') return refuse(`no closing ${quote}`, start)
      if (character === quote) return text
      if (character !== '\\') {
        text += character
        continue
      }
      const escaped = escapes[query[at++] ?? '']
      if (escaped === undefined) return refuse(`\\${query[at - 1] ?? ''} is no escape`, at - 2)
      text += escaped
    }
  }

  /** What stands between slashes, as it is, but for `\/`. */
  const regex = (): string => {
    const start = at++
    let text = ''
    for (;;) {
      const character = query[at++]
      if (character === undefined || character === '\n') return refuse('no closing /', start)
      if (character === '/') return text
      if (character === '\\' && query[at] === '/') text += query[at++]
      else if (character === '\\') text += character + (query[at++] ?? '')
      else text += character
    }
  }

  /** A number, or a duration such as `1h30m`. */
  const numeral = (): Token => {
    const start = at
    const text = take(number)!
    if (text.length > maxDigits) return refuse('a number too long', start)
    let name = take(unit)
    if (name === undefined) return { kind: 'number', text, at: start }
    if (!/^[0-9]+$/.test(text)) return refuse('a duration takes whole numbers', start)
    let ns = BigInt(text) * nsPer[name]!
    for (let more = take(digits); more !== undefined; more = take(digits)) {
      name = take(unit)
      if (more.length > maxDigits || name === undefined)
        return refuse('a duration such as 5m or 1h30m', start)
      ns += BigInt(more) * nsPer[name]!
    }
    return { kind: 'duration', ns, at: start }
  }

  const parameter = (): Token => {
    const start = at++
    const name = take(word) ?? (query[at] === '"' ? quoted('"') : '')
    const value = bound.get(name)
    if (value === undefined) return refuse(`missing parameter: ${name}`, start)
    return typeof value === 'string'
      ? { kind: 'text', text: value, at: start }
      : { kind: 'number', text: `${value}`, at: start }
  }

  const next = (): Token => {
    const start = at
    const character = query[at]
    if (character === undefined) return { kind: 'end', at }
    if (character === '"') return { kind: 'name', text: quoted('"'), at: start }
    if (character === "'") return { kind: 'text', text: quoted("'"), at: start }
    if (character === '$') return parameter()
    const before = tokens.at(-1)
    if (character === '/' && before?.kind === 'sign' && /~$/.test(before.text))
      return { kind: 'regex', text: regex(), at: start }
    if (query.startsWith('--', at) || query.startsWith('/*', at))
      return refuse('comments are not read here', start)
    const bare = take(word)
    if (bare !== undefined) return { kind: 'word', text: bare, at: start }
    if (/[0-9]/.test(character) || (character === '.' && /[0-9]/.test(query[at + 1] ?? ''))) return numeral()
    const mark = take(sign)
    return mark === undefined
      ? refuse(`${JSON.stringify(character)} means nothing here`, start)
      : { kind: 'sign', text: mark, at: start }
  }

  do {
    take(space)
    if (tokens.length >= maxTokens)
      throw new InfluxRefusal(`a query has at most ${maxTokens} words and signs here`)
    tokens.push(next())
  } while (tokens.at(-1)!.kind !== 'end')
  return tokens
}
