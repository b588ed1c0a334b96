/** The serial ports of this computer: what they are, whether this user may open them, and who holds them. */
import { access, constants, realpath } from 'node:fs/promises'
import { adapterOf } from '../link/adapters.ts'
import { holderOf } from '../link/holder.ts'
import { hasBaudRate } from '../link/named.ts'
import { listPorts, type Port, stableName } from '../link/ports.ts'
import { portOf } from '../link/usb.ts'
import { type Check, type Finding, fail, ok, type Patient, warn } from './doctor.ts'

/** Whether a configured link leads to that port, by whatever name. */
const leadsTo = async (link: string, port: Port, ports: readonly Port[]): Promise<boolean> => {
  if (!hasBaudRate(link)) return false // over the network
  if (link.startsWith('usb:'))
    try {
      return portOf(link, ports) === port
    } catch {
      return false // told by the check of the sensors
    }
  const [target, own] = await Promise.all([realpath(link), realpath(port.path)]).catch(() => [
    link,
    port.path,
  ])
  return target === own
}

const look = async (port: Port, ports: readonly Port[], { roots, config }: Patient): Promise<Finding> => {
  const { path, usb } = port
  const about = `port ${path}`
  const link = stableName(port, ports)
  const adapter = adapterOf(usb?.vendor, usb?.product)
  const title = adapter?.what ?? usb?.title ?? (usb ? `USB ${usb.vendor}:${usb.product}` : 'serial port')
  try {
    await access(path, constants.R_OK | constants.W_OK)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      return fail(about, `${title}: its device file is not there`, 'Unplug it and plug it in again.')
    return fail(
      about,
      `${title}: may not be opened by this user`,
      'Run "sudo usermod -aG dialout $USER", log out and in again.',
    )
  }
  const holder = await holderOf(await realpath(path).catch(() => path), roots.proc)
  if (holder && holder.pid !== process.pid)
    return warn(
      about,
      `${title}: used by ${holder.name} (pid ${holder.pid})`,
      'That is right where it is this station; stop it otherwise.',
    )
  const enabled = config?.edge.sensors.filter((one) => one.enabled) ?? []
  const led = await Promise.all(enabled.map((one) => leadsTo(one.link, port, ports)))
  const [sensor, second] = enabled.filter((_, at) => led[at])
  if (sensor && second)
    return fail(
      about,
      `${title}: the links of ${sensor.id} (${sensor.link}) and ${second.id} (${second.link}) both lead here`,
      'Give each sensor a port of its own.',
    )
  if (sensor && sensor.link === path && link !== path)
    return warn(
      about,
      `${title}: sensor ${sensor.id} goes by a number that changes when it is plugged in again`,
      `Set its link to ${link}`,
    )
  return ok(about, `${title}: ${sensor ? `sensor ${sensor.id}` : 'free'}, as ${link}`)
}

export const ports: Check = {
  name: 'ports',
  run: async (patient) => {
    const found = await listPorts(patient.roots)
    if (found.length === 0) {
      const needed = patient.config?.edge.sensors.some(({ enabled, link }) => enabled && hasBaudRate(link))
      return needed
        ? [
            warn(
              'ports',
              'no serial port is here',
              'Plug the device in; "dmesg | tail" says whether it is seen.',
            ),
          ]
        : [ok('ports', 'no serial port is here, and none is configured')]
    }
    return Promise.all(found.map((port) => look(port, found, patient)))
  },
}
