/** LoRaWAN gateways that call by WebSocket, as LoRa Basics Station does: a server of the LNS protocol, and its messages. */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { type RawData, type WebSocket, WebSocketServer } from 'ws'
import { exactJson } from '../reading/exact-json.ts'
import type { Opener } from './link.ts'
import { cannotListen, limit, listeningAddress } from './listening.ts'
import { euiOf, id6Of } from './router-id.ts'

// The LNS protocol (doc.sm.tc/station/tcproto.html): discovery at /router-info, then data at the URI it was given.
const discoveryPath = /^\/router-info\/?$/
const dataPath = /^\/router-([0-9a-f]{16})$/
// What a station says of frames and of itself; anything else is no affair of a station that listens.
const passedOn = new Set(['version', 'updf', 'jreq', 'rejoin', 'propdf', 'dntxed', 'jacc', 'dndf'])

// A frame of 255 bytes in hex and what is said about it take less than half.
const maxMessageBytes = 4096
const maxStations = 16
// Stations, their discoveries, and those that have gone without a word.
const maxConnections = 48
const perStationPerS = 50
const stationBurst = 200
// An honest station says who it is at once.
const firstWordMs = 10_000
const maxWaiting = 64
const keepAliveMs = 15_000
// GPS time began at 1980-01-06 and has no leap seconds; there have been 18 since.
const gpsEpochMs = Date.UTC(1980, 0, 6)
const leapMs = 18_000

/** What a link has seen: messages dropped by reason, connections refused, and stations connected now. */
export type LnsCounts = {
  malformed: number
  tooMany: number
  refusedConnections: number
  stations: number
}

