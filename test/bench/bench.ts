/** `npm run bench`: each part beside a baseline in the same run. It informs; it fails only where a measurement does. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { all } from './all.ts'
import { machine } from './machine.ts'
import type { Context, Measurement } from './measurement.ts'
import { facts, type Measured, met, table } from './table.ts'

const fullRounds = 7
const quickRounds = 3
const quickShare = 0.2

const wanted = (text: string): readonly Measurement[] =>
  text.split(',').map((name) => {
    const found = all.find((one) => one.name === name.trim())
    if (found === undefined)
      throw new InvalidArgumentError(
        `there is no ${name}; there are ${all.map((one) => one.name).join(', ')}.`,
      )
    return found
  })

const roundCount = (text: string): number => {
  const count = Number(text)
  if (!Number.isInteger(count) || count < 1 || count > 1000)
    throw new InvalidArgumentError('a whole number from 1 to 1000 is expected.')
  return count
}

type Options = {
  only?: readonly Measurement[]
  rounds?: number
  json?: string
  quick: boolean
  directory: string
}

const options = new Command('bench')
  .description('Measures the parts of Groundtruth, each beside a baseline in the same run.')
  .option('--only <names>', `some of ${all.map((one) => one.name).join(', ')}`, wanted)
  .option('--rounds <n>', `how often ours and the baseline take turns (default ${fullRounds})`, roundCount)
  .option('--quick', 'under a minute, and less certain', false)
  .option('--directory <path>', 'where the disk to be measured is', tmpdir())
  .option('--json <file>', 'write the result there too')
  .parse()
  .opts<Options>()

const measure = async (measurement: Measurement, directory: string): Promise<Measured> => {
  const context: Context = {
    rounds: options.rounds ?? (options.quick ? quickRounds : fullRounds),
    share: options.quick ? quickShare : 1,
    directory: mkdtempSync(join(directory, `${measurement.name}-`)),
  }
  const startedMs = performance.now()
  process.stderr.write(`${measurement.name} ... `)
  globalThis.gc?.() // each starts from a clean heap
  try {
    const result = await measurement.run(context)
    return 'skipped' in result
      ? { measurement, rows: [], skipped: result.skipped }
      : { measurement, rows: result }
  } catch (error) {
    process.exitCode = 1
    return { measurement, rows: [], failed: (error as Error).stack ?? String(error) }
  } finally {
    process.stderr.write(`${((performance.now() - startedMs) / 1000).toFixed(1)} s\n`)
  }
}

const directory = mkdtempSync(join(options.directory, 'groundtruth-bench-'))
process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => process.exit(130))

const on = machine(directory)
const startedMs = performance.now()
const results: Measured[] = []
for (const measurement of options.only ?? all) results.push(await measure(measurement, directory))
const seconds = Math.round((performance.now() - startedMs) / 1000)

const judged = results.flatMap(({ rows }) => rows.map(met)).filter((reached) => reached !== undefined)
process.stdout.write(
  `\n${facts(on)}\n\n${table(results)}\n\n` +
    `${judged.filter(Boolean).length} of ${judged.length} aims met in ${seconds} s. ` +
    'Ratios hold where absolute numbers move with the machine.\n',
)

if (options.json !== undefined) {
  const measured = results.map(({ measurement: { name, title, baseline, unit }, rows, skipped, failed }) => ({
    name,
    title,
    baseline,
    unit,
    ...(skipped === undefined ? {} : { skipped }),
    ...(failed === undefined ? {} : { failed }),
    rows: rows.map((row) => ({ ...row, met: met(row) ?? null })),
  }))
  writeFileSync(options.json, `${JSON.stringify({ machine: on, seconds, measured }, null, 2)}\n`)
}
