/** `groundtruth verify FILE [--answer FILE] [--rpc URL] [--json]` */
import { open } from 'node:fs/promises'
import { bundleBounds } from '../reading/bundle.ts'
import { toHex } from '../reading/bytes.ts'
import { checkAnswer } from './answer.ts'
import { type ChainReport, verifyOnChain } from './chain.ts'
import { counted, type Report, type Step, stepNames } from './report.ts'
import { rowsOf } from './rows.ts'
import { NodeError, nodeAt } from './rpc.ts'
import { verifyBundle } from './verify.ts'

export type VerifyOptions = {
  readonly file: string
  /** The answer that was bought, to be compared with what is proven. */
  readonly answer?: string | undefined
  /** Address of an Ethereum node; without it nothing is asked of any chain. */
  readonly rpc?: string | undefined
  /** One JSON object with every proven reading instead of words. */
  readonly json: boolean
}

/** Where the words go; `process.stdout` is one. */
export type Out = { write(text: string): unknown }

/** Exit codes: it holds, it does not; after BSD sysexits, the file cannot be read, the node cannot be asked. */
const exits = { verified: 0, failed: 1, noInput: 66, unavailable: 69 } as const

const marks = { passed: '✓', warned: '!', failed: '✗' } as const
const width = Math.max(...stepNames.map((name) => name.length))
// Further lines under one step; --json has them all.
const maxDetails = 20

// 100,000 rows, as many as one sale has, are some 50 MB of JSON.
const maxAnswerBytes = 256 << 20

/** Words that may have in them what a hub wrote: without what a terminal would obey. */
const shown = (text: string): string => text.replaceAll(/\p{C}+/gu, ' ')

const stepLines = ({ name, state, text, details = [] }: Step): string => {
  const indent = ' '.repeat(width + 6)
  const more = details.length - maxDetails
  const lines = [...details.slice(0, maxDetails), ...(more > 0 ? [`and ${more} more`] : [])]
  return [
    `${marks[state]} ${name.padEnd(width)}  ${shown(text)}`,
    ...lines.map((line) => `${indent}${shown(line)}`),
  ].join('\n')
}

/** The last line: what a reader should take home. */
const verdict = (
  report: Report,
  answer: Step | undefined,
  onChain: ChainReport | undefined,
  rpc: string | undefined,
): string => {
  const failure = report.failure ?? (answer?.state === 'failed' ? answer : undefined) ?? onChain?.failure
  if (failure) return `FAILED: ${shown(failure.text)}.`
  const proven = `${counted(report.readings.length, 'reading')} proven, from the sensor's station to the root`
  const where = rpc === undefined ? '' : ' on the chain'
  const unsure = answer?.state === 'warned' ? ' Of the answer not everything is proven: see "answer".' : ''
  const rest = report.complete ? '' : ' The time asked is not covered completely: see "sequence".'
  const hint =
    rpc === undefined
      ? '\nWhether the root is on the chain was not asked: give the address of a node with --rpc.'
      : ''
  return `VERIFIED: ${proven}${where}.${rest}${unsure}${hint}`
}

/** Bytes of a receipt as hex, which JSON can hold. */
const plain = (_: string, value: unknown): unknown => (value instanceof Uint8Array ? toHex(value) : value)

const writeJson = (
  report: Report,
  steps: readonly Step[],
  ok: boolean,
  onChain: ChainReport | undefined,
  out: Out,
): void => {
  const { readings, ...rest } = report
  const failed = steps.find(({ state }) => state === 'failed')
  const whole = {
    ...rest,
    ok,
    failure: report.failure ?? onChain?.failure ?? (failed ? { step: failed.name, text: failed.text } : null),
    steps,
    onChain: onChain?.anchors ?? null,
  }
  // Row by row: millions of them would not fit into one string.
  out.write(`${JSON.stringify(whole, plain).slice(0, -1)},"readings":[`)
  let first = true
  for (const row of whole.ok ? rowsOf(readings) : []) {
    out.write(`${first ? '' : ','}\n${JSON.stringify(row)}`)
    first = false
  }
  out.write(']}\n')
}

/** The whole file; undefined with the reason, and what to name instead, written where there is none. */
const readBounded = async (
  file: string,
  { most, what, hint }: { readonly most: number; readonly what: string; readonly hint: string },
  out: Out,
): Promise<Uint8Array | undefined> => {
  try {
    await using handle = await open(file, 'r')
    const { size } = await handle.stat()
    if (size > most) {
      out.write(`${file} has ${counted(size, 'byte')}; ${what} has at most ${most}.\n`)
      return undefined
    }
    return new Uint8Array(await handle.readFile())
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const why =
      code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'it is a directory' : message
    out.write(`${file} cannot be read: ${why}. ${hint}\n`)
    return undefined
  }
}

const bundleFile = {
  most: bundleBounds.maxBytes,
  what: 'a bundle',
  hint: 'Name a bundle file, as GET /v1/bundle gives it.',
} as const

const boughtFile = {
  most: maxAnswerBytes,
  what: 'an answer',
  hint: 'Name the answer that was bought, as GET /v1/readings gave it.',
} as const

/**
 * Verifies a bundle file and says what was checked. Resolves to the exit code: 0 when everything holds, 1 when
 * something does not (the last line names the first of it), 66 without a file, 69 when the node cannot be asked.
 */
export const verifyCommand = async (
  { file, answer: answerFile, rpc, json }: VerifyOptions,
  out: Out,
): Promise<number> => {
  const bytes = await readBounded(file, bundleFile, out)
  if (bytes === undefined) return exits.noInput
  const bought = answerFile === undefined ? undefined : await readBounded(answerFile, boughtFile, out)
  if (answerFile !== undefined && bought === undefined) return exits.noInput
  const report = verifyBundle(bytes)
  const answer = bought === undefined || !report.ok ? undefined : checkAnswer(report, bought)
  let onChain: ChainReport | undefined
  if (report.ok && rpc !== undefined)
    try {
      onChain = await verifyOnChain(report, nodeAt(rpc))
    } catch (error) {
      if (!(error instanceof NodeError)) throw error
      out.write(`${error.message}\n`)
      return exits.unavailable
    }
  const ok = report.ok && answer?.state !== 'failed' && (onChain?.ok ?? true)
  const steps = [...report.steps, ...(answer === undefined ? [] : [answer]), ...(onChain?.steps ?? [])]
  if (json) writeJson(report, steps, ok, onChain, out)
  else {
    for (const step of steps) out.write(`${stepLines(step)}\n`)
    out.write(`${verdict(report, answer, onChain, rpc)}\n`)
  }
  return ok ? exits.verified : exits.failed
}
