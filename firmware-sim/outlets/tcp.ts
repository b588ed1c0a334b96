/** An outlet on a loopback port, as ser2net would offer it. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { inTurn, maxWaitingBytes, type OpenOutlet } from './outlet.ts'

/** An outlet at `tcp://127.0.0.1:port`, a free port that is kept over unplugging; the last caller gets the line. */
export const tcp: OpenOutlet = async (_name, hear) => {
  const turn = inTurn()
  let client: Socket | undefined
  const server = createServer((socket) => {
    client?.destroy()
    client = socket.setNoDelay(true)
    socket
      .on('data', hear)
      .on('error', () => undefined)
      .once('close', () => {
        if (client === socket) client = undefined
      })
  })
  const listen = async (port: number): Promise<number> => {
    server.listen({ port, host: '127.0.0.1' })
    await once(server, 'listening')
    const address = server.address()
    assert(address !== null && typeof address === 'object')
    return address.port
  }
  const port = await listen(0)

  return {
    link: `tcp://127.0.0.1:${port}`,
    write: (bytes) => {
      if (!client || client.destroyed || client.writableLength > maxWaitingBytes) return false
      client.write(bytes)
      return true
    },
    unplug: () =>
      turn(async () => {
        if (!server.listening) return
        const closed = once(server, 'close')
        server.close()
        client?.destroy()
        await closed
      }),
    plug: () =>
      turn(async () => {
        if (!server.listening) await listen(port)
      }),
  }
}
