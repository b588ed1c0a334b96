/** A TCP proxy between stations and hub that overhears what the hub promises. */
import { connect, createServer, type Socket } from 'node:net'
import { findSign1 } from './scan.ts'

// A receipt is at most 8 KiB; what has not become one by then never will.
const maxHeldBytes = 64 * 1024

export type Tap = {
  readonly port: number
  /** Where the hub listens now; a hub that starts again has another port. */
  target: number
  close(): Promise<void>
}

/** Passes bytes both ways; `overhear` gets every COSE_Sign1 on its way to a station. */
export const openTap = async (overhear: (message: Uint8Array) => void): Promise<Tap> => {
  const sockets = new Set<Socket>()
  const keep = (socket: Socket): Socket => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
    return socket
  }
  const server = createServer((station) => {
    const hub = keep(connect(tap.target, '127.0.0.1'))
    keep(station)
    let held = Buffer.alloc(0)
    hub.on('data', (chunk: Buffer) => {
      held = Buffer.concat([held, chunk])
      const { found, rest } = findSign1(held)
      for (const message of found) overhear(message)
      held = held.subarray(Math.max(rest, held.length - maxHeldBytes))
    })
    station.pipe(hub)
    hub.pipe(station)
    station.on('close', () => hub.destroy())
    hub.on('close', () => station.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const tap: Tap = {
    port: (server.address() as { port: number }).port,
    target: 1,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return tap
}
