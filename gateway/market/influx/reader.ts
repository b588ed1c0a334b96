/** Reading InfluxQL piece by piece. */
import { InfluxRefusal, placeText, type Token } from './token.ts'

const shown = (token: Token): string => {
  switch (token.kind) {
    case 'end':
      return 'EOF'
    case 'duration':
      return `a duration`
    case 'regex':
      return `/${token.text.slice(0, 40)}/`
    default:
      return token.text.slice(0, 40)
  }
}

/** A reader of the pieces of `query`. Whatever is not what is asked for throws InfluxRefusal with its place. */
export const readerOf = (query: string, tokens: readonly Token[]) => {
  let at = 0
  const peek = (): Token => tokens[at]!

  const refuse = (what: string, token: Token = peek()): never => {
    throw new InfluxRefusal(`${what} at ${placeText(query, token.at)}`)
  }
  const expected = (what: string): never => refuse(`found ${shown(peek())}, expected ${what}`)

  const isWord = (word: string): boolean => {
    const token = peek()
    return token.kind === 'word' && token.text.toLowerCase() === word
  }
  const isSign = (sign: string): boolean => {
    const token = peek()
    return token.kind === 'sign' && token.text === sign
  }
  const takeIf = (is: boolean): boolean => {
    if (is) at++
    return is
  }
  /** Whether the next words are these, which are then read; either all or none of them. */
  const takeWords = (...words: readonly string[]): boolean => {
    const start = at
    if (words.every((word) => takeIf(isWord(word)))) return true
    at = start
    return false
  }
  const takeSign = (sign: string): boolean => takeIf(isSign(sign))

  const wanted = <K extends Token['kind']>(kind: K, what: string): Extract<Token, { kind: K }> => {
    const token = peek()
    if (token.kind !== kind) return expected(what)
    at++
    return token as Extract<Token, { kind: K }>
  }

  return {
    peek,
    refuse,
    expected,
    isWord,
    isSign,
    takeWords,
    takeSign,
    wanted,
    skip: (): Token => tokens[at++]!,
    expectSign: (sign: string): void => void (takeSign(sign) || expected(sign)),
    expectWord: (word: string): void => void (takeWords(word) || expected(word.toUpperCase())),
    /** A name, bare or in double quotes. */
    name: (what: string): string => {
      const token = peek()
      if (token.kind !== 'word' && token.kind !== 'name') return expected(what)
      at++
      return token.text
    },
    /** A whole number from 0, as LIMIT takes it. */
    count: (what: string): number => {
      const token = wanted('number', `a whole number for ${what}`)
      if (!/^[0-9]{1,9}$/.test(token.text))
        return refuse(`${what} takes a whole number below 1000000000`, token)
      return Number(token.text)
    },
  }
}

export type Reader = ReturnType<typeof readerOf>
