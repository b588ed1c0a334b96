/** The port to an EVM chain: plain JSON-RPC, so that the embedded chain and any public node look the same. */

export type RpcRequest = { readonly method: string; readonly params?: readonly unknown[] }

/** Sends one JSON-RPC request; throws RpcError when the node answered an error, ChainUnreachable when nothing did. */
export type Chain = {
  /** For people: `embedded` or the URL without credentials. */
  readonly name: string
  request(request: RpcRequest): Promise<unknown>
}

/** The node answered, and the answer was an error; `data` is the node's, such as the revert bytes of a contract. */
export class RpcError extends Error {
  override name = 'RpcError'
  readonly code: number
  readonly data: unknown
  constructor(message: string, code: number, data?: unknown) {
    super(message)
    this.code = code
    this.data = data
  }
}

/** No usable answer: connection refused, time-out, not JSON-RPC. Whether a transaction was taken is unknown. */
export class ChainUnreachable extends Error {
  override name = 'ChainUnreachable'
}
