/** How long a LoRa transmission is on the air: Semtech AN1200.13. */

export type Modulation = {
  readonly spreadingFactor: number
  readonly bandwidthHz: number
  /** 1 to 4 for 4/5 to 4/8. */
  readonly codingRate?: number
  readonly preambleSymbols?: number
  readonly crc?: boolean
  readonly implicitHeader?: boolean
}

// Symbols longer than this need the low data rate optimisation.
const longSymbolMs = 16

/** Milliseconds on the air of a physical payload of so many bytes. */
export const airtimeMs = (
  bytes: number,
  {
    spreadingFactor,
    bandwidthHz,
    codingRate = 1,
    preambleSymbols = 8,
    crc = true,
    implicitHeader = false,
  }: Modulation,
): number => {
  const symbolMs = (2 ** spreadingFactor / bandwidthHz) * 1000
  const optimised = symbolMs > longSymbolMs ? 1 : 0
  const bits = 8 * bytes - 4 * spreadingFactor + 28 + (crc ? 16 : 0) - (implicitHeader ? 20 : 0)
  const blocks = Math.ceil(bits / (4 * (spreadingFactor - 2 * optimised)))
  const payloadSymbols = 8 + Math.max(blocks * (codingRate + 4), 0)
  return (preambleSymbols + 4.25 + payloadSymbols) * symbolMs
}
