/** A whole hub that sells, as a program, with a simulated station in front of it and a buyer that has a dollar. */
import { onTestFinished } from 'vitest'
import { checkedFetch } from '#test/answers.ts'
import { start } from '#test/kill/process.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { until } from '#test/until.ts'

/** The address of its API, the buyer's key, and what the hub has said so far; `settings` go over those it has here. */
export const startSellingHub = async (
  settings: Readonly<Record<string, string>> = {},
): Promise<{
  readonly http: string
  readonly key: string
  readonly said: () => string
}> => {
  const hub = start(
    ['hub', '--http-port', '0', '--mqtt-port', '0', '--rpc-port', '0', '--data', temporaryDirectory()],
    {
      GROUNDTRUTH_HUB__MARKET__SELL: 'true',
      GROUNDTRUTH_HUB__MARKET__STARTERMICROUSD: '1000000',
      GROUNDTRUTH_HUB__ANCHOR__FIRSTAGES: '1',
      GROUNDTRUTH_HUB__ANCHOR__MAXAGES: '1',
      ...settings,
    },
  )
  onTestFinished(async () => void (await hub.stop('SIGKILL')))
  const find = (pattern: RegExp) => until(`${pattern}`, 60, async () => pattern.exec(hub.said())?.[1])
  const http = await find(/(http:\/\/127\.0\.0\.1:\d+)/)
  const { fetch } = globalThis
  globalThis.fetch = checkedFetch(http, fetch)
  onTestFinished(() => {
    globalThis.fetch = fetch
  })
  const broker = await find(/(mqtt:\/\/\S+:\d+)/)
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
  return { http, key, said: hub.said }
}
