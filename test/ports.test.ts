import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { adapterOf } from '#gateway/link/adapters.ts'
import { linkNamed } from '#gateway/link/named.ts'
import { listPorts, type Roots, stableName } from '#gateway/link/ports.ts'
import { portOf, usbAddress, usbPort } from '#gateway/link/usb.ts'
import { hasScript, pty } from '#sim/outlets/pty.ts'
import { temporaryDirectory } from '#test/temporary.ts'

type Plugged = {
  readonly name: string
  readonly socket: string
  readonly ids: readonly [vendor: string, product: string]
  readonly serial?: string
  readonly byId?: string
  readonly channel?: string
  /** What the device file leads to; an empty file unless told. */
  readonly device?: string
}

/** Folders as /dev and /sys are with those sticks plugged in, as Linux 6 lays them out. */
const machine = () => {
  const root = temporaryDirectory()
  const roots: Roots = { dev: join(root, 'dev'), sys: join(root, 'sys'), proc: join(root, 'proc') }
  for (const folder of ['dev/serial/by-id', 'dev/serial/by-path', 'sys/class/tty', 'proc'])
    mkdirSync(join(root, folder), { recursive: true })
  const plug = ({ name, socket, ids, serial, byId, channel = '1.0', device }: Plugged): void => {
    const usb = join(root, 'sys/devices/platform/usb1', socket)
    const tty = join(usb, `${socket}:${channel}`, name)
    mkdirSync(join(tty, 'tty', name), { recursive: true })
    writeFileSync(join(usb, 'idVendor'), `${ids[0]}\n`)
    writeFileSync(join(usb, 'idProduct'), `${ids[1]}\n`)
    writeFileSync(join(usb, 'product'), 'USB Serial\n')
    if (serial !== undefined) writeFileSync(join(usb, 'serial'), `${serial}\n`)
    symlinkSync(tty, join(tty, 'tty', name, 'device'))
    symlinkSync(join(tty, 'tty', name), join(root, 'sys/class/tty', name))
    if (device === undefined) writeFileSync(join(roots.dev, name), '')
    else symlinkSync(device, join(roots.dev, name))
    symlinkSync(`../../${name}`, join(roots.dev, `serial/by-path/usb-0:${socket.slice(2)}:${channel}-port0`))
    const id = join(roots.dev, 'serial/by-id', byId ?? `usb-${name}`)
    rmSync(id, { force: true })
    symlinkSync(`../../${name}`, id)
  }
  const pull = (name: string, socket: string): void => {
    for (const path of [
      join(roots.dev, name),
      join(root, 'sys/class/tty', name),
      join(root, 'sys/devices/platform/usb1', socket),
      join(roots.dev, `serial/by-path/usb-0:${socket.slice(2)}:1.0-port0`),
    ])
      rmSync(path, { recursive: true, force: true })
  }
  return { root, roots, plug, pull }
}

const cp2102 = ['10c4', 'ea60'] as const
const ch340 = ['1a86', '7523'] as const

describe('the ports of this computer', () => {
  test('are found in /dev and /sys alone, with what is plugged in', async () => {
    const { roots, plug } = machine()
    plug({
      name: 'ttyUSB0',
      socket: '1-1.2',
      ids: cp2102,
      serial: '0001',
      byId: 'usb-Silicon_Labs_CP2102_0001',
    })
    expect(await listPorts(roots)).toEqual([
      {
        path: join(roots.dev, 'ttyUSB0'),
        byId: join(roots.dev, 'serial/by-id/usb-Silicon_Labs_CP2102_0001'),
        byPath: join(roots.dev, 'serial/by-path/usb-0:1.2:1.0-port0'),
        usb: {
          vendor: '10c4',
          product: 'ea60',
          serial: '0001',
          path: '1-1.2',
          channel: '1-1.2:1.0',
          title: 'USB Serial',
        },
      },
    ])
  })

  test('are only those that a sensor can hang on: no console, no terminal, no port that is not there', async () => {
    const { root, roots } = machine()
    for (const name of ['tty1', 'console', 'ptmx', 'ttyS0', 'ttyS1', 'ttyAMA0', 'null'])
      writeFileSync(join(roots.dev, name), '')
    for (const [name, type] of [
      ['ttyS0', '0'],
      ['ttyS1', '4'],
    ] as const) {
      mkdirSync(join(root, 'sys/class/tty', name))
      writeFileSync(join(root, 'sys/class/tty', name, 'type'), `${type}\n`)
    }
    expect((await listPorts(roots)).map(({ path }) => path)).toEqual([
      join(roots.dev, 'ttyAMA0'),
      join(roots.dev, 'ttyS1'),
    ])
  })

  test('a machine without /dev/serial, /sys or anything has none, and no error', async () => {
    const nowhere = join(temporaryDirectory(), 'nothing')
    expect(await listPorts({ dev: nowhere, sys: nowhere, proc: nowhere })).toEqual([])
  })

  test('are proposed by a name that stays: by-id, by-path for those alike, ids where there is neither', async () => {
    const { roots, plug } = machine()
    plug({ name: 'ttyUSB0', socket: '1-1.1', ids: ch340, byId: 'usb-1a86_USB_Serial-if00-port0' })
    plug({ name: 'ttyUSB1', socket: '1-1.3', ids: ch340, byId: 'usb-1a86_USB_Serial-if00-port0' })
    plug({ name: 'ttyUSB2', socket: '1-1.4', ids: cp2102, serial: 'A1', byId: 'usb-CP2102_A1' })
    const ports = await listPorts(roots)
    expect(ports.map((port) => stableName(port, ports))).toEqual([
      join(roots.dev, 'serial/by-path/usb-0:1.1:1.0-port0'),
      join(roots.dev, 'serial/by-path/usb-0:1.3:1.0-port0'),
      join(roots.dev, 'serial/by-id/usb-CP2102_A1'),
    ])
    const bare = ports.map(({ path, usb }) => ({ path, ...(usb ? { usb } : {}) }))
    expect(bare.map((port) => stableName(port, bare))).toEqual([
      'usb:1a86:7523@1-1.1:1.0',
      'usb:1a86:7523@1-1.3:1.0',
      'usb:10c4:ea60:A1',
    ])
    expect(stableName({ path: '/dev/ttyAMA0' }, [])).toBe('/dev/ttyAMA0')
  })

  test('an adapter is known by its ids', () => {
    expect(adapterOf('1546', '01a8')).toEqual({ what: 'u-blox 8 or M8 GNSS receiver', models: ['nmea'] })
    expect(adapterOf('ffff', '0000')).toBeUndefined()
    expect(adapterOf(undefined, undefined)).toBeUndefined()
  })
})

