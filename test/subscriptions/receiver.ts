/** Receivers of webhooks: real HTTP servers on loopback that do what a test tells them. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { temporaryDirectory } from '#test/temporary.ts'

/** A request as it came, its body read. */
export type Received = {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

export type Reply = (received: Received, response: ServerResponse) => void

/** Agrees to everything, and takes everything. */
export const willing: Reply = ({ method, headers }, response) => {
  if (method === 'OPTIONS')
    response.setHeader('webhook-allowed-origin', headers['webhook-request-origin'] ?? '')
  response.writeHead(method === 'OPTIONS' ? 200 : 204).end()
}

/** A certificate for `hook.example` by an authority of its own. */
export const ownCertificate = (): { readonly key: string; readonly cert: string } => {
  const directory = temporaryDirectory()
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
      ...['-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=hook.example'],
      ...['-addext', 'subjectAltName=DNS:hook.example'],
    ],
    { stdio: 'ignore' },
  )
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
}

/** Starts one; `reply` may be changed at any time. */
export const startReceiver = async (
  reply: Reply = willing,
  tls?: { readonly key: string; readonly cert: string },
) => {
  const received: Received[] = []
  const receiver = { reply, received, port: 0, url: '', posts: () => received.filter(isPost) }
  const listener: RequestListener = (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { method = '', url = '', headers } = request
      const one = { method, url, headers, body: Buffer.concat(chunks).toString('utf8') }
      received.push(one)
      receiver.reply(one, response)
    })
  }
  const server = tls === undefined ? createServer(listener) : createTlsServer({ ...tls }, listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  receiver.port = (server.address() as AddressInfo).port
  receiver.url = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${receiver.port}/hook`
  onTestFinished(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return receiver
}

const isPost = ({ method }: Received): boolean => method === 'POST'

export type Receiver = Awaited<ReturnType<typeof startReceiver>>
