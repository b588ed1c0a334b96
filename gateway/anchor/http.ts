/** A chain behind HTTP(S) JSON-RPC: a deadline on every wait, a bound on every answer, no secret in any message. */
import { type Chain, ChainUnreachable, RpcError } from './chain.ts'

export type HttpChainOptions = {
  /** `https://user:password@host/path`: user, password and path often are credentials and are never shown. */
  readonly url: string
  /** For one request from start to the last byte of its answer; 15 s unless told. */
  readonly timeoutMs?: number
  /** Largest answer read; 4 MiB unless told. */
  readonly maxAnswerBytes?: number
  /** Sent with every request, such as an API key. */
  readonly headers?: Readonly<Record<string, string>>
}

const readBounded = async (response: Response, maxBytes: number): Promise<string | undefined> => {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > maxBytes) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** Opens no connection yet; throws at once when the URL is not http or https. */
export const httpChain = (options: HttpChainOptions): Chain => {
  const { timeoutMs = 15_000, maxAnswerBytes = 4 * 1024 * 1024 } = options
  const url = URL.parse(options.url)
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw new Error(
      'the address of the chain is not an http:// or https:// URL. Correct it in the configuration.',
    )
  const name = `${url.protocol}//${url.host}`
  const headers: Record<string, string> = { 'content-type': 'application/json', ...options.headers }
  if (url.username !== '' || url.password !== '') {
    const credentials = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`
    headers.authorization = `Basic ${Buffer.from(credentials).toString('base64')}`
    url.username = ''
    url.password = ''
  }
  // A node that quotes the address it was asked at must not put the key into our log.
  const withoutSecrets = (text: string): string =>
    [options.url, url.href, `${url.pathname}${url.search}`]
      .filter((secret) => secret.length > 1)
      .reduce((shown, secret) => shown.replaceAll(secret, '…'), text)
      .slice(0, 500)
  const unreachable = (why: string): ChainUnreachable =>
    new ChainUnreachable(`${name} ${withoutSecrets(why)}`)

  let nextId = 1
  return {
    name,
    request: async ({ method, params = [] }) => {
      const id = nextId++
      let status: number
      let text: string | undefined
      try {
        const response = await fetch(url, {
          method: 'POST',
          headers,
          body: JSON.stringify({ jsonrpc: '2.0', id, method, params }),
          redirect: 'error',
          signal: AbortSignal.timeout(timeoutMs),
        })
        status = response.status
        text = await readBounded(response, maxAnswerBytes)
      } catch (error) {
        if (error instanceof Error && error.name === 'TimeoutError')
          throw unreachable(`did not answer ${method} within ${timeoutMs} ms`)
        const cause = error instanceof Error ? (error.cause ?? error) : error
        throw unreachable(`cannot be reached: ${cause instanceof Error ? cause.message : cause}`)
      }
      if (text === undefined) throw unreachable(`answered ${method} with more than ${maxAnswerBytes} bytes`)
      let answer: unknown
      try {
        answer = JSON.parse(text)
      } catch {
        throw unreachable(`answered ${method} with HTTP ${status} and no JSON`)
      }
      if (typeof answer !== 'object' || answer === null)
        throw unreachable(`answered ${method} with HTTP ${status} and no JSON-RPC`)
      const { error, result, id: answered } = answer as Record<string, unknown>
      if (typeof error === 'object' && error !== null) {
        const { code, message, data } = error as Record<string, unknown>
        throw new RpcError(
          withoutSecrets(typeof message === 'string' ? message : `${method} failed`),
          typeof code === 'number' ? code : -32603,
          data,
        )
      }
      if (status !== 200 || answered !== id || result === undefined)
        throw unreachable(`answered ${method} with HTTP ${status} and no JSON-RPC`)
      return result
    },
  }
}
