/** An outlet for devices that send datagrams to the gateway: the link is where the gateway has to listen. */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { inTurn, type OpenOutlet } from './outlet.ts'

const host = '127.0.0.1'

const bound = async (): Promise<Socket> => {
  const socket = createSocket('udp4')
  socket.bind(0, host)
  await once(socket, 'listening')
  return socket
}

const closed = (socket: Socket): Promise<void> => new Promise((resolve) => socket.close(() => resolve()))

/** An outlet whose link is `udp://127.0.0.1:port`, a port that was free; each write is a datagram, and so is each answer. */
export const udpCaller: OpenOutlet = async (_name, hear) => {
  const turn = inTurn()
  let socket: Socket | undefined
  const probe = await bound()
  const { port } = probe.address()
  await closed(probe)

  const plug = async (): Promise<void> => {
    // A gateway that does not listen yet makes the system complain; the device sends again.
    socket ??= (await bound()).on('message', hear).on('error', () => undefined)
  }
  await plug()

  return {
    link: `udp://${host}:${port}`,
    write: (bytes) => {
      socket?.send(bytes, port, host)
      return socket !== undefined
    },
    plug: () => turn(plug),
    unplug: () =>
      turn(async () => {
        const pulled = socket
        socket = undefined
        if (pulled) await closed(pulled)
      }),
  }
}
