/** The serial ports of this computer: what they are, whether this user may open them, and who holds them. */
import { access, constants, realpath } from 'node:fs/promises'
import { adapterOf } from '../link/adapters.ts'
import { holderOf } from '../link/holder.ts'
import { listPorts, type Port, stableName } from '../link/ports.ts'
import { type Check, type Finding, fail, ok, type Patient, warn } from './doctor.ts'

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
  const sensor = config?.edge.sensors.find((one) => one.enabled && (one.link === link || one.link === path))
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
      const needed = patient.config?.edge.sensors.some(
        ({ enabled, link }) => enabled && !link.includes('://'),
      )
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
