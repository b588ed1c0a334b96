/** `groundtruth doctor` */
import type { Config } from '../config.ts'
import { checks } from '../doctor/all.ts'
import { type Finding, fail, type Level, type Patient } from '../doctor/doctor.ts'
import { exitCodes } from '../exit.ts'
import { systemRoots } from '../link/ports.ts'
import type { SharedOptions } from '../main.ts'
import { ConfigError } from '../mistakes.ts'
import { configured, stopSignal } from './running.ts'

const marks: Readonly<Record<Level, string>> = { ok: 'ok  ', warn: 'warn', fail: 'FAIL' }

const line = ({ level, about, found, next }: Finding): string =>
  `${marks[level]}  ${about}: ${found}\n${next === undefined ? '' : `      -> ${next}\n`}`

const configurationOf = (options: SharedOptions): Pick<Patient, 'config' | 'configError'> => {
  try {
    return { config: configured(options) satisfies Config, configError: undefined }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { config: undefined, configError: error.message }
  }
}

/** Looks at everything a station needs, and says what to do; ends with 1 where something fails. */
export const doctor = async (
  options: SharedOptions & { readonly json: boolean; readonly listen: number },
): Promise<void> => {
  const signal = stopSignal()
  const patient: Patient = {
    file: options.config,
    ...configurationOf(options),
    env: process.env,
    roots: { ...systemRoots, run: '/run' },
    nowMs: Date.now,
    listenS: options.listen,
  }
  const all: (Finding & { check: string })[] = []
  for (const { name, run } of checks) {
    const findings = await run(patient, signal).catch((error: Error): readonly Finding[] => {
      if (signal.aborted) throw error
      return [
        fail(
          name,
          `the check itself failed: ${error.message}`,
          'This is a mistake of Groundtruth; please report it.',
        ),
      ]
    })
    for (const finding of findings) {
      all.push({ check: name, ...finding })
      if (!options.json) process.stdout.write(line(finding))
    }
  }
  const count = (level: Level): number => all.filter((one) => one.level === level).length
  const failed = count('fail')
  if (options.json) process.stdout.write(`${JSON.stringify({ ok: failed === 0, checks: all }, null, 2)}\n`)
  else process.stdout.write(`\n${count('ok')} ok, ${count('warn')} to look at, ${failed} failed\n`)
  if (failed > 0) process.exitCode = exitCodes.failed
}
