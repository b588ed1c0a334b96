/** A driver's complaint about its settings, as a mistake in the configuration. */
import { inWords, shown, type Told, valueAt } from './mistakes.ts'
import type { Settings } from './sensors/sensors.ts'
import { SettingError } from './sensors/settings.ts'

/** The line for an error that a driver threw for `settings`, which stand at `path`. */
export const settingMistake = (
  error: unknown,
  settings: Settings,
  path: readonly PropertyKey[],
  told: Told,
): string => {
  if (!(error instanceof SettingError)) {
    const message = error instanceof Error ? error.message : String(error)
    return told(path, 'settings that fit the driver', message.replaceAll('\n', ' '))
  }
  const place = [...path, ...error.path]
  if (error.expected === undefined) {
    const { shape } = error.schema as { shape?: Readonly<Record<string, unknown>> }
    const known = error.path.length === 1 && shape ? Object.keys(shape) : []
    const expected = known.length === 0 ? 'no setting here' : `one of the settings ${known.join(', ')}`
    return told(place, expected, `the name ${JSON.stringify(error.path.at(-1))}`, 'name')
  }
  return told(place, inWords(error.expected), shown(valueAt(settings, error.path), place))
}
