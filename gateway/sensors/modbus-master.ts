/** A Modbus RTU master (modbus-serial) on a wire that somebody else keeps open. */
import { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'

/** Registers that are read in one request: function code 3 (holding) or 4 (input), first address from 0, how many. */
export type Block = { readonly fc: 3 | 4; readonly address: number; readonly count: number }

/** One device on the bus and what is read of it. */
export type Unit = { readonly unit: number; readonly blocks: readonly Block[] }

/** What became of a block: `exception` is the device's own code (Modbus application protocol V1.1b3 s7). */
export type Answer =
  | { readonly kind: 'registers'; readonly registers: readonly number[] }
  | { readonly kind: 'exception'; readonly code: number }
  | { readonly kind: 'no-answer' }

// Answer: unit, function, byte count, registers, CRC. An exception: unit, function with bit 7, code, CRC.
const answerOverhead = 5
const exceptionBytes = 5
const exceptionBit = 0x80
// Noise on a bus without termination never ends: what is kept of it is the longest answer, twice.
const maxKept = 2 * 256

const crc16 = (bytes: Uint8Array, start: number, end: number): number => {
  let crc = 0xffff
  for (let at = start; at < end; at += 1) {
    crc ^= bytes[at]!
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >> 1) ^ 0xa001 : crc >> 1
  }
  return crc
}

const isWhole = (bytes: Uint8Array, start: number, end: number): boolean =>
  crc16(bytes, start, end - 2) === (bytes[end - 2]! | (bytes[end - 1]! << 8))

/**
 * The wire as modbus-serial wants its port. The library's own ports look for a header and believe what follows; here an
 * answer is looked for in all that came since the request, by header, length and CRC: echoes of the request, power-up
 * banners and late answers of others are passed over. What came before a request is forgotten.
 */
class WirePort extends EventEmitter {
  readonly #wire: Duplex
  #kept: Buffer = Buffer.alloc(0)
  #request: Buffer = Buffer.alloc(0)
  isOpen = true

  constructor(wire: Duplex) {
    super()
    this.#wire = wire
    wire.on('data', (bytes: Uint8Array) => this.#take(bytes))
  }

  #take(bytes: Uint8Array): void {
    if (this.#request.length === 0) return
    this.#kept = Buffer.concat([this.#kept, bytes])
    const [unit, fc] = this.#request as unknown as [number, number]
    const dataBytes = 2 * this.#request.readUInt16BE(4)
    for (let start = 0; start + exceptionBytes <= this.#kept.length; start += 1) {
      if (this.#kept[start] !== unit) continue
      const said = this.#kept[start + 1]
      const isAnswer = said === fc && this.#kept[start + 2] === dataBytes
      if (!isAnswer && said !== (fc | exceptionBit)) continue
      const end = start + (isAnswer ? answerOverhead + dataBytes : exceptionBytes)
      if (end > this.#kept.length || !isWhole(this.#kept, start, end)) continue
      const answer = this.#kept.subarray(start, end)
      this.#request = Buffer.alloc(0)
      this.emit('data', answer)
      return
    }
    this.#kept = this.#kept.subarray(-maxKept)
  }

  open(done: (error: null) => void): void {
    done(null)
  }

  close(done: (error: null) => void): void {
    this.isOpen = false
    done(null)
  }

  write(request: Buffer): void {
    this.#kept = Buffer.alloc(0)
    this.#request = request
    if (!this.#wire.destroyed) this.#wire.write(request)
  }
}

const exceptionOf = (error: unknown): number | undefined => {
  const { modbusCode } = error as { modbusCode?: unknown }
  return typeof modbusCode === 'number' ? modbusCode : undefined
}

/**
 * Asks every unit in turn, once an interval, until the wire ends or the signal aborts; gives a unit's index and the
 * answers to its blocks. A unit that is missing costs `timeoutMs` for its first block, and its others are not asked.
 */
export const askUnits = async function* (
  wire: Duplex,
  units: readonly Unit[],
  { intervalMs, timeoutMs }: { readonly intervalMs: number; readonly timeoutMs: number },
  signal: AbortSignal,
): AsyncGenerator<readonly [index: number, answers: readonly Answer[]], void, void> {
  const ended = new AbortController()
  const over = AbortSignal.any([signal, ended.signal])
  let failure: Error | undefined
  wire.once('error', (error: Error) => {
    failure = error
  })
  wire.once('close', () => ended.abort())
  wire.once('end', () => ended.abort())
  // Loaded by whoever has a bus: the library brings every kind of port along. It is CommonJS with a default beside it.
  const { default: modbusSerial } = await import('modbus-serial')
  const client = new modbusSerial.default(new WirePort(wire))
  client.open(() => undefined)
  client.setTimeout(timeoutMs)

  const ask = async (unit: number, { fc, address, count }: Block): Promise<Answer> => {
    client.setID(unit)
    try {
      const { data } = await (fc === 3
        ? client.readHoldingRegisters(address, count)
        : client.readInputRegisters(address, count))
      return { kind: 'registers', registers: data }
    } catch (error) {
      const code = exceptionOf(error)
      return code === undefined ? { kind: 'no-answer' } : { kind: 'exception', code }
    }
  }

  try {
    for (let nextMs = performance.now(); !over.aborted; ) {
      for (const [index, { unit, blocks }] of units.entries()) {
        const answers: Answer[] = []
        for (const block of blocks) {
          if (over.aborted) break
          const isMissing = answers[0]?.kind === 'no-answer'
          answers.push(isMissing ? { kind: 'no-answer' } : await ask(unit, block))
        }
        if (over.aborted) break
        yield [index, answers]
      }
      nextMs = Math.max(nextMs + intervalMs, performance.now())
      await delay(nextMs - performance.now(), undefined, { signal: over }).catch(() => undefined)
    }
  } finally {
    client.close(() => undefined)
  }
  if (failure && !signal.aborted) throw failure
}
