/** Server-sent events as text (WHATWG HTML, section 9.2.6): what a browser's EventSource reads. */

export const eventStreamType = 'text/event-stream'

/** One event; its data is JSON, which has no line end in it. `id` is what Last-Event-ID brings back. */
export const eventText = (event: string, id: string, data: unknown): string =>
  `event: ${event}\nid: ${id}\ndata: ${JSON.stringify(data)}\n\n`

/** Something to send where there is nothing to say, so that nobody on the way takes the connection for dead. */
export const heartbeatText = (id: string): string => `: still here\nid: ${id}\n\n`

/** How long a client waits before it connects again. */
export const retryText = (ms: number): string => `retry: ${ms}\n\n`

/** What goes out of a generator to whoever pulls: nothing is made before it is asked for. `ended` is called once. */
export const pulledBy = (
  pieces: AsyncGenerator<string>,
  stop: AbortController,
  ended: () => void,
): ReadableStream<Uint8Array<ArrayBuffer>> => {
  const encoder = new TextEncoder()
  let hasEnded = false
  const end = (): void => {
    if (!hasEnded) ended()
    hasEnded = true
  }
  return new ReadableStream(
    {
      pull: async (controller) => {
        try {
          const piece = await pieces.next()
          if (!piece.done) return controller.enqueue(encoder.encode(piece.value))
          end()
          controller.close()
        } catch (error) {
          end()
          throw error
        }
      },
      cancel: async () => {
        // A generator that waits hears of its end by the signal.
        stop.abort()
        await pieces.return(undefined).catch(() => undefined)
        end()
      },
    },
    { highWaterMark: 0 },
  )
}
