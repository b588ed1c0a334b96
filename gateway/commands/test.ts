/** `groundtruth run --test`: what the sensors say, as it comes; nothing is signed, kept or sent. */
import { type Device, readDevice } from '../device.ts'
import { exitCodes } from '../exit.ts'
import { openHeard } from '../reading/heard.ts'
import { fromScaled, quantityCoded } from '../reading/quantity.ts'
import type { Reading } from '../reading/reading.ts'
import type { Refusal } from '../sensors/read.ts'
import { checkingSurroundings } from '../surroundings.ts'

/** One thing that a device, or its link, said. */
export type Said =
  | { readonly kind: 'reading'; readonly reading: Reading }
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  | { readonly kind: 'link'; readonly sensor: string; readonly error: string }

/** Reads a device until the signal aborts, and tells everything it says, refusals and troubles of the wire included. */
export const listenTo = async (
  device: Device,
  tell: (said: Said) => void,
  network: string,
  signal: AbortSignal,
): Promise<void> => {
  let lastError: string | null = null
  const running = readDevice({
    device,
    surroundings: { ...checkingSurroundings, network },
    take: async (reading) => tell({ kind: 'reading', reading }),
    takeFrame: async (heard) => {
      const opened = openHeard(heard)
      if (opened.ok) for (const reading of opened.frame.readings) tell({ kind: 'reading', reading })
    },
    refused: (refusal) => tell({ kind: 'refused', refusal }),
    changed: () => look(),
  })
  const look = (): void => {
    const { lastError: error } = running.status.link
    if (error !== null && error !== lastError) tell({ kind: 'link', sensor: device.id, error })
    lastError = error
  }
  await running.run(signal)
  look()
}

const sensorWidth = 16

const valuesOf = ({ values }: Reading) =>
  values.map((value) => {
    const known = quantityCoded(value.quantity)!
    const { name, unit } = known
    return 'absent' in value
      ? { name, unit, value: null, absent: value.absent }
      : { name, unit, value: fromScaled(known, value.scaled), absent: undefined }
  })

const line = (said: Said): string => {
  if (said.kind === 'link')
    return `${said.sensor.padEnd(sensorWidth)} link: ${said.error.replaceAll('\n', ' ')}`
  if (said.kind === 'refused') {
    const { sensor, timeMs, reason, detail } = said.refusal
    return `${new Date(timeMs).toISOString()}  ${sensor.padEnd(sensorWidth)} refused (${reason}): ${detail}`
  }
  const { sensor, timeMs } = said.reading
  const values = valuesOf(said.reading).map(({ name, unit, value, absent }) =>
    value === null ? `${name} absent (${absent ?? 'unspecified'})` : `${name} ${value}${unit && ` ${unit}`}`,
  )
  return `${new Date(timeMs).toISOString()}  ${sensor.padEnd(sensorWidth)} ${values.join('  ')}`
}

const json = (said: Said): object => {
  if (said.kind === 'link') return said
  if (said.kind === 'refused') {
    const { timeMs, ...rest } = said.refusal
    return { kind: 'refused', time: new Date(timeMs).toISOString(), ...rest }
  }
  const { sensor, model, timeMs } = said.reading
  const all = valuesOf(said.reading)
  const absent = all.filter(({ value }) => value === null)
  return {
    kind: 'reading',
    time: new Date(timeMs).toISOString(),
    sensor,
    model,
    values: Object.fromEntries(all.map(({ name, value }) => [name, value])),
    ...(absent.length === 0
      ? {}
      : { absent: Object.fromEntries(absent.map(({ name, absent: why }) => [name, why ?? 'unspecified'])) }),
  }
}

/** Prints until stopped, or for so long; ends with 1 where a device said nothing that could be read. */
export const runTest = async (
  devices: readonly Device[],
  options: { readonly for?: number; readonly json: boolean },
  network: string,
  signal: AbortSignal,
): Promise<void> => {
  const over =
    options.for === undefined ? signal : AbortSignal.any([signal, AbortSignal.timeout(options.for * 1000)])
  const read = new Set<string>()
  await Promise.all(
    devices.map((device) =>
      listenTo(
        device,
        (said) => {
          if (said.kind === 'reading') read.add(device.id)
          process.stdout.write(`${options.json ? JSON.stringify(json(said)) : line(said)}\n`)
        },
        network,
        over,
      ),
    ),
  )
  const silent = devices.filter(({ id }) => !read.has(id)).map(({ id }) => id)
  if (silent.length === 0) return
  process.stderr.write(`no reading came from ${silent.join(', ')}\n`)
  process.exitCode = exitCodes.failed
}
