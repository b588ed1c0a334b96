/** What is plugged into this computer: its serial ports and the links given, each probed. */
import { realpath } from 'node:fs/promises'
import { type Adapter, adapterOf } from './link/adapters.ts'
import { holderOf } from './link/holder.ts'
import { hasBaudRate, isListening, linkNamed } from './link/named.ts'
import { listPorts, type Port, type Roots, stableName } from './link/ports.ts'
import { type Finding, mayBeAsked, probe } from './probe.ts'
import { drivers } from './sensors/all.ts'

/** One wire: the name to configure, the port and adapter where it is one of this computer, and what was found on it. */
export type Found = {
  readonly link: string
  readonly port?: Port
  readonly adapter?: Adapter
  readonly finding: Finding
}

export type DiscoverOptions = {
  readonly roots: Roots
  /** Whether this computer's ports are looked at. */
  readonly ports: boolean
  /** Links to probe beside the ports. */
  readonly links: readonly string[]
  readonly listenMs: number
  readonly told: (link: string, what: string) => void
}

const said = (finding: Finding): string => {
  switch (finding.kind) {
    case 'recognised':
      return `${finding.model}: ${finding.quantities.join(', ') || 'heard radio nodes'}`
    case 'unknown':
      return `${finding.bytes} bytes that no driver understands`
    case 'silent':
      return 'nothing was heard'
    case 'unusable':
      return finding.message
  }
}

const busy = async (port: Port, { proc }: Roots): Promise<Finding | undefined> => {
  const device = await realpath(port.path).catch(() => port.path)
  const holder = await holderOf(device, proc)
  // Not every program locks its port: one that is read by two gives each of them half.
  return (
    holder && {
      kind: 'unusable',
      code: 'busy',
      message: `serial port ${port.path} is used by ${holder.name} (pid ${holder.pid}) and is left alone.`,
    }
  )
}

/** Probes all wires at once; `told` hears how far each is. Rejects only when the signal aborts. */
export const discover = async (options: DiscoverOptions, signal: AbortSignal): Promise<Found[]> => {
  const { roots, told, listenMs } = options
  const ports = options.ports ? await listPorts(roots) : []
  const probed = async (link: string, target: string, likely: readonly string[]): Promise<Finding> =>
    probe(
      {
        openerAt: (baudRate) => linkNamed(target, { baudRate }),
        // Who calls is a gateway: what a particle sensor is asked would go on air, or be taken for its configuration.
        drivers: drivers.filter(({ framing }) => (framing.kind === 'messages') === isListening(target)),
        hasBaudRate: hasBaudRate(target),
        likely,
        askable: new Set(Object.keys(mayBeAsked)),
        listenMs,
        told: (what) => told(link, what),
      },
      signal,
    )
  const finished = (found: Found): Found => {
    told(found.link, said(found.finding))
    return found
  }
  return Promise.all([
    ...ports.map(async (port): Promise<Found> => {
      const link = stableName(port, ports)
      const adapter = adapterOf(port.usb?.vendor, port.usb?.product)
      const finding = (await busy(port, roots)) ?? (await probed(link, port.path, adapter?.models ?? []))
      return finished({ link, port, ...(adapter ? { adapter } : {}), finding })
    }),
    ...options.links.map(
      async (link): Promise<Found> => finished({ link, finding: await probed(link, link, []) }),
    ),
  ])
}
