/** The serial ports of this computer, and how each can be named so that the name stays. */
import { readdir, readFile, realpath } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { SerialPort } from 'serialport'

/** Where the system's file trees are; tests have their own. */
export type Roots = { readonly dev: string; readonly sys: string; readonly proc: string }
export const systemRoots: Roots = { dev: '/dev', sys: '/sys', proc: '/proc' }

/** A USB device as the kernel sees it; `path` is its place in the tree of hubs (`1-1.2`), `channel` of its ports. */
export type Usb = {
  readonly vendor: string
  readonly product: string
  readonly serial?: string
  readonly path?: string
  readonly channel?: string
  readonly title?: string
}

/** A serial port: `path` is the device file of the moment; the others stay the same, the first over sockets too. */
export type Port = {
  readonly path: string
  readonly byId?: string
  readonly byPath?: string
  readonly usb?: Usb
}

// Ports that carry sensors; consoles, pseudo-terminals and Bluetooth are none.
const portName = /^tty(USB|ACM|AMA|S|SC|XRUSB|MFD|THS|mxc)\d{1,3}$/
const hexId = /^[0-9a-f]{4}$/
// A USB device is at most seven hubs away; its port a few folders below.
const maxClimb = 12
const maxPorts = 256

const fileText = async (path: string): Promise<string | undefined> => {
  const text = (await readFile(path, 'utf8').catch(() => '')).trim()
  return text === '' ? undefined : text.slice(0, 128)
}

/** Climbs from the port's folder in sysfs to the USB device it belongs to. */
const usbOf = async (sys: string, name: string): Promise<Usb | undefined> => {
  let folder = await realpath(join(sys, 'class/tty', name, 'device')).catch(() => undefined)
  let channel: string | undefined
  for (let climbed = 0; folder !== undefined && climbed < maxClimb; climbed++) {
    const vendor = await fileText(join(folder, 'idVendor'))
    const product = await fileText(join(folder, 'idProduct'))
    if (vendor && product && hexId.test(vendor) && hexId.test(product)) {
      const serial = await fileText(join(folder, 'serial'))
      const title = await fileText(join(folder, 'product'))
      return {
        vendor,
        product,
        path: basename(folder),
        ...(serial === undefined ? {} : { serial }),
        ...(channel === undefined ? {} : { channel }),
        ...(title === undefined ? {} : { title }),
      }
    }
    if (/^\d+-[\d.]+:\d+\.\d+$/.test(basename(folder))) channel = basename(folder)
    const above = dirname(folder)
    folder = above === folder ? undefined : above
  }
  return undefined
}

/** Links of /dev/serial/by-id or by-path, by the device they lead to. */
const linksIn = async (folder: string): Promise<Map<string, string>> => {
  const links = new Map<string, string>()
  for (const name of (await readdir(folder).catch(() => [])).sort()) {
    const target = await realpath(join(folder, name)).catch(() => undefined)
    if (target !== undefined && !links.has(target)) links.set(target, join(folder, name))
  }
  return links
}

// The kernel makes ttyS0 to ttyS31 whether there is a port or not; type 0 means that there is none.
const isThere = async (sys: string, name: string): Promise<boolean> =>
  !/^ttyS\d/.test(name) || ((await fileText(join(sys, 'class/tty', name, 'type'))) ?? '0') !== '0'

const linuxPorts = async ({ dev, sys }: Roots): Promise<Port[]> => {
  const byId = await linksIn(join(dev, 'serial/by-id'))
  const byPath = await linksIn(join(dev, 'serial/by-path'))
  const present = new Set(await readdir(dev).catch(() => []))
  const devReal = await realpath(dev).catch(() => dev)
  const linked = [...byId.keys(), ...byPath.keys()].filter((path) => dirname(path) === devReal)
  const names = new Set([...present].filter((name) => portName.test(name)))
  for (const path of linked) names.add(basename(path))
  const ports: Port[] = []
  for (const name of [...names].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))) {
    if (!(await isThere(sys, name)) || ports.length >= maxPorts) continue
    const real = join(devReal, name)
    const usb = await usbOf(sys, name)
    const [id, path] = [byId.get(real), byPath.get(real)]
    ports.push({
      path: join(dev, name),
      ...(id === undefined ? {} : { byId: id }),
      ...(path === undefined ? {} : { byPath: path }),
      ...(usb === undefined ? {} : { usb }),
    })
  }
  return ports
}

const elsewherePorts = async (): Promise<Port[]> =>
  (await SerialPort.list()).map(({ path, vendorId, productId, serialNumber }) => ({
    path,
    ...(vendorId && productId
      ? {
          usb: {
            vendor: vendorId.toLowerCase(),
            product: productId.toLowerCase(),
            ...(serialNumber ? { serial: serialNumber } : {}),
          },
        }
      : {}),
  }))

/**
 * The serial ports there are. On Linux they are read from /dev and /sys themselves, for `SerialPort.list()` needs
 * udevadm, which containers and small systems do not have; elsewhere it is asked.
 */
export const listPorts = (roots: Roots = systemRoots): Promise<Port[]> =>
  process.platform === 'linux' ? linuxPorts(roots) : elsewherePorts()

/** How often a name under by-id leads to another of these ports: CH340 chips alike have one name for all. */
const isUnique = (port: Port, ports: readonly Port[]): boolean =>
  port.usb === undefined ||
  ports.filter(
    ({ usb }) =>
      usb?.vendor === port.usb?.vendor &&
      usb?.product === port.usb?.product &&
      usb?.serial === port.usb?.serial,
  ).length === 1

/**
 * The name to write into a configuration: under by-id where it is this device's own, under by-path where devices
 * alike are plugged in, then by its ids, and the bare device only where nothing else is known.
 */
export const stableName = (port: Port, ports: readonly Port[]): string => {
  const { usb } = port
  if (port.byId !== undefined && isUnique(port, ports)) return port.byId
  // Two ports of one device have one serial number and two names under by-id.
  if (port.byId !== undefined && usb?.serial !== undefined) return port.byId
  if (port.byPath !== undefined && !isUnique(port, ports)) return port.byPath
  if (usb !== undefined && isUnique(port, ports))
    return `usb:${usb.vendor}:${usb.product}${usb.serial === undefined ? '' : `:${usb.serial}`}`
  const place = usb?.channel ?? usb?.path
  if (usb !== undefined && place !== undefined) return `usb:${usb.vendor}:${usb.product}@${place}`
  return port.byPath ?? port.byId ?? port.path
}
