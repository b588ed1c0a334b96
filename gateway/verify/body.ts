/** Reads the body of an answer over HTTP, alike in Node and in browsers. */

/** The whole body; undefined, and the rest not read, where there is more than `mostBytes` of it. */
export const readBody = async (
  { body }: Response,
  mostBytes: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> => {
  // Not every browser can iterate a stream.
  const reader = body?.getReader()
  const chunks: Uint8Array[] = []
  let length = 0
  while (reader !== undefined) {
    const { done, value } = await reader.read()
    if (done) break
    length += value.length
    if (length > mostBytes) {
      await reader.cancel()
      return undefined
    }
    chunks.push(value)
  }
  const whole = new Uint8Array(length)
  let at = 0
  for (const chunk of chunks) {
    whole.set(chunk, at)
    at += chunk.length
  }
  return whole
}
