/** A real Node-RED with one flow: lines from TCP, parsed, as JSON to an MQTT broker. */
import { spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { cpuOf, keepProcess, stopProcess } from './processes.ts'

const parse = `
const names = { T: 'temperature', H: 'humidity', P: 'pressure' }
const values = {}
for (const pair of msg.payload.trim().split(',')) {
  const [name, value] = pair.split('=')
  values[names[name] ?? name] = Number(value)
}
return { topic: 'bench/garden', payload: { sensor: 'garden', time: Date.now(), ...values } }
`

// A node without a place on the canvas is taken for a configuration node.
const on = { z: 'tab', x: 100, y: 100 }

const flow = (linesPort: number, brokerPort: number) => [
  { id: 'tab', type: 'tab', label: 'bench' },
  {
    id: 'in',
    ...on,
    type: 'tcp in',
    server: 'client',
    host: '127.0.0.1',
    port: String(linesPort),
    datamode: 'stream',
    datatype: 'utf8',
    newline: '\\r\\n',
    topic: '',
    wires: [['parse']],
  },
  { id: 'parse', ...on, type: 'function', func: parse, outputs: 1, libs: [], wires: [['json']] },
  { id: 'json', ...on, type: 'json', property: 'payload', action: 'str', wires: [['out']] },
  {
    id: 'out',
    ...on,
    type: 'mqtt out',
    topic: '',
    qos: '1',
    retain: 'false',
    broker: 'broker',
    wires: [],
  },
  {
    id: 'broker',
    type: 'mqtt-broker',
    broker: '127.0.0.1',
    port: String(brokerPort),
    protocolVersion: '4',
    keepalive: '60',
    cleansession: true,
    autoConnect: true,
  },
]

// No editor, no telemetry: the flow alone, as one would run it on a gateway.
const settings = `module.exports = {
  flowFile: 'flows.json', uiHost: '127.0.0.1', uiPort: 0, httpAdminRoot: false, httpNodeRoot: false,
  credentialSecret: false, telemetry: { enabled: false }, logging: { console: { level: 'warn' } },
  diagnostics: { enabled: false }, runtimeState: { enabled: false },
}
`

export type NodeRed = AsyncDisposable & { readonly pid: number; readonly cpu: () => Promise<number> }

/** Starts it in a directory of its own; it connects to both ports by itself. */
export const startNodeRed = async (
  directory: string,
  linesPort: number,
  brokerPort: number,
): Promise<NodeRed> => {
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, 'flows.json'), JSON.stringify(flow(linesPort, brokerPort)))
  const settingsFile = join(directory, 'settings.js')
  writeFileSync(settingsFile, settings)
  const red = createRequire(import.meta.url).resolve('node-red/red.js')
  const child = keepProcess(
    spawn(process.execPath, [red, '--userDir', directory, '--settings', settingsFile], { stdio: 'ignore' }),
  )
  const pid = child.pid!
  return { pid, cpu: async () => cpuOf(pid), [Symbol.asyncDispose]: () => stopProcess(child) }
}
