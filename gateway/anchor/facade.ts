/** The embedded chain's door for other processes: JSON-RPC over HTTP, everything bounded, nothing of its own behind it. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Chain, ChainUnreachable, RpcError } from './chain.ts'
import { answeredMethods } from './methods.ts'

// A deployment of the largest contract allowed is 98 kB of hex; a wallet's batch is some dozen reads.
const maxBodyBytes = 256 * 1024
const maxBatch = 50
const maxAnswerBytes = 4 * 1024 * 1024
const maxConnections = 64
const requestTimeoutMs = 10_000
const idleTimeoutMs = 30_000

/** Where to listen; port 0 takes a free one. Anything but a loopback address shows the chain to the network. */
export type FacadeOptions = { readonly host: string; readonly port: number }

export type Facade = AsyncDisposable & {
  /** `http://127.0.0.1:8545`, with the port that was taken. */
  readonly url: string
  close(): Promise<void>
}

type Answer = { jsonrpc: '2.0'; id: unknown } & (
  | { result: unknown }
  | { error: { code: number; message: string; data?: unknown } }
)

const failed = (id: unknown, code: number, message: string, data?: unknown): Answer => ({
  jsonrpc: '2.0',
  id,
  error: data === undefined ? { code, message } : { code, message, data },
})

const isId = (id: unknown): boolean =>
  id === null || typeof id === 'number' || (typeof id === 'string' && id.length <= 64)

const answer = async (chain: Chain, call: unknown): Promise<Answer> => {
  if (typeof call !== 'object' || call === null || Array.isArray(call))
    return failed(null, -32600, 'a request is an object')
  const { id = null, method, params = [] } = call as Record<string, unknown>
  if (!isId(id)) return failed(null, -32600, 'an id is a number or a short string')
  if (typeof method !== 'string') return failed(id, -32600, 'a request has a method')
  if (!answeredMethods.has(method)) return failed(id, -32601, `${method.slice(0, 64)} is not answered here`)
  if (!Array.isArray(params)) return failed(id, -32602, 'params is a list')
  try {
    return { jsonrpc: '2.0', id, result: await chain.request({ method, params }) }
  } catch (error) {
    if (error instanceof RpcError) return failed(id, error.code, error.message, error.data)
    if (error instanceof ChainUnreachable) return failed(id, -32000, error.message)
    throw error
  }
}

const readBody = async (request: IncomingMessage): Promise<string | undefined> => {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > maxBodyBytes) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

const answerAll = async (chain: Chain, calls: readonly unknown[]): Promise<string> => {
  const answers: string[] = []
  let bytes = 0
  for (const call of calls) {
    let text =
      bytes > maxAnswerBytes
        ? JSON.stringify(failed(null, -32005, 'the answer is too large; ask in smaller batches'))
        : JSON.stringify(await answer(chain, call))
    if (text.length > maxAnswerBytes)
      text = JSON.stringify(failed((call as { id?: unknown }).id ?? null, -32005, 'the answer is too large'))
    bytes += text.length
    answers.push(text)
  }
  return `[${answers.join(',')}]`
}

const handle = async (chain: Chain, request: IncomingMessage, response: ServerResponse): Promise<void> => {
  const say = (status: number, body: string): void => {
    if (response.destroyed) return
    response.writeHead(status, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      ...(status === 200 ? {} : { connection: 'close' }),
    })
    response.end(body)
  }
  const refuse = (status: number, code: number, message: string): void =>
    say(status, JSON.stringify(failed(null, code, message)))

  if (request.method !== 'POST') return refuse(405, -32600, 'JSON-RPC is asked with POST')
  // A web page cannot send this type to another origin without asking first, and is never told yes.
  if (!request.headers['content-type']?.startsWith('application/json'))
    return refuse(415, -32600, 'content-type must be application/json')
  const body = await readBody(request)
  if (body === undefined) return refuse(413, -32600, `a request has at most ${maxBodyBytes} bytes`)
  let call: unknown
  try {
    call = JSON.parse(body)
  } catch {
    return refuse(400, -32700, 'the request is not JSON')
  }
  if (!Array.isArray(call)) return say(200, (await answerAll(chain, [call])).slice(1, -1))
  if (call.length === 0 || call.length > maxBatch)
    return refuse(400, -32600, `a batch has 1 to ${maxBatch} requests`)
  say(200, await answerAll(chain, call))
}

/** Serves a chain over HTTP until closed; throws when the address cannot be taken. */
export const openFacade = async (chain: Chain, { host, port }: FacadeOptions): Promise<Facade> => {
  const server = createServer(
    { requestTimeout: requestTimeoutMs, headersTimeout: requestTimeoutMs, keepAliveTimeout: idleTimeoutMs },
    (request, response) => {
      handle(chain, request, response).catch(() => response.destroy())
    },
  )
  server.maxConnections = maxConnections
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new Error(
          `the embedded chain cannot listen on ${host}:${port} (${cause.message}). Set another port.`,
          { cause },
        ),
      ),
    )
    server.listen(port, host, resolve)
  })
  const address = server.address() as AddressInfo
  const close = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    server.closeAllConnections()
    await closed
  }
  return {
    url: `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`,
    close,
    [Symbol.asyncDispose]: close,
  }
}
