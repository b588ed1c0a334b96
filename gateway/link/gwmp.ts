/** LoRaWAN gateways that send by Semtech's UDP protocol (GWMP version 2): acknowledged at once, each PUSH_DATA a message. */
import { createHash } from 'node:crypto'
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { Duplex } from 'node:stream'
import type { Opener } from './link.ts'
import { cannotListen, limit, listeningAddress } from './listening.ts'

// Semtech packet_forwarder PROTOCOL.TXT: `02 token(2) identifier [EUI(8)] [JSON]`.
const version = 2
const identifiers = { pushData: 0, pushAck: 1, pullData: 2, pullResp: 3, pullAck: 4, txAck: 5 } as const
const headerBytes = 12

// Eight packets at 550 characters and a status; longer ones are no forwarder's.
const maxDatagramBytes = 8192
// One gateway sends a datagram at most every 10 ms, and a station has a handful of them.
const maxPerS = 200
const burst = 400
const maxGateways = 64
// A forwarder sends again what was not acknowledged, within a second or two.
const rememberedTokens = 16
// Messages that wait for the reader: what does not fit is not acknowledged, so that a careful forwarder sends it again.
const maxWaiting = 256

/** What a link has seen: datagrams dropped by reason, and gateways that can be answered. */
export type GwmpCounts = {
  malformed: number
  tooLong: number
  tooMany: number
  notTaken: number
  duplicates: number
  gateways: number
}

type Gateway = {
  /** Where its last PULL_DATA came from: what goes down is sent there. */
  down?: { readonly address: string; readonly port: number }
  readonly recent: string[]
}

type Ports = { readonly socket: Socket; readonly counts: GwmpCounts }

const wireOf = ({ socket, counts }: Ports): Duplex => {
  const gateways = new Map<string, Gateway>()
  const rate = limit(maxPerS, burst)
  let token = 0

  const gatewayOf = (datagram: Buffer): Gateway => {
    const eui = datagram.toString('hex', 4, headerBytes)
    const known = gateways.get(eui) ?? { recent: [] }
    // Last in, last out: the one that has been silent the longest makes room.
    gateways.delete(eui)
    gateways.set(eui, known)
    if (gateways.size > maxGateways) gateways.delete(gateways.keys().next().value!)
    counts.gateways = gateways.size
    return known
  }

  const answer = (datagram: Buffer, identifier: number, { address, port }: RemoteInfo): void =>
    // An answer that is lost is asked for again; a gateway that is gone is no trouble of the link.
    socket.send(
      Uint8Array.of(version, datagram[1]!, datagram[2]!, identifier),
      port,
      address,
      () => undefined,
    )

  /** What a datagram is dropped for, or its identifier. */
  const checked = (datagram: Buffer): keyof GwmpCounts | number => {
    if (!rate.take()) return 'tooMany'
    if (datagram.length > maxDatagramBytes) return 'tooLong'
    return datagram.length < headerBytes || datagram[0] !== version ? 'malformed' : datagram[3]!
  }

  /** True where a PUSH_DATA has been given on, now or before. */
  const given = (datagram: Buffer, { recent }: Gateway): boolean => {
    // Tokens are random and short: only the same datagram under the same token has come again.
    const name = createHash('sha256').update(datagram).digest('base64')
    if (recent.includes(name)) {
      counts.duplicates += 1
      return true
    }
    if (wire.readableLength >= maxWaiting) {
      counts.notTaken += 1
      return false
    }
    recent.push(name)
    if (recent.length > rememberedTokens) recent.shift()
    wire.push(new Uint8Array(datagram))
    return true
  }

  const take = (datagram: Buffer, from: RemoteInfo): void => {
    const identifier = checked(datagram)
    if (typeof identifier === 'string') counts[identifier] += 1
    else if (identifier === identifiers.pushData) {
      if (given(datagram, gatewayOf(datagram))) answer(datagram, identifiers.pushAck, from)
    } else if (identifier === identifiers.pullData) {
      gatewayOf(datagram).down = { address: from.address, port: from.port }
      answer(datagram, identifiers.pullAck, from)
    } else if (identifier !== identifiers.txAck) counts.malformed += 1
  }

  const wire = new Duplex({
    objectMode: true,
    readableHighWaterMark: maxWaiting,
    read: () => undefined,
    // JSON of a PULL_RESP, for every gateway that has asked with PULL_DATA.
    write: (json: Uint8Array, _encoding, done) => {
      token = (token + 1) % 65_536
      const head = Uint8Array.of(version, token >> 8, token & 0xff, identifiers.pullResp)
      for (const { down } of gateways.values())
        if (down) socket.send([head, json], down.port, down.address, () => undefined)
      done()
    },
    destroy: (error, done) => {
      socket.removeAllListeners('message').close(() => done(error))
    },
  })
  socket.on('message', take).on('error', (error) => wire.destroy(error))
  return wire
}

/**
 * An opener for `udp://127.0.0.1:1700`: listens there for packet forwarders. Each message is a whole PUSH_DATA datagram;
 * one that comes again is acknowledged and not given again. What is written goes down to every gateway, as PULL_RESP.
 */
export const gwmpPort = (name: string): Opener & { readonly counts: GwmpCounts } => {
  const { host, port, open } = listeningAddress(name, 'udp', 1700)
  const counts = { malformed: 0, tooLong: 0, tooMany: 0, notTaken: 0, duplicates: 0, gateways: 0 }
  return {
    name,
    counts,
    ...(open
      ? {
          caution: `${name} takes UDP from the network, and nothing in it says who sent it: keep it behind a firewall.`,
        }
      : {}),
    open: async (signal) => {
      signal.throwIfAborted()
      const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4' })
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const onAbort = (): void => reject(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      socket.once('error', reject).once('listening', resolve)
      try {
        socket.bind({ port, address: host, exclusive: true })
        await promise
      } catch (error) {
        socket.on('error', () => undefined)
        try {
          socket.close()
        } catch {
          // It was never bound.
        }
        if (signal.aborted) throw signal.reason
        throw await cannotListen(name, { host, port }, error as Error)
      } finally {
        signal.removeEventListener('abort', onAbort)
        socket.off('error', reject)
      }
      return wireOf({ socket, counts })
    },
  }
}