const messageOf = (text: string): Readonly<Record<string, unknown>> | undefined => {
  try {
    const value = exactJson(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

const textOf = (data: RawData): string => Buffer.from(data as Buffer).toString('utf8')

/** Where a station reached us, so that it finds the way again. */
const hostOf = ({ headers, socket }: IncomingMessage): string => {
  const { address, port } = socket.address() as { address?: string; port?: number }
  const said = headers.host ?? ''
  if (/^(?:[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\]):\d{1,5}$/.test(said)) return said
  if (/^(?:[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])$/.test(said)) return `${said}:${port}`
  return `${address?.includes(':') ? `[${address}]` : address}:${port}`
}

const listen = async (
  name: string,
  { host, port }: { readonly host: string; readonly port: number },
  signal: AbortSignal,
) => {
  // Importing it brings fetch and all that belongs to it, 8 MB: only where it is used.
  const { createServer } = await import('node:http')
  const server = createServer(
    { headersTimeout: firstWordMs, requestTimeout: firstWordMs },
    (_request, response) => response.writeHead(426, { connection: 'close' }).end(),
  )
  server.maxConnections = maxConnections
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onAbort = (): void => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  server.once('error', reject).once('listening', resolve)
  try {
    server.listen({ host, port, exclusive: true })
    await promise
  } catch (error) {
    server.on('error', () => undefined).close()
    if (signal.aborted) throw signal.reason
    throw await cannotListen(name, { host, port }, error as Error)
  } finally {
    signal.removeEventListener('abort', onAbort)
    server.off('error', reject)
  }
  return server
}

const wireOf = (
  server: Awaited<ReturnType<typeof listen>>,
  counts: LnsCounts,
  utcMs: () => number,
): Duplex => {
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: maxMessageBytes,
    perMessageDeflate: false,
  })
  const stations = new Map<string, WebSocket>()
  /** What a station is told when it has said its version: the last thing that was written. */
  let config: string | undefined
  const wanting = new Set<WebSocket>()
  let full = false

  /** A client that says something within its time, or is gone. */
  const expectWord = (client: WebSocket): void => {
    const timer = setTimeout(() => client.terminate(), firstWordMs).unref()
    client.once('message', () => clearTimeout(timer)).once('close', () => clearTimeout(timer))
  }

  const discover = (client: WebSocket, request: IncomingMessage): void => {
    expectWord(client)
    client.once('message', (data) => {
      const asked = messageOf(textOf(data))
      const eui = euiOf(asked?.router)
      const answer =
        eui === undefined
          ? { router: null, error: 'expected {"router": ...} with an ID6, an EUI or a number' }
          : { router: id6Of(eui), muxs: id6Of('0'.repeat(16)), uri: `ws://${hostOf(request)}/router-${eui}` }
      if (eui === undefined) counts.malformed += 1
      client.send(JSON.stringify(answer), () => client.close(1000))
    })
  }

  const timesync = ({ txtime }: Readonly<Record<string, unknown>>): string | undefined => {
    if (typeof txtime !== 'number' && typeof txtime !== 'bigint') return undefined
    const gpsUs = BigInt(utcMs() - gpsEpochMs + leapMs) * 1000n
    // Written as digits: the station's time may be beyond what a number holds.
    return `{"msgtype":"timesync","txtime":${txtime},"gpstime":${gpsUs}}`
  }

  const give = (data: RawData): void => {
    if (wire.push(new Uint8Array(data as Buffer)) || full) return
    full = true
    for (const station of stations.values()) station.pause()
  }

  const converse = (client: WebSocket): ((data: RawData, isBinary: boolean) => void) => {
    const rate = limit(perStationPerS, stationBurst)
    return (data, isBinary) => {
      if (!rate.take()) {
        counts.tooMany += 1
        return
      }
      const message = isBinary ? undefined : messageOf(textOf(data))
      const type = message?.msgtype
      if (!message || typeof type !== 'string') {
        counts.malformed += 1
        return
      }
      if (type === 'timesync') {
        const answer = timesync(message)
        if (answer) client.send(answer)
      } else if (passedOn.has(type)) {
        if (type === 'version') {
          if (config === undefined) wanting.add(client)
          else client.send(config)
        }
        give(data)
      }
    }
  }

  const attend = (client: WebSocket, eui: string): void => {
    expectWord(client)
    // A station that comes again has lost its old connection, whatever that looks like from here.
    stations.get(eui)?.terminate()
    stations.set(eui, client)
    counts.stations = stations.size
    if (full) client.pause()
    client.on('message', converse(client)).once('close', () => {
      wanting.delete(client)
      if (stations.get(eui) === client) stations.delete(eui)
      counts.stations = stations.size
    })
  }

  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const path = (request.url ?? '').slice(0, 64)
    const eui = dataPath.exec(path)?.[1]
    const isFull = eui !== undefined && !stations.has(eui) && stations.size >= maxStations
    socket.on('error', () => undefined).setKeepAlive(true, keepAliveMs)
    if (isFull || (eui === undefined && !discoveryPath.test(path))) {
      counts.refusedConnections += 1
      socket.end(
        `HTTP/1.1 ${isFull ? '503 Service Unavailable' : '404 Not Found'}\r\nConnection: close\r\n\r\n`,
      )
      return
    }
    sockets.handleUpgrade(request, socket, head, (client) => {
      // Too long a message, a broken frame: the library closes the connection, and the station comes again.
      client.on('error', () => {
        counts.malformed += 1
      })
      if (eui === undefined) discover(client, request)
      else attend(client, eui)
    })
  })

  const wire = new Duplex({
    objectMode: true,
    readableHighWaterMark: maxWaiting,
    read: () => {
      if (!full) return
      full = false
      for (const station of stations.values()) station.resume()
    },
    write: (bytes: Uint8Array, _encoding, done) => {
      config = Buffer.from(bytes).toString('utf8')
      for (const station of wanting) station.send(config)
      wanting.clear()
      done()
    },
    destroy: (error, done) => {
      for (const client of sockets.clients) client.terminate()
      server.close(() => done(error))
      server.closeAllConnections()
    },
  })
  server.on('error', (error) => wire.destroy(error))
  return wire
}

export type BasicsStationOptions = { readonly utcMs?: () => number }

/**
 * An opener for `ws://127.0.0.1:1887`: listens there for Basics Stations. Each message is the JSON of one of theirs;
 * times are answered here. What is written is the configuration for every station that connects from then on.
 */
export const basicsStationPort = (
  name: string,
  { utcMs = () => Date.now() }: BasicsStationOptions = {},
): Opener & { readonly counts: LnsCounts } => {
  const address = listeningAddress(name, 'ws', 1887)
  const counts = { malformed: 0, tooMany: 0, refusedConnections: 0, stations: 0 }
  return {
    name,
    counts,
    ...(address.open
      ? {
          caution: `${name} takes calls from the network, unencrypted and from anybody: keep it behind a firewall.`,
        }
      : {}),
    open: async (signal) => {
      signal.throwIfAborted()
      return wireOf(await listen(name, address, signal), counts, utcMs)
    },
  }
}
