/** The API on a socket, with limits that keep slow and greedy clients from stopping it. */
import { createServer, STATUS_CODES } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener, type Http2Bindings, type HttpBindings } from '@hono/node-server'
import {
  fault,
  type ProblemSlug,
  problemBody,
  problemContentType,
  problemResponse,
  problems,
} from './problem.ts'

export type ServeOptions = {
  readonly app: {
    readonly fetch: (request: Request, bindings: HttpBindings | Http2Bindings) => Response | Promise<Response>
  }
  readonly host: string
  /** 0 takes a free port. */
  readonly port: number
  /** Told once, with the port that was bound. */
  readonly listening: (port: number) => void
}

const limits = {
  /** A whole request, head and body, has this long to arrive: no endpoint takes a large body. */
  requestMs: 15_000,
  headersMs: 10_000,
  keepAliveMs: 10_000,
  /** A reader that takes nothing for so long is gone. */
  idleMs: 60_000,
  headerBytes: 16 * 1024,
  headers: 64,
  /** Open files of a small machine's default limit are 1024, and the hub needs some. */
  connections: 512,
  requestsPerConnection: 10_000,
} as const

// Node's names for what is wrong with bytes from a client; everything else is simply no request.
const clientFaults: Readonly<Record<string, ProblemSlug>> = {
  HPE_HEADER_OVERFLOW: 'headers-too-large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request-timeout',
}

/** What is said to a client whose bytes never became a request. */
const rawProblem = (code: string): string => {
  const wrong = fault(clientFaults[code] ?? 'bad-request', 'these bytes are not a whole HTTP/1.1 request')
  const body = JSON.stringify(problemBody(wrong))
  const { status } = problems[wrong.slug]
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    `Content-Type: ${problemContentType}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
    '',
    body,
  ].join('\r\n')
}

const listenFault = (error: NodeJS.ErrnoException, host: string, port: number): Error => {
  const messages: Readonly<Record<string, string>> = {
    EADDRINUSE: `port ${port} on ${host} is taken by another program; stop it, or choose another HTTP port (0 picks a free one)`,
    EACCES: `this user may not listen on port ${port}; choose an HTTP port of 1024 or above`,
    EADDRNOTAVAIL: `${host} is not an address of this machine; choose another HTTP host`,
  }
  return new Error(messages[error.code ?? ''] ?? `cannot listen on ${host}:${port}: ${error.message}`, {
    cause: error,
  })
}

/**
 * Serves until the signal aborts; answers under way get a moment to end. Rejects with what to do when the port
 * cannot be had.
 */
export const run = async (
  { app, host, port, listening }: ServeOptions,
  signal: AbortSignal,
): Promise<void> => {
  if (signal.aborted) return
  const server = createServer(
    {
      requestTimeout: limits.requestMs,
      headersTimeout: limits.headersMs,
      keepAliveTimeout: limits.keepAliveMs,
      maxHeaderSize: limits.headerBytes,
      connectionsCheckingInterval: 2000,
      noDelay: true,
    },
    getRequestListener((request, bindings) => app.fetch(request, bindings), {
      overrideGlobalObjects: false,
      errorHandler: () =>
        problemResponse(fault('bad-request', 'the address or the Host header is malformed')),
    }),
  )
  server.maxHeadersCount = limits.headers
  server.maxConnections = limits.connections
  server.maxRequestsPerSocket = limits.requestsPerConnection
  server.timeout = limits.idleMs
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) socket.destroy()
    else socket.end(rawProblem(error.code ?? ''))
  })
  await new Promise<void>((resolve, reject) => {
    const stop = () => {
      server.close(() => resolve())
      server.closeIdleConnections()
      // A download may not hold up the end of the hub.
      setTimeout(() => server.closeAllConnections(), 2000).unref()
    }
    server.once('error', (error) => {
      signal.removeEventListener('abort', stop)
      reject(listenFault(error, host, port))
    })
    server.listen({ host, port }, () => {
      if (signal.aborted) return stop()
      signal.addEventListener('abort', stop, { once: true })
      listening((server.address() as AddressInfo).port)
    })
  })
}
