/** A session with an MQTT 3.1.1 or 5 broker through MQTT.js: one TCP connection, no queue, no reconnect of its own. */
import mqtt, { ErrorWithSubackPacket } from 'mqtt'
import { BrokerError, type BrokerErrorCode, brokerErrorCode } from './broker-error.ts'
import type { Connect } from './relay.ts'

export type BrokerOptions = {
  /** `mqtt://host:1883`, `mqtts://host:8883`, `ws://` or `wss://`. */
  readonly url: string
  readonly clientId: string
  readonly username: string
  /** Asked for at every connection, with UTC of it in ms: the token is short-lived. */
  readonly password: (nowMs: number) => string
  /** PEM of a private certificate authority, for brokers with their own. */
  readonly ca?: string
}

const connectTimeoutMs = 15_000
const keepaliveS = 30

/** A connector for the relay. MQTT.js keeps its queue in memory and loses it; ours is the outbox, so its is not used. */
export const mqttConnector =
  (options: BrokerOptions): Connect =>
  (will, signal, nowMs) =>
    new Promise((resolve, reject) => {
      const client = mqtt.connect(options.url, {
        clientId: options.clientId,
        username: options.username,
        password: options.password(nowMs),
        clean: true,
        keepalive: keepaliveS,
        connectTimeout: connectTimeoutMs,
        reconnectPeriod: 0,
        queueQoSZero: false,
        will: { ...will, payload: Buffer.from(will.payload), qos: 1, retain: true },
        ...(options.ca === undefined ? {} : { ca: options.ca }),
      })
      const receivers = new Map<string, (payload: Uint8Array) => void>()
      let lastError = 'the broker closed the connection'
      let code: BrokerErrorCode | undefined
      let open = false
      const closed = new Promise<BrokerError>((resolveClosed) =>
        client.once('close', () =>
          resolveClosed(
            new BrokerError(code ?? (open ? 'lost' : 'unreachable'), `${options.url}: ${lastError}`),
          ),
        ),
      )
      // Ends an attempt to connect; what is connected is closed by the relay, after a last word.
      const abort = () => client.end(true)
      signal.addEventListener('abort', abort, { once: true })
      void closed.then((reason) => {
        signal.removeEventListener('abort', abort)
        reject(reason)
      })
      client.on('error', (error) => {
        lastError = error.message || String(error)
        code ??= brokerErrorCode(error)
        client.end(true)
      })
      client.on('message', (topic, payload) => receivers.get(topic)?.(new Uint8Array(payload)))
      client.once('connect', () => {
        signal.removeEventListener('abort', abort)
        open = true
        resolve({
          publish: async (topic, payload, { retain = false } = {}) => {
            await client.publishAsync(topic, Buffer.from(payload as Uint8Array), { qos: 1, retain })
          },
          subscribe: async (topic, receive) => {
            receivers.set(topic, receive)
            await client.subscribeAsync(topic, { qos: 1 }).catch((error: unknown) => {
              // SUBACK with a failure: the broker is there, and says no.
              if (!(error instanceof ErrorWithSubackPacket)) throw error
              throw new BrokerError('denied', `the broker does not let this station read ${topic}`)
            })
          },
          closed,
          // Not waiting for what is in flight: the outbox sends it again.
          close: async () => {
            await client.endAsync(true).catch(() => undefined)
          },
        })
      })
    })
