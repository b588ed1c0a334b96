/** Whether each configured sensor's link can be opened, and speaks. */
import type { Device } from '../device.ts'
import { readDevice } from '../device.ts'
import { LinkError } from '../link/link.ts'
import { isListening } from '../link/named.ts'
import { configuredDevices } from '../station.ts'
import { checkingSurroundings } from '../surroundings.ts'
import { type Check, type Finding, fail, inTwo, ok, warn } from './doctor.ts'

const opens = async ({ opener }: Device, about: string, signal: AbortSignal): Promise<Finding> => {
  try {
    const wire = await opener.open(signal)
    await new Promise<void>((resolve) =>
      wire
        .once('close', resolve)
        .on('error', () => undefined)
        .destroy(),
    )
    return ok(about, `${opener.name} can be ${isListening(opener.name) ? 'listened on' : 'opened'}`)
  } catch (error) {
    if (error instanceof LinkError && error.code === 'busy')
      return warn(
        about,
        inTwo(error)[0],
        'That is right where this station is running; stop the program otherwise.',
      )
    return fail(about, ...inTwo(error))
  }
}

const speaks = async (
  device: Device,
  about: string,
  listenS: number,
  signal: AbortSignal,
): Promise<Finding> => {
  const heard = new AbortController()
  const running = readDevice({
    device,
    surroundings: checkingSurroundings,
    take: async () => heard.abort(),
  })
  await running.run(AbortSignal.any([signal, heard.signal, AbortSignal.timeout(listenS * 1000)]))
  const { link, readings, refused, lastRefusal } = running.status
  const { name } = device.opener
  if (readings > 0) return ok(about, `${name} gives readings`)
  if (link.opens === 0 && link.lastError !== null) return fail(about, ...inTwo(link.lastError))
  if (lastRefusal)
    return fail(
      about,
      `${name}: ${refused} frames refused in ${listenS} s, the last one (${lastRefusal.reason}): ${lastRefusal.detail}`,
      'Check the model and its settings: "groundtruth sensors MODEL" lists them.',
    )
  if (link.bytes > 0)
    return fail(
      about,
      `${name}: ${link.bytes} bytes in ${listenS} s, and no whole frame`,
      isListening(name)
        ? 'Check the model: udp:// is for packet forwarders, ws:// for Basics Stations.'
        : 'Check the model and the baud rate; "groundtruth init" finds them out.',
    )
  return fail(
    about,
    `${name}: nothing was heard for ${listenS} s`,
    isListening(name)
      ? 'Give the gateway the address of this computer and this port as its server, or listen longer with --listen SECONDS.'
      : 'Check power and wiring (TX to RX), or listen longer with --listen SECONDS.',
  )
}

const devicesOf = (...args: Parameters<typeof configuredDevices>): Device[] => {
  try {
    return configuredDevices(...args)
  } catch {
    return [] // told by the check of the configuration
  }
}

export const sensors: Check = {
  name: 'sensors',
  run: async ({ config, listenS }, signal) => {
    if (!config) return []
    return Promise.all(
      devicesOf(config.edge, config.told).map(async (device) => {
        const about = `sensor ${device.id}`
        const opened = await opens(device, about, signal)
        return opened.level === 'ok' && listenS > 0 ? speaks(device, about, listenS, signal) : opened
      }),
    )
  },
}
