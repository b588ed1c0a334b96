/** The JSON-RPC methods that the embedded chain answers, also to other processes. */

/** The only method that changes anything. */
export const sendMethod = 'eth_sendRawTransaction'

/**
 * Everything that is answered. Reading, and sending what somebody else has signed: no accounts are held here, time
 * and balances cannot be set, and there are no filters, whose results would pile up in memory.
 */
export const answeredMethods: ReadonlySet<string> = new Set([
  'eth_blockNumber',
  'eth_call',
  'eth_chainId',
  'eth_estimateGas',
  'eth_feeHistory',
  'eth_gasPrice',
  'eth_getBalance',
  'eth_getBlockByHash',
  'eth_getBlockByNumber',
  'eth_getBlockTransactionCountByHash',
  'eth_getBlockTransactionCountByNumber',
  'eth_getCode',
  'eth_getLogs',
  'eth_getStorageAt',
  'eth_getTransactionByBlockHashAndIndex',
  'eth_getTransactionByBlockNumberAndIndex',
  'eth_getTransactionByHash',
  'eth_getTransactionCount',
  'eth_getTransactionReceipt',
  'eth_maxPriorityFeePerGas',
  'eth_syncing',
  'net_version',
  'web3_clientVersion',
  'web3_sha3',
  sendMethod,
])
