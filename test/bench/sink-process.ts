/** A broker that takes everything and counts it. */
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { Aedes } from 'aedes'
import { answerQuestions } from './processes.ts'

const pollMs = 20

let count = 0
let clients = 0

const listen = async (): Promise<number> => {
  const aedes = await Aedes.createBroker()
  aedes.on('publish', (_packet, client) => {
    if (client) count++
  })
  aedes.on('client', () => clients++)
  const server = createServer(aedes.handle).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Resolves when so many clients have come: what is sent before would be lost. */
const clientsCame = async (wanted: number): Promise<void> => {
  while (clients < wanted) await new Promise((resolve) => setTimeout(resolve, pollMs))
}

const received = async (wanted: number): Promise<void> => {
  while (count < wanted) await new Promise((resolve) => setTimeout(resolve, pollMs))
}

answerQuestions({ listen, clientsCame, received })
