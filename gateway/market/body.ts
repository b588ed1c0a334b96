/** What a format renders, as bytes: in chunks, whole, or as the body of a response. */
import type { Pieces } from './formats/format.ts'

const chunkBytes = 32 * 1024

const encoder = new TextEncoder()

/** Pieces as bytes, joined to chunks of at least 32 KiB but for the last; one that is longer stays whole. */
export async function* chunksOf(pieces: Pieces): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let held: Uint8Array[] = []
  let length = 0
  for await (const piece of pieces) {
    const bytes = typeof piece === 'string' ? encoder.encode(piece) : piece
    held.push(bytes)
    length += bytes.length
    if (length < chunkBytes) continue
    yield Buffer.concat(held)
    held = []
    length = 0
  }
  if (length > 0) yield Buffer.concat(held)
}

/** All pieces as one. */
export const bytesOf = async (pieces: Pieces): Promise<Uint8Array<ArrayBuffer>> =>
  Buffer.concat(await Array.fromAsync(chunksOf(pieces)))

/** Pieces as a response body: bytes where one chunk holds them, otherwise a stream that waits for its reader. */
export const bodyOf = async (
  pieces: Pieces,
): Promise<Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array<ArrayBuffer>>> => {
  const chunks = chunksOf(pieces)
  const first = await chunks.next()
  if (first.done) return new Uint8Array()
  const second = await chunks.next()
  if (second.done) return first.value
  const ready = [first.value, second.value]
  return new ReadableStream(
    {
      pull: async (controller) => {
        const chunk = ready.shift() ?? (await chunks.next()).value
        if (chunk === undefined) controller.close()
        else controller.enqueue(chunk)
      },
      cancel: async () => void (await chunks.return(undefined)),
    },
    { highWaterMark: 0 },
  )
}
