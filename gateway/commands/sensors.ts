/** `groundtruth sensors` */
import { z } from 'zod'
import { exitCodes } from '../exit.ts'
import { drivers } from '../sensors/all.ts'
import type { Driver } from '../sensors/sensors.ts'
import { SettingError } from '../sensors/settings.ts'
import { checkingSurroundings } from '../surroundings.ts'
import { type Node, settingsOf } from './config.ts'

// A name that no driver has: what is said about it carries the schema of those that there are.
const noSetting = { '': '' }

/** The settings of a driver as JSON Schema; undefined where it does not tell them. */
export const driverSettings = (driver: Driver): Node | undefined => {
  try {
    driver.configure(noSetting, checkingSurroundings)
  } catch (error) {
    if (error instanceof SettingError)
      return z.toJSONSchema(error.schema, { io: 'input', unrepresentable: 'any' }) as Node
  }
  return undefined
}

const summaryOf = ({ model, title, baudRate, source }: Driver) => ({ model, title, baudRate, source })

const settingLines = (driver: Driver): string[] => {
  const schema = driverSettings(driver)
  const settings = schema ? settingsOf(schema, '') : []
  if (settings.length === 0) return ['  settings   none']
  return [
    '  settings',
    ...settings.map(({ path, kind, usual, meaning }) =>
      `    ${path}: ${kind}${usual && `, usually ${usual}`}${meaning && `. ${meaning}`}`.trimEnd(),
    ),
  ]
}

// Where the other side calls, and this one listens.
const listening: Readonly<Record<string, string>> = {
  'lorawan-gwmp': 'udp://127.0.0.1:1700',
  'lorawan-basics-station': 'ws://127.0.0.1:1887',
}

/** One driver: what it reads, its settings, and how it stands in a configuration. */
export const driverPage = (driver: Driver): string => {
  const { model, title, baudRate, source, silenceS, examples } = driver
  const set = examples.find(({ settings }) => settings && Object.keys(settings).length > 0)?.settings
  return [
    `${model}: ${title}`,
    `  source     ${source}`,
    `  baud rate  ${model in listening ? 'none, it is reached over the network' : baudRate}`,
    `  silence    after ${silenceS} s without a frame the link is opened again`,
    ...settingLines(driver),
    '  in station.yaml, under edge.sensors',
    `    - id: ${model.split('-').at(-1)}`,
    `      model: ${model}`,
    `      link: ${listening[model] ?? '/dev/serial/by-id/...'}`,
    ...(set ? [`      settings: ${JSON.stringify(set)}`] : []),
    '  tried with',
    ...examples.map((example) => `    ${example.title} (${example.source})`),
    '',
  ].join('\n')
}

/** Lists the drivers, or shows one. */
export const sensors = async (model: string | undefined, options: { json: boolean }): Promise<void> => {
  if (model === undefined) {
    const shown = drivers.map(summaryOf)
    if (options.json) process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`)
    else
      for (const { model, title, baudRate } of shown)
        process.stdout.write(`${model.padEnd(16)} ${String(baudRate).padStart(6)} baud  ${title}\n`)
    return
  }
  const driver = drivers.find((one) => one.model === model)
  if (!driver) {
    const models = drivers.map((one) => one.model).join(', ')
    process.stderr.write(
      `there is no sensor model ${JSON.stringify(model.slice(0, 64))}.\nUse one of ${models}.\n`,
    )
    process.exitCode = exitCodes.usage
    return
  }
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ ...summaryOf(driver), silenceS: driver.silenceS, settings: driverSettings(driver) ?? null }, null, 2)}\n`
      : driverPage(driver),
  )
}
