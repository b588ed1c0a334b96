/** Which kind of wire a configured address means. */
import { basicsStationPort } from './basics-station.ts'
import { gwmpPort } from './gwmp.ts'
import { LinkError, type Opener } from './link.ts'
import { serialPort } from './serial.ts'
import { tcpPort } from './tcp.ts'
import { usbPort } from './usb.ts'

/** How a link is set. `baudRate` is in bits per second and means nothing to a link over the network. */
export type LinkSettings = { readonly baudRate: number }

/** What may stand as a link, in words. */
export const linkForms =
  'a serial port (/dev/serial/by-id/..., usb:VID:PID), tcp://host:port, udp://127.0.0.1:1700 or ws://127.0.0.1:1887'

/** Whether a link is of this computer's own ports, where a baud rate means something. */
export const hasBaudRate = (name: string): boolean => !/^(?:tcp|udp|ws):\/\//.test(name)

/** Whether a link waits for gateways to call, instead of opening something that is there. */
export const isListening = (name: string): boolean => /^(?:udp|ws):\/\//.test(name)

// A device path, or a Windows port; anything with a scheme is an address.
const serialName = /^(\/[^\0]{1,255}|COM\d{1,3})$/

/**
 * The opener for a configured address: a serial port by its path (`/dev/serial/by-id/...`, `COM3`) or by its USB
 * device (`usb:10c4:ea60`), `tcp://host:port` for ser2net and serial-to-Ethernet converters, `udp://host:port` or
 * `ws://host:port` to listen for LoRaWAN gateways (packet forwarders, Basics Stations). Throws a `LinkError` for
 * anything else.
 */
export const linkNamed = (name: string, { baudRate }: LinkSettings): Opener => {
  if (name.startsWith('tcp://')) return tcpPort(name)
  if (name.startsWith('udp://')) return gwmpPort(name)
  if (name.startsWith('ws://')) return basicsStationPort(name)
  if (name.startsWith('usb:')) return usbPort(name, { baudRate })
  if (serialName.test(name)) return serialPort(name, { baudRate })
  throw new LinkError(
    'bad-address',
    `link ${JSON.stringify(name.slice(0, 300))} is neither a serial port nor an address.\n` +
      'Give a path such as /dev/ttyUSB0 or an address such as tcp://192.168.1.20:3001 or udp://127.0.0.1:1700.',
  )
}
