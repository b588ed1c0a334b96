/** What a station that runs for long has around it: metrics, systemd, and a new configuration on SIGHUP. */
import type { Config, EdgeConfig } from '../config.ts'
import type { Edge } from '../edge.ts'
import { keepNotifying, notifier, watchdogMs } from '../health/notify.ts'
import { configuredDevices } from '../station.ts'

export type Tending = {
  readonly edge: Edge
  readonly config: EdgeConfig
  /** Reads the configuration again; throws ConfigError where it is wrong. */
  readonly reread: () => Config
  readonly version: string
  readonly log: (message: string) => void
}

const described = (edge: Edge): string => {
  const { readings, outbox, troubles, sensors } = edge.status
  const trouble = troubles[0] === undefined ? '' : `, ${troubles[0].code}`
  return `${sensors.length} sensors, ${readings} readings, ${outbox.pending} envelopes wait${trouble}`
}

const list = (ids: readonly string[]): string => (ids.length === 0 ? 'none' : ids.join(', '))

// What is exchanged while running; everything else takes effect at the next start.
const withoutSensors = ({ sensors: _, ...rest }: EdgeConfig): string => JSON.stringify(rest)

/** Takes the sensors of a new configuration over; a wrong one changes nothing and is told. */
const reload = async ({ edge, config, reread, log }: Tending): Promise<void> => {
  try {
    const next = reread()
    const devices = configuredDevices(next.edge, next.told)
    if (withoutSensors(next.edge) !== withoutSensors(config))
      log('the configuration was read again: only sensors change now, the rest at the next start')
    const { stopped, started } = await edge.reload(devices)
    log(`the configuration was read again: stopped ${list(stopped)}; started ${list(started)}`)
  } catch (error) {
    log(`the configuration stays as it is: ${(error as Error).message}`)
  }
}

/** Tends a station until the signal aborts; resolves when nothing of it is left. */
export const tend = async (tending: Tending, signal: AbortSignal): Promise<void> => {
  const { edge, config, version, log } = tending
  // One after the other: a second SIGHUP waits for the first.
  let last = Promise.resolve()
  const onHangup = (): void => {
    last = last.then(() => reload(tending))
  }
  process.on('SIGHUP', onHangup)
  try {
    const parts: Promise<void>[] = []
    const { host, port } = config.metrics
    if (port !== undefined) {
      const { edgeMetrics, serveMetrics } = await import('../health/metrics.ts')
      const served = await serveMetrics(
        { registry: edgeMetrics(() => edge.status, version), host, port },
        signal,
      )
      log(`metrics at http://${host}:${served.port}/metrics`)
      parts.push(served.ended)
    }
    const notify = notifier(process.env)
    if (notify)
      parts.push(
        keepNotifying(
          {
            notify,
            watchdogMs: watchdogMs(process.env),
            healthy: () => edge.healthy,
            describe: () => described(edge),
          },
          signal,
        ),
      )
    await Promise.all(parts)
    await edge.done.catch(() => undefined) // told by whoever started it
  } finally {
    process.off('SIGHUP', onHangup)
    await last
  }
}
