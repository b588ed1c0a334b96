/** Money: whole micro-USD (a millionth of a US dollar) as bigint, never a float. */

export type MicroUsd = bigint

const perUsd = 1_000_000n

/** Dollars as text with the six decimals that there are: `1.250000`, `-0.000010`. */
export const usdText = (amount: MicroUsd): string => {
  const size = amount < 0n ? -amount : amount
  return `${amount < 0n ? '-' : ''}${size / perUsd}.${`${size % perUsd}`.padStart(6, '0')}`
}

/** Reads `1`, `1.25` or `0.000001` dollars; undefined for anything else, for more decimals, and above a billion. */
export const parseUsd = (text: string): MicroUsd | undefined => {
  const match = /^(\d{1,9})(?:\.(\d{1,6}))?$/.exec(text)
  if (match === null) return undefined
  return BigInt(match[1]!) * perUsd + BigInt((match[2] ?? '').padEnd(6, '0'))
}

/** What SQLite keeps: 64 bits with a sign. No amount and no balance may pass it. */
export const mostMicroUsd: MicroUsd = 2n ** 53n - 1n
