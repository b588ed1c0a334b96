/** How a Basics Station calls itself: an EUI of 64 bits, written in one of three ways. */

const hexDigits = 16

/** Four groups of up to four digits, as IPv6 would write them; a prefix such as `router-` says nothing. */
const fromId6 = (text: string): string | undefined => {
  const plain = text.replace(/^[a-z]{1,16}-/, '')
  if (!/^[0-9a-f:]{2,19}$/.test(plain)) return undefined
  const halves = plain.split('::')
  const groups = halves.map((half) => (half === '' ? [] : half.split(':')))
  const missing = 4 - groups.flat().length
  if (halves.length > 2 || (halves.length === 2 ? missing < 1 : missing !== 0)) return undefined
  const all = [...groups[0]!, ...Array.from({ length: missing }, () => '0'), ...(groups[1] ?? [])]
  return all.every((group) => group.length >= 1 && group.length <= 4)
    ? all.map((group) => group.padStart(4, '0')).join('')
    : undefined
}

/** The EUI as 16 hexadecimal digits from an ID6, from bytes with `-` or `:` between, or from a number; else undefined. */
export const euiOf = (value: unknown): string | undefined => {
  if (typeof value === 'bigint' || (typeof value === 'number' && Number.isSafeInteger(value))) {
    const digits = value < 0 ? '' : BigInt(value).toString(16)
    return digits !== '' && digits.length <= hexDigits ? digits.padStart(hexDigits, '0') : undefined
  }
  if (typeof value !== 'string' || value.length > 48) return undefined
  const text = value.toLowerCase()
  if (/^[0-9a-f]{2}(?:([-:])[0-9a-f]{2}(?:\1[0-9a-f]{2}){6})$/.test(text)) return text.replaceAll(/[-:]/g, '')
  if (/^[0-9a-f]{16}$/.test(text)) return text
  return fromId6(text)
}

/** An EUI of 16 digits as an ID6: groups without leading zeros, the longest run of zero groups left out. */
export const id6Of = (eui: string): string => {
  const groups = (eui.match(/.{4}/g) ?? []).map((group) => Number.parseInt(group, 16).toString(16))
  return groups.join(':').replace(/(?:^|:)0(?::0)+(?::|$)/, '::')
}
