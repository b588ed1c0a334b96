/** Bounds in front of the embedded broker, which has none of its own for the size of a packet. */

import type { Socket } from 'node:net'
import { Duplex, Transform, type TransformCallback } from 'node:stream'

/**
 * Passes an MQTT byte stream through and fails it as soon as a fixed header announces more than `maxBytes`
 * (MQTT 3.1.1 s2.2.3), long before the parser behind would have collected that much.
 */
const packetSizeLimit = (maxBytes: number): Transform => {
  let skip = 0
  let lengthBytes = -1 // -1: a packet's first byte is next; otherwise how many bytes of its length were seen
  let length = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      let at = 0
      while (at < chunk.length) {
        if (skip > 0) {
          const step = Math.min(skip, chunk.length - at)
          skip -= step
          at += step
        } else if (lengthBytes < 0) {
          lengthBytes = 0
          length = 0
          at++
        } else {
          const byte = chunk[at++]!
          length += (byte & 0x7f) * 128 ** lengthBytes++
          if (length > maxBytes || lengthBytes > 4) {
            done(new Error(`a packet of more than ${maxBytes} bytes`))
            return
          }
          if (byte < 0x80) {
            skip = length
            lengthBytes = -1
          }
        }
      }
      done(null, chunk)
    },
  })
}

/** A socket as the broker may read it: bounded packets, errors end the connection. */
export const boundedStream = (socket: Socket, maxBytes: number): Duplex => {
  const limit = packetSizeLimit(maxBytes)
  socket.on('error', () => limit.destroy())
  socket.on('close', () => limit.destroy())
  limit.on('error', () => socket.destroy())
  socket.pipe(limit)
  const bounded = Duplex.from({ readable: limit, writable: socket })
  bounded.on('close', () => socket.destroy())
  return bounded
}

/** Counts connections per remote address; answers false when one has too many. */
export const connectionCap = (maxPerAddress: number) => {
  const open = new Map<string, number>()
  return (socket: Socket): boolean => {
    const address = socket.remoteAddress ?? ''
    const count = (open.get(address) ?? 0) + 1
    if (count > maxPerAddress) return false
    open.set(address, count)
    socket.once('close', () => {
      const left = open.get(address)! - 1
      if (left === 0) open.delete(address)
      else open.set(address, left)
    })
    return true
  }
}
