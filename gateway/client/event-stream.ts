/** Reads server-sent events (WHATWG HTML, section 9.2.6) from a body. */
import { HubDistrusted } from './errors.ts'

/** One event; `id` is that of the newest event so far, which Last-Event-ID brings back. `data` is undefined where only the id moved on. */
export type ServerEvent = { readonly event: string; readonly id: string; readonly data: string | undefined }

// A reading has some hundred bytes.
const longestEvent = 1024 * 1024

/** The events of a body as they come; ends where it ends. What is not whole by then is not given. */
export async function* eventsIn(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent, void, void> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let buffered = ''
  let id = ''
  let event = ''
  let data: string[] = []
  let hasMoved = false
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      buffered += decoder.decode(value, { stream: true })
      if (buffered.length + data.length > longestEvent)
        throw new HubDistrusted(`the hub sends an event of more than ${longestEvent} bytes`)
      // A CR at the end may be half of a CRLF.
      const lines = buffered.split(/\r\n|\n|\r(?!$)/)
      buffered = lines.pop()!
      for (const line of lines) {
        if (line === '') {
          if (data.length > 0 || hasMoved)
            yield { event: event || 'message', id, data: data.length > 0 ? data.join('\n') : undefined }
          event = ''
          data = []
          hasMoved = false
          continue
        }
        const colon = line.indexOf(':')
        const field = colon < 0 ? line : line.slice(0, colon)
        const text = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
        if (field === 'event') event = text
        else if (field === 'data') data.push(text)
        else if (field === 'id' && !text.includes('\0')) {
          id = text
          hasMoved = true
        }
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined)
  }
}
