/** One JSON-RPC request to a node that a buyer named. */
import type { Chain } from '../anchor/chain.ts'
import { toBase64 } from '../reading/base64.ts'
import { readBody } from './body.ts'

// A receipt has some kilobytes; a node that answers more, or nothing for this long, is not of use.
const maxAnswerBytes = 4 << 20
const timeoutMs = 15_000

/** The node answered with an error, or not with JSON-RPC at all. */
export class NodeError extends Error {
  override name = 'NodeError'
}

/** The node understood and refused, as it does when a contract reverts. */
export class NodeRefusal extends NodeError {
  override name = 'RpcError'
}

/** A node behind http or https. Throws NodeError, with what to do about it, for everything that is no answer. */
export const nodeAt = (address: string): Pick<Chain, 'request'> => {
  const url = URL.parse(address)
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new NodeError(`"${address}" is no http:// or https:// address of an Ethereum node. Correct --rpc.`)
  const host = `${url.protocol}//${url.host}`
  const headers: Record<string, string> = { 'content-type': 'application/json' }
  if (url.username !== '' || url.password !== '') {
    const credentials = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`
    headers.authorization = `Basic ${toBase64(new TextEncoder().encode(credentials))}`
    url.username = ''
    url.password = ''
  }
  const trouble = (what: string, cause?: unknown): NodeError =>
    new NodeError(`the node at ${host} ${what}. Check --rpc, or try another node.`, { cause })
  let id = 0
  return {
    request: async ({ method, params }) => {
      let status: number
      let body: Uint8Array | undefined
      try {
        const response = await fetch(url, {
          method: 'POST',
          headers,
          body: JSON.stringify({ jsonrpc: '2.0', id: ++id, method, params }),
          signal: AbortSignal.timeout(timeoutMs),
          redirect: 'error',
        })
        status = response.status
        body = await readBody(response, maxAnswerBytes)
      } catch (error) {
        throw trouble(`cannot be asked (${error instanceof Error ? error.message : String(error)})`, error)
      }
      if (body === undefined) throw trouble(`answered ${method} with more than ${maxAnswerBytes} bytes`)
      let answer: unknown
      try {
        answer = JSON.parse(new TextDecoder().decode(body))
      } catch (error) {
        throw trouble(`does not speak JSON-RPC (HTTP status ${status})`, error)
      }
      if (typeof answer !== 'object' || answer === null) throw trouble('does not speak JSON-RPC')
      const { result, error } = answer as { result?: unknown; error?: { message?: unknown } | null }
      if (error)
        throw new NodeRefusal(`the node at ${host} refused ${method}: ${String(error.message).slice(0, 200)}`)
      return result
    },
  }
}
