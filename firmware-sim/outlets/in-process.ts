/** An outlet without an operating system: for many stations in one process. */
import { type Duplex, duplexPair } from 'node:stream'
import { LinkError } from '../../gateway/link/link.ts'
import { maxWaitingBytes, type OpenOutlet } from './outlet.ts'

/** An outlet whose `opener` gives one end of a pair of streams; one link at a time, as a locked port. */
export const inProcess: OpenOutlet = async (name, hear) => {
  const link = `sim:${name}`
  let plugged = true
  let ends: readonly [device: Duplex, gateway: Duplex] | undefined

  const drop = (error?: Error): void => {
    const [device, gateway] = ends ?? []
    ends = undefined
    device?.destroy()
    gateway?.destroy(error)
  }

  return {
    link,
    opener: {
      name: link,
      open: async (signal) => {
        signal.throwIfAborted()
        if (!plugged) throw new LinkError('missing', `${link} does not exist.\nPlug the simulated device in.`)
        if (ends) throw new LinkError('busy', `${link} is busy.\nClose the link that uses it.`)
        const [device, gateway] = duplexPair()
        ends = [device, gateway]
        device.on('data', hear).on('error', () => undefined)
        gateway.once('close', () => {
          if (ends?.[1] === gateway) drop()
        })
        return gateway
      },
    },
    write: (bytes) => {
      const device = ends?.[0]
      if (!device || device.destroyed || device.writableLength > maxWaitingBytes) return false
      device.write(bytes)
      return true
    },
    unplug: async () => {
      plugged = false
      drop(new LinkError('disconnected', `${link} went away.\nPlug the simulated device in.`))
    },
    plug: async () => {
      plugged = true
    },
  }
}
