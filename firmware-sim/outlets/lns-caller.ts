/** An outlet for devices that call the gateway as a Basics Station does: it discovers, connects, and says its version. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import { WebSocket } from 'ws'
import { inTurn, maxWaitingBytes, type OpenOutlet } from './outlet.ts'

const host = '127.0.0.1'
const againMs = 100

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, host)
  await once(server, 'listening')
  const { port } = server.address() as { readonly port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

const opened = async (url: string, signal: AbortSignal): Promise<WebSocket> => {
  const socket = new WebSocket(url)
  socket.on('error', () => undefined)
  try {
    await once(socket, 'open', { signal })
  } catch (error) {
    socket.terminate()
    throw error
  }
  return socket
}

/** Where the data connection is, as discovery says. */
const discovered = async (port: number, router: string, signal: AbortSignal): Promise<string> => {
  const socket = await opened(`ws://${host}:${port}/router-info`, signal)
  try {
    socket.send(JSON.stringify({ router }))
    const [data] = (await once(socket, 'message', { signal })) as [Buffer]
    return (JSON.parse(String(data)) as { readonly uri: string }).uri
  } finally {
    socket.terminate()
  }
}

/**
 * Makes outlets whose link is `ws://127.0.0.1:port`, a port that was free. `router` is the station's identity, and
 * `version` the message it begins with; it calls again for as long as it is plugged in. Each write is a message.
 */
export const lnsCaller =
  (router: string, version: string): OpenOutlet =>
  async (_name, hear) => {
    const turn = inTurn()
    const port = await freePort()
    let station: WebSocket | undefined
    let plugged: { readonly pulled: AbortController; readonly ended: Promise<void> } | undefined

    const call = async (signal: AbortSignal): Promise<void> => {
      const socket = await opened(await discovered(port, router, signal), signal)
      socket.on('message', (data: Buffer) => hear(new Uint8Array(data)))
      socket.send(version)
      station = socket
      try {
        await once(socket, 'close', { signal })
      } finally {
        station = undefined
        socket.terminate()
      }
    }
    const keepCalling = async (signal: AbortSignal): Promise<void> => {
      while (!signal.aborted) {
        // A gateway that is not there, or goes: it is called again.
        await call(signal).catch(() => undefined)
        if (signal.aborted) return
        const { promise, resolve } = Promise.withResolvers<void>()
        const timer = setTimeout(resolve, againMs)
        signal.addEventListener('abort', () => resolve(), { once: true })
        await promise
        clearTimeout(timer)
      }
    }
    const plug = async (): Promise<void> => {
      if (plugged) return
      const pulled = new AbortController()
      plugged = { pulled, ended: keepCalling(pulled.signal) }
    }
    await plug()

    return {
      link: `ws://${host}:${port}`,
      write: (bytes) => {
        if (station?.readyState !== WebSocket.OPEN || station.bufferedAmount > maxWaitingBytes) return false
        station.send(Buffer.from(bytes).toString('utf8'))
        return true
      },
      plug: () => turn(plug),
      unplug: () =>
        turn(async () => {
          const going = plugged
          plugged = undefined
          going?.pulled.abort()
          await going?.ended
        }),
    }
  }
