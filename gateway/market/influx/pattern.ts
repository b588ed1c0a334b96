/** The regular expressions of InfluxQL that are answered: lists of words. They are matched here, and never run as such. */
import { InfluxRefusal } from './token.ts'

// Whole words are looked up, so that a template variable can have many values; parts are looked for one by one.
const maxWords = 1_000
const maxParts = 8

const help =
  'regular expressions are words here: /^word$/, /^(one|two)$/, /word/, /^word.*/ or /.*/, with (?i) in front where case does not matter'

const plain = /^[A-Za-z0-9_\- ]$/
const escaped = /^[^A-Za-z0-9]$/

/** Words with `|` between them; undefined where there is anything that is no plain character. */
const wordsOf = (text: string): string[] | undefined => {
  const words = ['']
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!
    if (character === '|') words.push('')
    else if (plain.test(character)) words[words.length - 1] += character
    else if (character === '\\' && escaped.test(text[at + 1] ?? '')) words[words.length - 1] += text[++at]!
    else return undefined
  }
  return words
}

/** Whether a text matches the pattern (what stands between the slashes). Throws InfluxRefusal for any other pattern. */
export const matcherOf = (pattern: string): ((text: string) => boolean) => {
  const refuse = (): never => {
    throw new InfluxRefusal(`/${pattern.slice(0, 100)}/ is not answered: ${help}`)
  }
  let body = pattern
  const cutStart = (start: string): boolean => {
    const is = body.startsWith(start)
    if (is) body = body.slice(start.length)
    return is
  }
  const cutEnd = (end: string): boolean => {
    const is = body.endsWith(end) && !body.endsWith(`\\${end}`)
    if (is) body = body.slice(0, -end.length)
    return is
  }
  const ignoresCase = cutStart('(?i)')
  const anchoredStart = cutStart('^')
  const anchoredEnd = cutEnd('$')
  const openStart = cutStart('.*')
  const openEnd = cutEnd('.*')
  const grouped = body.startsWith('(')
  if (grouped) {
    if (!cutEnd(')')) return refuse()
    cutStart(body.startsWith('(?:') ? '(?:' : '(')
  }
  const words = wordsOf(ignoresCase ? body.toLowerCase() : body)
  if (words === undefined) return refuse()
  // Outside of a group ^ would belong to the first word and $ to the last.
  if (words.length > 1 && !grouped && (anchoredStart || anchoredEnd || openStart || openEnd)) return refuse()
  const start = anchoredStart && !openStart
  const end = anchoredEnd && !openEnd
  if (words.length > (start && end ? maxWords : maxParts))
    throw new InfluxRefusal(
      `a regular expression has at most ${maxWords} whole words (^ and $ around them), or ${maxParts} parts of words`,
    )
  const exact = new Set(words)
  const matches = (text: string): boolean => {
    if (start && end) return exact.has(text)
    if (start) return words.some((word) => text.startsWith(word))
    if (end) return words.some((word) => text.endsWith(word))
    return words.some((word) => text.includes(word))
  }
  return ignoresCase ? (text) => matches(text.toLowerCase()) : matches
}
