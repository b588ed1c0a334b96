/** Simulated devices at real outlets, until the test ends. */
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { KindName } from '#sim/devices/all.ts'
import type { OpenOutlet } from '#sim/outlets/outlet.ts'
import { startStation } from '#sim/station.ts'
import { world } from '#sim/world.ts'
import { temporaryDirectory } from '#test/temporary.ts'

/** Plugs devices of these kinds into outlets; gives the links to them in the same order. */
export const wired = async (
  kinds: readonly KindName[],
  outlet: (folder: string) => OpenOutlet,
  { seed = 1, intervalMs = 150 }: { readonly seed?: number; readonly intervalMs?: number } = {},
) => {
  const stop = new AbortController()
  const station = await startStation(
    {
      name: 'bench',
      place: { latitude: 52.5, longitude: 13.4, altitudeM: 34 },
      sensors: kinds.map((kind, index) => ({
        sensor: `${kind}${index}`,
        kind,
        seed,
        intervalMs,
        warmUpMs: 0,
      })),
    },
    { world: world(seed), outlet: outlet(join(temporaryDirectory(), 'dev')) },
    stop.signal,
  )
  onTestFinished(async () => {
    stop.abort()
    await station.ended
  })
  return station.sensors
}
