/** Serial ports by the USB device they belong to, whatever number the kernel gives them today. */
import { LinkError, type Opener } from './link.ts'
import { listPorts, type Port, type Roots, systemRoots } from './ports.ts'
import { serialPort } from './serial.ts'

/** `usb:VID:PID`, `usb:VID:PID:SERIAL` or `usb:VID:PID@PATH`, ids in hex, PATH such as `1-1.2` or `1-1.2:1.0`. */
export type UsbAddress = {
  readonly vendor: string
  readonly product: string
  readonly serial?: string
  readonly path?: string
}

const shape = /^usb:([0-9a-f]{4}):([0-9a-f]{4})(?::([^@\0/]{1,128})|@(\d{1,3}-[\d.]{1,32}(?::\d+\.\d+)?))?$/i

/** The parts of a `usb:` name; throws a `LinkError` naming what was expected. */
export const usbAddress = (name: string): UsbAddress => {
  const match = shape.exec(name)
  if (!match)
    throw new LinkError(
      'bad-address',
      `link ${JSON.stringify(name.slice(0, 300))} is not the name of a USB device.\n` +
        'Write usb:VID:PID, usb:VID:PID:SERIAL or usb:VID:PID@PATH, for example usb:10c4:ea60 or usb:1a86:7523@1-1.2.',
    )
  const [, vendor, product, serial, path] = match
  return {
    vendor: vendor!.toLowerCase(),
    product: product!.toLowerCase(),
    ...(serial === undefined ? {} : { serial }),
    ...(path === undefined ? {} : { path }),
  }
}

const fits = ({ usb }: Port, { vendor, product, serial, path }: UsbAddress): boolean =>
  usb !== undefined &&
  usb.vendor === vendor &&
  usb.product === product &&
  (serial === undefined || usb.serial === serial) &&
  (path === undefined || usb.path === path || usb.channel === path)

const placed = ({ path, usb, byPath }: Port): string =>
  `${path} (${byPath ?? `usb:${usb!.vendor}:${usb!.product}@${usb!.channel ?? usb!.path}`})`

const listed = (ports: readonly Port[]): string =>
  ports.map(({ path, usb }) => (usb ? `${path} usb:${usb.vendor}:${usb.product}` : path)).join(', ') || 'none'

/** The one port that a name means; throws a `LinkError` where there is none, or where several fit. */
export const portOf = (name: string, ports: readonly Port[]): Port => {
  const address = usbAddress(name)
  const found = ports.filter((port) => fits(port, address))
  if (found.length > 1)
    throw new LinkError(
      'bad-address',
      `link ${name} fits ${found.length} ports that are alike: ${found.map(placed).join(', ')}.\n` +
        'Set link to one of the names in brackets: they go by the socket that a device is plugged into.',
    )
  if (found.length === 0)
    throw new LinkError(
      'missing',
      `link ${name} is not plugged in; serial ports here: ${listed(ports)}.\n` +
        'Plug the device in, or set link to another port; "groundtruth doctor" lists them.',
    )
  return found[0]!
}

/** An opener that looks the device up at each opening: one that comes back under another number is found. */
export const usbPort = (
  name: string,
  settings: { readonly baudRate: number },
  roots: Roots = systemRoots,
): Opener => {
  usbAddress(name)
  return {
    name,
    open: async (signal) => serialPort(portOf(name, await listPorts(roots)).path, settings).open(signal),
  }
}
