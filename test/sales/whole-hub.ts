/** A whole hub that sells, as a program, with a simulated station in front of it and a buyer that has a dollar. */
import { onTestFinished } from 'vitest'
import { checkedFetch } from '#test/answers.ts'
import { type Running, start } from '#test/kill/process.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { until } from '#test/until.ts'

export type SellingHub = {
  /** The address of its API. */
  readonly http: string
  /** The buyer's key. */
  readonly key: string
  /** What the hub has said so far. */
  readonly said: () => string
  /** Ends the hub and starts it again, where it was and on what it had. */
  readonly restart: (signal: NodeJS.Signals) => Promise<void>
  /** Ends the station. */
  readonly stopStation: () => Promise<void>
}

/** Starts both; `settings` go over those that the hub has here. */
export const startSellingHub = async (
  settings: Readonly<Record<string, string>> = {},
): Promise<SellingHub> => {
  const data = temporaryDirectory()
  const startHub = (http: string, mqtt: string): Running =>
    start(['hub', '--http-port', http, '--mqtt-port', mqtt, '--rpc-port', '0', '--data', data], {
      GROUNDTRUTH_HUB__MARKET__SELL: 'true',
      GROUNDTRUTH_HUB__MARKET__STARTERMICROUSD: '1000000',
      GROUNDTRUTH_HUB__ANCHOR__FIRSTAGES: '1',
      GROUNDTRUTH_HUB__ANCHOR__MAXAGES: '1',
      ...settings,
    })
  let hub = startHub('0', '0')
  onTestFinished(async () => void (await hub.stop('SIGKILL')))
  const find = (pattern: RegExp) => until(`${pattern}`, 60, async () => pattern.exec(hub.said())?.[1])
  const http = await find(/(http:\/\/127\.0\.0\.1:\d+)/)
  const { fetch } = globalThis
  globalThis.fetch = checkedFetch(http, fetch)
  onTestFinished(() => {
    globalThis.fetch = fetch
  })
  const broker = await find(/(mqtt:\/\/[^\s"]+:\d+)/)
  const fleet = start(
    ['sim', '--stations', '1', '--interval', '0.2', '--broker', broker, '--data', temporaryDirectory()],
    { GROUNDTRUTH_EDGE__ENVELOPE__MAXAGES: '0.5' },
  )
  onTestFinished(async () => void (await fleet.stop('SIGKILL')))
  const signUp = await globalThis.fetch(`${http}/v1/keys`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  })
  const { key } = (await signUp.json()) as { key: string }
  return {
    http,
    key,
    said: () => hub.said(),
    restart: async (signal) => {
      await hub.stop(signal)
      hub = startHub(new URL(http).port, new URL(broker).port)
      await find(/(http:\/\/127\.0\.0\.1:\d+)/)
    },
    stopStation: async () => void (await fleet.stop('SIGTERM')),
  }
}