describe('usb: names', () => {
  test('are read, and what is none is told with what was expected', () => {
    expect(usbAddress('usb:10C4:EA60')).toEqual({ vendor: '10c4', product: 'ea60' })
    expect(usbAddress('usb:0403:6001:A50285BI')).toMatchObject({ serial: 'A50285BI' })
    expect(usbAddress('usb:1a86:7523@1-1.2:1.0')).toMatchObject({ path: '1-1.2:1.0' })
    for (const wrong of [
      'usb:',
      'usb:10c4',
      'usb:10c4:ea60:',
      'usb:10c4:ea60@hub',
      'usb:10c4:ea60:/etc/passwd',
    ])
      expect(() => linkNamed(wrong, { baudRate: 9600 })).toThrow(
        `link ${JSON.stringify(wrong)} is not the name of a USB device.\n` +
          'Write usb:VID:PID, usb:VID:PID:SERIAL or usb:VID:PID@PATH, for example usb:10c4:ea60 or usb:1a86:7523@1-1.2.',
      )
  })

  test('mean one port; several alike are an error that names the sockets', async () => {
    const { roots, plug } = machine()
    plug({ name: 'ttyUSB0', socket: '1-1.1', ids: ch340 })
    plug({ name: 'ttyUSB1', socket: '1-1.3', ids: ch340 })
    plug({ name: 'ttyUSB2', socket: '1-1.4', ids: cp2102, serial: 'A1' })
    const ports = await listPorts(roots)
    expect(portOf('usb:10c4:ea60', ports)).toBe(ports[2])
    expect(portOf('usb:10c4:ea60:A1', ports)).toBe(ports[2])
    expect(portOf('usb:1a86:7523@1-1.3', ports)).toBe(ports[1])
    expect(() => portOf('usb:1a86:7523', ports)).toThrow(
      `link usb:1a86:7523 fits 2 ports that are alike: ` +
        `${roots.dev}/ttyUSB0 (${roots.dev}/serial/by-path/usb-0:1.1:1.0-port0), ` +
        `${roots.dev}/ttyUSB1 (${roots.dev}/serial/by-path/usb-0:1.3:1.0-port0).\n` +
        'Set link to one of the names in brackets: they go by the socket that a device is plugged into.',
    )
    expect(() => portOf('usb:10c4:ea60:A2', ports)).toThrow(
      `link usb:10c4:ea60:A2 is not plugged in; serial ports here: ${roots.dev}/ttyUSB0 usb:1a86:7523, ` +
        `${roots.dev}/ttyUSB1 usb:1a86:7523, ${roots.dev}/ttyUSB2 usb:10c4:ea60.\n` +
        'Plug the device in, or set link to another port; "groundtruth doctor" lists them.',
    )
  })

  test('a stick that comes back under another number is found again', async ({ skip }) => {
    skip(!(await hasScript()), 'script(1) is not installed: no pseudo-terminals')
    const { root, roots, plug, pull } = machine()
    const first = await pty(join(root, 'terminals'))('first', () => undefined)
    const second = await pty(join(root, 'terminals'))('second', () => undefined)
    onTestFinished(() => Promise.all([first.unplug(), second.unplug()]).then(() => undefined))
    const opener = usbPort('usb:10c4:ea60:A1', { baudRate: 9600 }, roots)
    const open = async () => {
      const wire = await opener.open(AbortSignal.timeout(5_000))
      const closed = new Promise((resolve) => wire.once('close', resolve))
      return { wire, closed }
    }
    const hears = async (outlet: typeof first, text: string) => {
      const { wire, closed } = await open()
      const heard = new Promise<string>((resolve) => wire.once('data', (bytes) => resolve(String(bytes))))
      expect(outlet.write(Buffer.from(text))).toBe(true)
      expect(await heard).toBe(text)
      wire.destroy()
      await closed
    }
    plug({ name: 'ttyUSB0', socket: '1-1.4', ids: cp2102, serial: 'A1', device: first.link })
    await hears(first, 'one')
    pull('ttyUSB0', '1-1.4')
    await expect(open()).rejects.toThrow('link usb:10c4:ea60:A1 is not plugged in; serial ports here: none.')
    plug({ name: 'ttyUSB7', socket: '1-1.2', ids: cp2102, serial: 'A1', device: second.link })
    await hears(second, 'two')
  })
})
