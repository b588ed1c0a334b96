/** Why a broker cannot be used, told apart: each has its own cure. */

/**
 * `unreachable`: no connection. `tls`: its certificate is not accepted. `credentials`: name or password refused.
 * `denied`: logged in, and not allowed to read or write. `lost`: a connection that ended.
 */
export type BrokerErrorCode = 'unreachable' | 'tls' | 'credentials' | 'denied' | 'lost'

/** A broker that cannot be used: a stable `code`, and what was said. */
export class BrokerError extends Error {
  override readonly name = 'BrokerError'
  readonly code: BrokerErrorCode
  constructor(code: BrokerErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

// CONNACK: MQTT 3.1.1 s3.2.2.3 (1 to 5), MQTT 5 s3.2.2.2 (from 128).
const connackCredentials: ReadonlySet<unknown> = new Set([2, 4, 5, 133, 134, 135, 138, 140])

const unreachable: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
])

const tls = /^(?:CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|ERR_TLS_|ERR_SSL_|INVALID_CA|HOSTNAME_MISMATCH)/

/** The kind of an error that MQTT.js, a socket or OpenSSL gave; undefined where it says nothing of its own. */
export const brokerErrorCode = (error: unknown): BrokerErrorCode | undefined => {
  if (error instanceof BrokerError) return error.code
  if (!(error instanceof Error)) return undefined
  const { code } = error as { code?: unknown }
  if (connackCredentials.has(code)) return 'credentials'
  if (unreachable.has(code)) return 'unreachable'
  if (typeof code === 'string' && tls.test(code)) return 'tls'
  // Several addresses of one name were tried: they failed alike, or the first tells as much as any.
  if (error instanceof AggregateError) return brokerErrorCode(error.errors[0])
  return /connack timeout/i.test(error.message) ? 'unreachable' : undefined
}
