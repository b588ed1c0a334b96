/** `groundtruth sensors` */
import { drivers } from '../sensors/all.ts'

/** Lists the drivers. */
export const sensors = async (options: { json: boolean }): Promise<void> => {
  const shown = drivers.map(({ model, title, baudRate, source }) => ({ model, title, baudRate, source }))
  if (options.json) process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`)
  else
    for (const { model, title, baudRate } of shown)
      process.stdout.write(`${model.padEnd(16)} ${String(baudRate).padStart(6)} baud  ${title}\n`)
}
