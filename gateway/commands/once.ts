/** `groundtruth run --once`: one round of readings, signed, sent, and answered by the hub. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Device } from '../device.ts'
import type { Edge } from '../edge.ts'
import { exitCodes } from '../exit.ts'
import { type StationOptions, startStation } from '../station.ts'
import { log } from './running.ts'

// Sensors that report once a minute are common; those that sleep longer need --for.
const usualWaitS = 90
const receiptMs = 30_000
const lookMs = 50
// Readings of one round go into one envelope where they come together, and wait for no more.
const sealS = 0.2
const sealedMs = 1_000

/** The same device, whose wire is closed and stays closed once its reading has come. */
const once = (device: Device, isDone: () => boolean): Device => ({
  ...device,
  opener: {
    name: device.opener.name,
    open: async (signal) => {
      while (isDone()) await sleep(lookMs * 10, undefined, { signal })
      const wire = await device.opener.open(signal)
      const timer = setInterval(() => {
        if (isDone()) wire.destroy()
      }, lookMs)
      wire.once('close', () => clearInterval(timer))
      return wire
    },
  },
})

const missing = ({ id, link, lastRefusal }: Edge['status']['sensors'][number]): string => {
  if (lastRefusal)
    return `${id}: no reading; the last frame was refused (${lastRefusal.reason}): ${lastRefusal.detail}`
  return `${id}: no reading; ${link.lastError ?? (link.open ? `${link.bytes} bytes came` : 'its link did not open')}`
}

/** Ends with 1, saying what did not come, unless every sensor gave a reading and the hub's receipt is here. */
export const runOnce = async (
  options: StationOptions,
  { for: waitS = usualWaitS }: { readonly for?: number },
  signal: AbortSignal,
): Promise<void> => {
  const over = new AbortController()
  const running = AbortSignal.any([signal, over.signal])
  let edge: Edge | undefined
  const hasRead = (at: number): boolean => (edge?.status.sensors[at]?.readings ?? 0) > 0
  const station = await startStation(
    {
      ...options,
      config: {
        ...options.config,
        envelope: { ...options.config.envelope, maxAgeS: Math.min(sealS, options.config.envelope.maxAgeS) },
      },
      devices: options.devices.map((device, at) => once(device, () => hasRead(at))),
    },
    running,
  )
  edge = station
  station.done.catch(() => over.abort())

  const until = async (ms: number, isDone: () => boolean): Promise<boolean> => {
    const endMs = performance.now() + ms
    while (!running.aborted && !isDone() && performance.now() < endMs)
      await sleep(lookMs, undefined, { signal: running }).catch(() => undefined)
    return isDone()
  }
  const all = await until(waitS * 1000, () => options.devices.every((_, at) => hasRead(at)))
  const troubles = all ? [] : station.status.sensors.filter(({ readings }) => readings === 0).map(missing)
  if (station.status.readings > 0 && !running.aborted) {
    await sleep(sealedMs, undefined, { signal: running }).catch(() => undefined)
    const answered = (): boolean => {
      const { pending, accepted, refused } = station.status.outbox
      return pending === 0 && accepted + refused > 0
    }
    if (!(await until(receiptMs, answered))) {
      const { relay, outbox } = station.status
      const cause = relay.lastError ?? (relay.connected ? 'the hub has not answered' : 'not connected')
      troubles.push(`${outbox.pending} envelopes wait for the hub's receipt: ${cause}`)
    }
  }
  const { readings, outbox } = station.status
  over.abort()
  await station.done
  if (outbox.refused > 0) troubles.push(`the hub refused ${outbox.refused}: ${outbox.lastRefusal?.reason}`)
  if (signal.aborted) troubles.push('stopped before the round was over')
  log(
    `${readings} reading${readings === 1 ? '' : 's'}, ${outbox.accepted} envelope${outbox.accepted === 1 ? '' : 's'} receipted`,
  )
  for (const trouble of troubles) log(trouble)
  if (troubles.length > 0) process.exitCode = exitCodes.failed
}
