/** The way to the hub, step by step: the broker's name, its port, TLS, and the credentials. */
import { lookup } from 'node:dns/promises'
import { readFileSync } from 'node:fs'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import mqtt from 'mqtt'
import { type Config, readSecret } from '../config.ts'
import { stationId } from '../reading/key.ts'
import { signToken } from '../reading/token.ts'
import { type Check, type Finding, fail, inTwo, ok, type Patient, warn } from './doctor.ts'
import { hubFindings } from './hub.ts'
import { existingSigner } from './key.ts'

const stepMs = 8_000

const schemes: Readonly<Record<string, { readonly port: number; readonly tls: boolean }>> = {
  'mqtt:': { port: 1883, tls: false },
  'mqtts:': { port: 8883, tls: true },
  'ws:': { port: 80, tls: false },
  'wss:': { port: 443, tls: true },
}

// MQTT 3.1.1 s3.2.2.3 and MQTT 5 s3.2.2.2.
const refusedCredentials: ReadonlySet<number> = new Set([4, 5, 134, 135])

const opened = (socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => socket.destroy(new Error(`no answer in ${stepMs / 1000} s`)), stepMs)
    socket.once('close', () => clearTimeout(timer))
    socket.once('error', reject).once(event, () => {
      socket.destroy()
      resolve()
    })
  })

const reason = (error: unknown): string => {
  const { code, message } = error as NodeJS.ErrnoException
  return code ?? message
}

type Session = { readonly client: mqtt.MqttClient } | { readonly finding: Finding }

const about = 'broker'

const login = async (
  config: Config,
  { env }: Patient,
  url: string,
  ca: string | undefined,
): Promise<Session> => {
  const { broker } = config.edge
  const signer = existingSigner(config, env)
  const station = signer && stationId(signer.publicKey)
  let password: string | undefined
  try {
    password = broker.passwordFile
      ? readSecret(broker.passwordFile)
      : signer && signToken(config.network, signer, Date.now())
  } catch (error) {
    return { finding: fail(about, ...inTwo(error)) }
  }
  const username = broker.username ?? station
  if (username === undefined || password === undefined)
    return {
      finding: warn(about, 'not logged in: this station has no key yet', 'Make one with: groundtruth key'),
    }
  const client = mqtt.connect(url, {
    // Not the station's own: the broker would end the session of a station that is running.
    clientId: `${username.slice(0, 40)}-doctor-${process.pid}`,
    username,
    password,
    clean: true,
    reconnectPeriod: 0,
    connectTimeout: stepMs,
    ...(ca === undefined ? {} : { ca }),
  })
  return new Promise((resolve) => {
    const refused = (error: Error & { code?: unknown }): void => {
      client.end(true)
      const isCredentials = typeof error.code === 'number' && refusedCredentials.has(error.code)
      resolve({
        finding: isCredentials
          ? fail(
              about,
              `it does not accept the credentials of ${username}`,
              'Check edge.broker.username and passwordFile, the network id, and that the hub knows this station.',
            )
          : fail(
              about,
              `it does not speak MQTT as expected: ${error.message}`,
              'Check the scheme and port in edge.broker.url.',
            ),
      })
    }
    client.once('connect', () => resolve({ client })).on('error', refused)
    client.once('close', () => refused(new Error('the connection was closed')))
  })
}

const way = async (config: Config, patient: Patient): Promise<Finding[]> => {
  const { url, caFile } = config.edge.broker
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  const scheme = parsed && schemes[parsed.protocol]
  if (!parsed || !scheme || !parsed.hostname)
    return [fail(about, 'edge.broker.url is not an address', 'Write mqtt://host:1883 or mqtts://host:8883.')]
  const host = parsed.hostname.replace(/^\[|\]$/g, '')
  const port = Number(parsed.port) || scheme.port
  const found: Finding[] = []
  try {
    const { address } = await lookup(host)
    found.push(ok(about, address === host ? `${host} is an address` : `${host} is ${address}`))
  } catch (error) {
    return [
      fail(
        about,
        `${host} does not resolve (${reason(error)})`,
        'Check its spelling in edge.broker.url, and this network’s DNS.',
      ),
    ]
  }
  try {
    await opened(connectTcp({ host, port }), 'connect')
    found.push(ok(about, `port ${port} answers`))
  } catch (error) {
    found.push(
      fail(
        about,
        `port ${port} of ${host} cannot be reached (${reason(error)})`,
        'Start the broker, and check the port and firewalls between.',
      ),
    )
    return found
  }
  let ca: string | undefined
  if (scheme.tls)
    try {
      ca = caFile === undefined ? undefined : readFileSync(caFile, 'utf8')
      const servername = /^[\d.]+$|:/.test(host) ? {} : { servername: host }
      await opened(connectTls({ host, port, ...servername, ...(ca ? { ca } : {}) }), 'secureConnect')
      found.push(ok(about, 'TLS: its certificate is valid'))
    } catch (error) {
      found.push(
        fail(
          about,
          `TLS fails (${reason(error)})`,
          'Check its certificate’s name and end, this clock, and edge.broker.caFile for a private authority.',
        ),
      )
      return found
    }
  const session = await login(config, patient, url, ca)
  if ('finding' in session) return [...found, session.finding]
  try {
    found.push(ok(about, 'the credentials are accepted'))
    found.push(...(await hubFindings(session.client, config, patient)))
  } finally {
    await session.client.endAsync(true).catch(() => undefined)
  }
  return found
}

export const broker: Check = {
  name: 'broker',
  run: async (patient) => (patient.config ? way(patient.config, patient) : []),
}
