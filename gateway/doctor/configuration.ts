/** Whether the configuration can be read, and names sensors that a driver can be made of. */
import { statSync } from 'node:fs'
import { configuredDevices } from '../station.ts'
import { type Check, type Finding, fail, ok, warn } from './doctor.ts'

const about = 'configuration'

const mistakes = (message: string): Finding[] =>
  message
    .split('\n')
    .map((line) => fail(about, line, 'Correct that line; "groundtruth config" lists every setting.'))

/** Files named in the configuration that hold secrets, and whether others may read them. */
const secretsOf = (paths: readonly (string | undefined)[]): Finding[] =>
  paths.flatMap((path) => {
    if (path === undefined) return []
    const mode = statSync(path, { throwIfNoEntry: false })?.mode
    if (mode === undefined)
      return [fail(about, `${path} is not there`, 'Create it, or take it out of the configuration.')]
    return (mode & 0o077) === 0
      ? [ok(about, `${path} is its owner's alone`)]
      : [
          fail(
            about,
            `${path} can be read by others (mode ${(mode & 0o777).toString(8)})`,
            `Run: chmod 600 ${path}`,
          ),
        ]
  })

export const configuration: Check = {
  name: 'configuration',
  run: async ({ file, config, configError }) => {
    if (configError !== undefined) return mistakes(configError)
    if (config === undefined) return []
    const secrets = secretsOf([config.edge.broker.passwordFile])
    try {
      const devices = configuredDevices(config.edge, config.told)
      const source = file ?? 'defaults and environment'
      if (devices.length === 0)
        return [
          warn(about, `${source}: no sensors`, 'Run "groundtruth init", or name a file with --config FILE.'),
          ...secrets,
        ]
      return [
        ok(about, `${source}: ${devices.map(({ id, model }) => `${id} (${model})`).join(', ')}`),
        ...secrets,
      ]
    } catch (error) {
      return [...mistakes((error as Error).message), ...secrets]
    }
  },
}
