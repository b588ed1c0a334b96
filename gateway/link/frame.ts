/** Cuts a stream of bytes into frames with a fixed amount of memory, whatever the bytes are. */
import assert from 'node:assert/strict'
import { ReadlineParser } from '@serialport/parser-readline'
import type { Cut, Framing } from '../sensors/sensors.ts'

/**
 * A framer for one open link. `push` takes the bytes as they came and gives the frames they complete, as
 * copies. `skippedBytes` counts what belonged to no frame.
 */
export type Framer = {
  readonly push: (chunk: Uint8Array) => Iterable<Uint8Array>
  readonly skippedBytes: () => number
}

const LF = 0x0a

const checked = (cut: Cut, from: number, end: number, maxBytes: number): Cut => {
  if (cut.kind === 'skip')
    assert(cut.to > from && cut.to <= end, `a cut skipped to ${cut.to} from ${from} of ${end}`)
  if (cut.kind === 'frame') {
    const size = cut.end - cut.start
    assert(
      cut.start >= from && size > 0 && cut.end <= end,
      `a cut gave ${cut.start}..${cut.end} of ${from}..${end}`,
    )
    assert(size <= maxBytes, `a cut gave a frame of ${size} bytes, more than its ${maxBytes}`)
  }
  return cut
}

// Twice a frame keeps moving what is left cheap: at most one byte is moved for each byte received.
const cutter = ({ cut, maxBytes }: Extract<Framing, { kind: 'cut' }>): Framer => {
  const buffer = new Uint8Array(Math.max(2 * maxBytes, 256))
  let end = 0
  let skipped = 0

  const cutAll = function* (): Generator<Uint8Array> {
    const bytes = buffer.subarray(0, end)
    let from = 0
    while (from < end) {
      const next = checked(cut(bytes, from), from, end, maxBytes)
      if (next.kind === 'frame') {
        skipped += next.start - from
        from = next.end
        yield bytes.slice(next.start, next.end)
      } else if (next.kind === 'skip') {
        skipped += next.to - from
        from = next.to
      } else if (end - from >= maxBytes) {
        // Nothing that is still waiting after a whole frame's length can become one.
        skipped += 1
        from += 1
      } else break
    }
    buffer.copyWithin(0, from, end)
    end -= from
  }

  return {
    push: function* (chunk) {
      for (let taken = 0; taken < chunk.length; ) {
        const part = chunk.subarray(taken, taken + buffer.length - end)
        buffer.set(part, end)
        end += part.length
        taken += part.length
        yield* cutAll()
      }
    },
    skippedBytes: () => skipped,
  }
}

/**
 * What of a stream is whole lines of at most `maxBytes`, line endings included; the rest is dropped up to
 * the next newline and counted. A line that never ends, as at a wrong baud rate, costs `maxBytes` of memory.
 */
const wholeLines = (maxBytes: number) => {
  const held = new Uint8Array(maxBytes)
  let heldBytes = 0
  let dropping = false
  let skipped = 0

  return {
    // Lines that follow each other are one piece: what is spent on a piece is spent once for all of them.
    push: (chunk: Uint8Array): Uint8Array[] => {
      const pieces: Uint8Array[] = []
      let start = 0
      let pieceStart = 0
      const endPiece = (): void => {
        if (pieceStart < start) pieces.push(chunk.subarray(pieceStart, start))
      }
      for (let at = chunk.indexOf(LF); at !== -1; at = chunk.indexOf(LF, start)) {
        const size = at - start
        if (dropping || heldBytes + size > maxBytes) {
          endPiece()
          skipped += heldBytes + size + 1
          pieceStart = at + 1
        } else if (heldBytes > 0) pieces.push(held.slice(0, heldBytes))
        dropping = false
        heldBytes = 0
        start = at + 1
      }
      endPiece()
      const rest = chunk.subarray(start)
      if (dropping || heldBytes + rest.length > maxBytes) {
        skipped += heldBytes + rest.length
        heldBytes = 0
        dropping = true
      } else {
        held.set(rest, heldBytes)
        heldBytes += rest.length
      }
      return pieces
    },
    skippedBytes: () => skipped,
  }
}

const latin1Bytes = (text: string): Uint8Array => {
  const bytes = new Uint8Array(text.length)
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at)
  return bytes
}

// ReadlineParser keeps and rescans a line without an end for ever: it only ever sees whole, short lines.
// It is written and read in turn: what was written is out before the next bytes are looked at.
const liner = ({ maxBytes }: Extract<Framing, { kind: 'lines' }>): Framer => {
  const bounded = wholeLines(maxBytes)
  // Latin-1 carries every byte through its strings unchanged.
  const parser = new ReadlineParser({ delimiter: '\n', encoding: 'latin1', readableObjectMode: true })
  return {
    push: function* (chunk) {
      for (const piece of bounded.push(chunk)) {
        parser.write(piece)
        for (let line: unknown = parser.read(); line !== null; line = parser.read()) {
          assert(typeof line === 'string')
          const text = line.endsWith('\r') ? line.slice(0, -1) : line
          if (text !== '') yield latin1Bytes(text)
        }
      }
    },
    skippedBytes: bounded.skippedBytes,
  }
}

/** Each chunk is a message: the link keeps them apart. */
const messenger = ({ maxBytes }: Extract<Framing, { kind: 'messages' }>): Framer => {
  let skipped = 0
  return {
    push: function* (chunk) {
      if (chunk.length > maxBytes) skipped += chunk.length
      else if (chunk.length > 0) yield chunk.slice()
    },
    skippedBytes: () => skipped,
  }
}

/** A framer for a device's framing, with at most a few times `maxBytes` of memory and time linear in the bytes. */
export const framer = (framing: Framing): Framer => {
  switch (framing.kind) {
    case 'lines':
      return liner(framing)
    case 'messages':
      return messenger(framing)
    case 'cut':
      return cutter(framing)
  }
}
