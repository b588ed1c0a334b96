/** What modems that take commands as lines share: bytes to commands, texts to answers. */
import { answer, commandReader, type Emission } from './device.ts'

const newline = 0x0a

const takeLine = (bytes: Uint8Array) => {
  const at = bytes.indexOf(newline)
  return at === -1 ? { drop: 0 } : { drop: at + 1, command: bytes.slice(0, at) }
}

/** Whole commands of what was received, without their endings; empty ones are none. */
export const commandLines = (): ((bytes: Uint8Array) => readonly string[]) => {
  const read = commandReader(takeLine)
  return (bytes) =>
    read(bytes)
      .map((command) => Buffer.from(command).toString('latin1').replace(/\r$/, ''))
      .filter((command) => command !== '')
}

/** Lines of text, ended by CR LF. */
export const lines = (...texts: readonly string[]): Uint8Array =>
  new Uint8Array(Buffer.from(texts.map((text) => `${text}\r\n`).join(''), 'latin1'))

/** An answer of such lines. */
export const says = (...texts: readonly string[]): Emission => answer(lines(...texts))

/** Bytes as modems print them. */
export const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex').toUpperCase()
