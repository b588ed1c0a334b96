/** Whether systemd, where it runs this machine, can be told that the station is well. */
import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { type Check, ok, warn } from './doctor.ts'

const about = 'service'

const onPath = async (program: string, path: string): Promise<boolean> => {
  for (const folder of path.split(delimiter))
    if (
      await access(join(folder, program), constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return true
  return false
}

export const service: Check = {
  name: 'service',
  run: async ({ env, roots }) => {
    const isRunning = await access(join(roots.run, 'systemd/system')).then(
      () => true,
      () => false,
    )
    if (!isRunning) return [ok(about, 'systemd does not run this machine: nothing is to be told to it')]
    if (!(await onPath('systemd-notify', env.PATH ?? '')))
      return [
        warn(
          about,
          'systemd-notify is not on the PATH',
          'Install the package systemd, or set Type=exec without a watchdog.',
        ),
      ]
    return [
      ok(
        about,
        env.NOTIFY_SOCKET
          ? 'systemd is told through systemd-notify'
          : 'systemd-notify is here for the service',
      ),
    ]
  },
}
