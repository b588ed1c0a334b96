/** The least a gateway can do: split lines, parse them, make JSON. It signs nothing, keeps nothing, sends nothing. */
import { createConnection } from 'node:net'
import { answerQuestions, cpuUs } from './processes.ts'

const names: Readonly<Record<string, string>> = { T: 'temperature', H: 'humidity', P: 'pressure' }

const pollMs = 20

let readings = 0
let bytes = 0

const take = (line: string): void => {
  const values: Record<string, number> = {}
  for (const pair of line.split(',')) {
    const [name = '', value = ''] = pair.split('=')
    values[names[name] ?? name] = Number(value)
  }
  bytes += JSON.stringify({ sensor: 'garden', time: Date.now(), ...values }).length
  readings++
}

const start = ({ linesPort }: { linesPort: number }): void => {
  let rest = ''
  createConnection({ host: '127.0.0.1', port: linesPort, noDelay: true })
    .setEncoding('latin1')
    .on('data', (text: string) => {
      const whole = (rest + text).split('\r\n')
      rest = whole.pop()!
      for (const line of whole) take(line)
    })
}

const handled = async (count: number): Promise<number> => {
  while (readings < count) await new Promise((resolve) => setTimeout(resolve, pollMs))
  return bytes
}

answerQuestions({ start, handled, cpu: cpuUs })
