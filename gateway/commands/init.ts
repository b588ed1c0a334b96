/** `groundtruth init` */
import { closeSync, existsSync, fsyncSync, linkSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { createInterface } from 'node:readline/promises'
import { loadConfig } from '../config.ts'
import { DataDirectoryError } from '../data-lock.ts'
import { discover, type Found } from '../discover.ts'
import { exitCodes } from '../exit.ts'
import { LinkError } from '../link/link.ts'
import { linkForms, linkNamed } from '../link/named.ts'
import { systemRoots } from '../link/ports.ts'
import type { SharedOptions } from '../main.ts'
import { ConfigError, shown } from '../mistakes.ts'
import { proposedSensors, type Question, stationYaml } from '../proposal.ts'
import { configuredDevices } from '../station.ts'
import { stopSignal } from './running.ts'

export type InitOptions = SharedOptions & {
  readonly yes: boolean
  readonly json: boolean
  readonly force: boolean
  readonly ports: boolean
  readonly link: readonly string[]
  readonly broker: string
  readonly listen: number
}

const existing = (file: string): DataDirectoryError =>
  new DataDirectoryError(
    `${file} is there already and is left as it is.\nReplace it with --force, or write another one with --config FILE.`,
  )

/**
 * Puts a text where nobody ever sees half of it: written beside, checked, then given its name. Without `force` a file
 * that has appeared meanwhile stays. Nothing is left behind when it fails.
 */
export const writeWhole = (
  file: string,
  text: string,
  force: boolean,
  check: (path: string) => void,
): void => {
  const beside = `${file}.${process.pid}.new`
  try {
    const descriptor = openSync(beside, 'wx', 0o644)
    try {
      writeSync(descriptor, text)
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    check(beside)
    if (force) renameSync(beside, file)
    else linkSync(beside, file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw existing(file)
    throw error
  } finally {
    rmSync(beside, { force: true })
  }
}

const isReadable = (path: string): void => {
  const config = loadConfig({ file: path, env: {} })
  configuredDevices(config.edge, config.told)
}

const checkLinks = (links: readonly string[]): void => {
  for (const link of links)
    try {
      linkNamed(link, { baudRate: 9600 })
    } catch (error) {
      if (!(error instanceof LinkError)) throw error
      throw new ConfigError(`--link: expected ${linkForms}, got ${shown(link)}`)
    }
}

type Ask = (question: string) => Promise<string>

/** One of the choices by its number; nothing where the answer is empty. */
const chosen = async (ask: Ask, link: string, { why, choices }: Question): Promise<string | undefined> => {
  const list = choices.map(([, title], index) => `  ${index + 1}  ${title}\n`).join('')
  for (;;) {
    const said = await ask(`\n${link}: ${why}.\n${list}Which one (Enter leaves it open)? `)
    if (said === '') return undefined
    const choice = choices[Number(said) - 1]
    if (choice) return choice[0]
  }
}

const summary = (found: readonly Found[]): object[] =>
  found.map(({ link, port, adapter, finding }) => ({
    link,
    port: port?.path ?? null,
    adapter: adapter?.what ?? null,
    ...finding,
    ...(finding.kind === 'recognised' ? { frame: Buffer.from(finding.frame).toString('hex') } : {}),
  }))

/** Finds what is plugged in and writes a station.yaml for it. */
export const init = async (options: InitOptions): Promise<void> => {
  const file = options.config ?? 'station.yaml'
  if (existsSync(file) && !options.force) throw existing(file)
  checkLinks(options.link)
  const network = options.network ?? loadConfig({ env: {} }).network
  const signal = stopSignal()
  const answersCome = !options.yes && process.stdin.isTTY === true && process.stderr.isTTY === true
  const lines = answersCome ? createInterface({ input: process.stdin, output: process.stderr }) : undefined
  // Ctrl-C and Ctrl-D at a question are an answer, too; nobody else would hear of them.
  const left = new AbortController()
  lines?.on('SIGINT', () => left.abort()).on('close', () => left.abort())
  const over = AbortSignal.any([signal, left.signal])
  const ask: Ask = async (question) => (await lines!.question(question, { signal: over })).trim()
  try {
    const found = await discover(
      {
        roots: systemRoots,
        ports: options.ports,
        links: options.link,
        listenMs: options.listen * 1000,
        told: (link, what) => void process.stderr.write(`${link}: ${what}\n`),
      },
      over,
    )
    const sensors = await proposedSensors(found, async (link, question) =>
      lines ? chosen(ask, link, question) : undefined,
    )
    const yaml = stationYaml({ network, brokerUrl: options.broker }, sensors, found)
    const tell = (written: boolean, words: string): void => {
      if (options.json)
        process.stdout.write(`${JSON.stringify({ file, written, found: summary(found), yaml }, null, 2)}\n`)
      process.stderr.write(`\n${words}\n`)
    }
    if (sensors.length === 0) {
      tell(
        false,
        found.length === 0
          ? 'No serial port was found, and nothing was written.\nPlug a sensor in, or name a link with --link tcp://host:port.'
          : 'No sensor was recognised, and nothing was written.\nCheck power and wiring; "groundtruth sensors" lists what can be read, --listen SECONDS waits longer.',
      )
      process.exitCode = exitCodes.failed
      return
    }
    if (!options.json) process.stdout.write(`\n${yaml}\n`)
    const agreed =
      options.yes || (lines !== undefined && /^(y|yes|)$/i.test(await ask(`Write ${file} [Y/n]? `)))
    over.throwIfAborted()
    if (!agreed) {
      tell(false, `Nothing was written. "groundtruth init --yes" writes ${file}.`)
      process.exitCode = lines === undefined ? exitCodes.usage : exitCodes.ok
      return
    }
    writeWhole(file, yaml, options.force, isReadable)
    tell(
      true,
      `${file} is written. See what the sensors say with:\n  groundtruth run --config ${file} --test`,
    )
  } catch (error) {
    if (!over.aborted) throw error
    process.stderr.write('\nNothing was written.\n')
    process.exitCode = 130
  } finally {
    lines?.close()
  }
}
