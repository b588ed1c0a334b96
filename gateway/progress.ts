/** Shows how starting goes: a task list on a terminal, plain lines elsewhere. */
import { Listr } from 'listr2'

export type Step = <T>(title: string, work: () => Promise<T>) => Promise<T>

/** A terminal without a width, as some containers have, would get one letter per line. */
export const isTerminal = (stream: NodeJS.WriteStream): boolean =>
  stream.isTTY === true && stream.columns > 20

const onTerminal: Step = async <T>(title: string, work: () => Promise<T>): Promise<T> => {
  let result: T
  await new Listr([
    {
      title,
      task: async () => {
        result = await work()
      },
    },
  ]).run()
  return result!
}

/** Steps shown on standard error. */
export const showSteps = (stream: NodeJS.WriteStream): Step =>
  isTerminal(stream)
    ? onTerminal
    : async (title, work) => {
        const startedMs = performance.now()
        const result = await work()
        stream.write(`${title}: ready (${((performance.now() - startedMs) / 1000).toFixed(1)} s)\n`)
        return result
      }
