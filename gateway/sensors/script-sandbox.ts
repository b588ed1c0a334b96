/**
 * The process in which decoder scripts run: started by `script.ts`, without rights, and stopped by it. Each call has a
 * fresh global object of the language alone. Only text goes in and comes out, so nothing of this process can be reached.
 */
import { type Context, constants, createContext, Script } from 'node:vm'

/** One call. `input` is JSON of `{ bytes, fPort, recvTimeMs, variables }`. */
export type Call = { readonly id: number; readonly code: string; readonly input: string }

/** `output` is JSON of what the script returned; `error` is what went wrong, in words of the script. */
export type Answer = { readonly id: number } & ({ readonly output: string } | { readonly error: string })

// The process that started this one stops it sooner; where that one has died, this ends a script that does not end.
const latestMs = 2_000
const maxOutput = 16_384
const maxError = 200
const maxCompiled = 64

// Runs before the script and keeps what it needs: a script may change the globals it shares with this.
const keeper = new Script(
  `'use strict'
  {
    const { stringify, parse } = JSON
    const { freeze, defineProperty } = Object
    const { Date: Day, String: Text } = globalThis
    const answer = (decode, input) => {
      const { bytes, fPort, recvTimeMs, variables } = parse(input)
      const result = stringify(decode({ bytes, fPort, recvTime: new Day(recvTimeMs), variables }))
      if (typeof result !== 'string') throw 'the script returned nothing'
      if (result.length > ${maxOutput}) throw 'the script returned more than ${maxOutput} characters'
      return 'o' + result
    }
    const words = (error) => {
      try {
        return 'e' + Text(error).slice(0, ${maxError})
      } catch {
        return 'eit threw something without words'
      }
    }
    defineProperty(globalThis, '__answer', { value: freeze((decode, input) => {
      try {
        return answer(decode, input)
      } catch (error) {
        return words(error)
      }
    }) })
  }`,
  { filename: 'keeper' },
)

// TTN and ChirpStack v4 call decodeUplink; TTN v2 called Decoder(bytes, port), ChirpStack v3 Decode(fPort, bytes, variables).
const callOf = (input: string): Script =>
  new Script(
    `__answer(
      typeof decodeUplink === 'function' ? decodeUplink :
      typeof Decoder === 'function' ? (one) => ({ data: Decoder(one.bytes, one.fPort) }) :
      typeof Decode === 'function' ? (one) => ({ data: Decode(one.fPort, one.bytes, one.variables) }) :
      () => { throw 'there is no function decodeUplink' },
      ${JSON.stringify(input)})`,
    { filename: 'call' },
  )

const compiled = new Map<string, Script>()
const scriptOf = (code: string): Script => {
  const script = compiled.get(code) ?? new Script(code, { filename: 'script' })
  if (compiled.size >= maxCompiled) compiled.clear()
  compiled.set(code, script)
  return script
}

const run = (code: string, input: string): string => {
  const context: Context = createContext(constants.DONT_CONTEXTIFY, {
    codeGeneration: { strings: false, wasm: false },
    microtaskMode: 'afterEvaluate',
  })
  keeper.runInContext(context)
  scriptOf(code).runInContext(context, { timeout: latestMs })
  const said: unknown = callOf(input).runInContext(context, { timeout: latestMs })
  // Anything but text would be an object of the script's, which is not touched.
  return typeof said === 'string' ? said : 'ethe script put itself between'
}

const wordsOf = (error: unknown): string => {
  try {
    return String((error as Error).message ?? error).slice(0, maxError)
  } catch {
    return 'it threw something without words'
  }
}

process.on('message', ({ id, code, input }: Call) => {
  let answer: Answer
  try {
    const said = run(code, input)
    answer = said.startsWith('o') ? { id, output: said.slice(1) } : { id, error: said.slice(1) }
  } catch (error) {
    answer = { id, error: wordsOf(error) }
  }
  process.send?.(answer)
})
process.on('disconnect', () => process.exit())
process.send?.('ready')
