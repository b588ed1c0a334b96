/** Serial ports of this computer, through `serialport`. */
import { realpath, stat } from 'node:fs/promises'
import { Duplex } from 'node:stream'
import { SerialPort } from 'serialport'
import { holderOf } from './holder.ts'
import { LinkError, type Opener } from './link.ts'

// A port is opened in milliseconds; a driver that hangs must not hold up the others.
const openDeadlineMs = 10_000
// A read under way at the moment of a hangup gives 0 bytes, and the binding reads again, for ever: whether the
// device is still there has to be looked at.
const presenceMs = 500

const elsewhere = 'set link to another port; "groundtruth doctor" lists them.'

/** The error of a port that would not open, in words, with what to do next. */
const explained = async (path: string, device: string, error: Error): Promise<LinkError> => {
  const said = error.message
  if (/no such file|file not found|ENOENT|ENXIO|no such device/i.test(said))
    return new LinkError(
      'missing',
      `serial port ${path} does not exist.\nPlug the device in, or ${elsewhere}`,
      { cause: error },
    )
  if (/permission denied|access denied|EACCES|EPERM/i.test(said))
    return new LinkError(
      'permission',
      `serial port ${path} may not be opened by this user.\n` +
        'Run "sudo usermod -aG dialout $USER", log out and in again.',
      { cause: error },
    )
  if (/cannot lock|temporarily unavailable|busy|EBUSY|EAGAIN/i.test(said)) {
    const held = await holderOf(device)
    const holder = held === undefined ? '' : ` (held by pid ${held.pid})`
    return new LinkError(
      'busy',
      `serial port ${path} is busy${holder}.\nStop the process that uses it, or ${elsewhere}`,
      { cause: error },
    )
  }
  return new LinkError('failed', `serial port ${path} failed: ${said}\nUnplug it and plug it in again.`, {
    cause: error,
  })
}

const unplugged = (path: string, cause: Error | null | undefined): LinkError =>
  new LinkError(
    'disconnected',
    `serial port ${path} went away.\nCheck the plug; it is opened again by itself.`,
    {
      ...(cause ? { cause } : {}),
    },
  )

// SerialPort's own destroy() leaves the port open and its end is no stream end: this stream keeps the rules.
const asStream = (path: string, device: string, port: SerialPort): Duplex => {
  const stream = new Duplex({
    allowHalfOpen: false,
    read: () => void port.resume(),
    write: (chunk: Uint8Array, _encoding, done) =>
      void port.write(Buffer.from(chunk), (error) => done(error)),
    destroy: (error, done) => {
      clearInterval(presence)
      if (port.isOpen) port.close(() => done(error))
      else done(error)
    },
  })
  const presence = setInterval(() => {
    stat(device).catch((error) => stream.destroy(unplugged(path, error)))
  }, presenceMs).unref()
  port.on('data', (bytes: Buffer) => {
    if (!stream.push(bytes)) port.pause()
  })
  port.on('error', (error) => stream.destroy(unplugged(path, error)))
  port.on('close', (error: Error | null | undefined) => {
    if (!stream.destroyed) stream.destroy(unplugged(path, error))
  })
  return stream
}

const opened = (path: string, device: string, baudRate: number, signal: AbortSignal): Promise<Duplex> =>
  new Promise((resolve, reject) => {
    let abandoned = false
    const port = new SerialPort({ path: device, baudRate, lock: true, autoOpen: false })
    const abandon = (reason: Error): void => {
      abandoned = true
      settle()
      reject(reason)
    }
    const late = `serial port ${path} did not open within ${openDeadlineMs / 1000} s.\nUnplug it and plug it in again.`
    const onAbort = (): void => abandon(signal.reason)
    const timer = setTimeout(() => abandon(new LinkError('timeout', late)), openDeadlineMs)
    const settle = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    port.open((error) => {
      settle()
      if (abandoned) {
        // It opened after all, for nobody.
        if (!error) port.close(() => undefined)
      } else if (error) void explained(path, device, error).then(reject)
      else resolve(asStream(path, device, port))
    })
  })

/**
 * An opener for a serial port at `baudRate`, 8N1, locked against a second program. Names under
 * /dev/serial/by-id are looked up at each opening. What cannot be set on a given port (modem lines of a
 * pseudo-terminal or a cheap adapter) is not needed, so it is never asked for.
 */
export const serialPort = (path: string, { baudRate }: { readonly baudRate: number }): Opener => ({
  name: path,
  open: async (signal) => {
    signal.throwIfAborted()
    const isWindows = process.platform === 'win32'
    const device = isWindows
      ? path
      : await realpath(path).catch(async (error) => {
          throw await explained(path, path, error)
        })
    return opened(path, device, baudRate, signal)
  },
})
