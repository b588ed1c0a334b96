/** Which format a client wants (RFC 9110 s12.5.1). */
import type { Format } from './formats/format.ts'
import { type Fault, fault } from './problem.ts'

type MediaRange = { readonly type: string; readonly q: number }

// A header of more ranges than this is no honest wish.
const maxRanges = 32

const rangesOf = (accept: string): MediaRange[] =>
  accept
    .split(',', maxRanges)
    .map((range) => {
      const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase())
      const q = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2) ?? '1'
      return { type, q: /^(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(q) ? Number(q) : 0 }
    })
    .filter(({ type }) => type !== '')

/** How much a format is wanted: the weight of the most specific range that fits it. */
const weightOf = (mediaType: string, ranges: readonly MediaRange[]): number => {
  const family = `${mediaType.split('/')[0]}/*`
  for (const wanted of [mediaType, family, '*/*']) {
    const range = ranges.find(({ type }) => type === wanted)
    if (range !== undefined) return range.q
  }
  return 0
}

/** The format by its name where one was asked for, else the best by Accept, else the first. */
export const chooseFormat = (
  formats: readonly [Format, ...Format[]],
  name: string | undefined,
  accept: string | undefined,
): { readonly ok: true; readonly format: Format } | Fault => {
  const named = formats.find((format) => format.name === name)
  if (named !== undefined) return { ok: true, format: named }
  const ranges = rangesOf(accept ?? '')
  if (ranges.length === 0) return { ok: true, format: formats[0] }
  const [best] = formats
    .map((format) => ({ format, weight: weightOf(format.mediaType, ranges) }))
    .filter(({ weight }) => weight > 0)
    .sort((a, b) => b.weight - a.weight)
  return best === undefined
    ? fault('not-acceptable', `on offer: ${formats.map(({ mediaType }) => mediaType).join(', ')}`)
    : { ok: true, format: best.format }
}
