/** `groundtruth run --test`: what the sensors say, as it comes; nothing is signed, kept or sent. */
import type { Device } from '../device.ts'
import { exitCodes } from '../exit.ts'
import { type LinkStatus, supervise } from '../link/supervise.ts'
import { fromScaled, quantityCoded } from '../reading/quantity.ts'
import type { Reading } from '../reading/reading.ts'
import { driverOf } from '../sensors/all.ts'
import { decoderOf, type Refusal, toReadings } from '../sensors/read.ts'
import { checkingSurroundings } from '../surroundings.ts'

/** One thing that a device, or its link, said. */
export type Said =
  | { readonly kind: 'reading'; readonly reading: Reading }
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  | { readonly kind: 'link'; readonly sensor: string; readonly error: string }

const lookMs = 500

/** Reads a device until the signal aborts, and tells everything it says, refusals and troubles of the wire included. */
export const listenTo = async (
  { id, model, settings, opener }: Device,
  tell: (said: Said) => void,
  signal: AbortSignal,
): Promise<void> => {
  const driver = driverOf(model)
  const decoder = decoderOf(driver, settings, checkingSurroundings)
  const link = supervise({
    opener,
    framing: decoder.framing ?? driver.framing,
    greeting: driver.greeting(settings),
    dialogue: decoder.dialogue,
    session: decoder.session,
    silenceMs: (decoder.silenceS ?? driver.silenceS) * 1000,
  })
  let lastError: LinkStatus['lastError'] = null
  const look = (): void => {
    const { lastError: error } = link.status
    if (error !== null && error !== lastError) tell({ kind: 'link', sensor: id, error })
    lastError = error
  }
  const timer = setInterval(look, lookMs)
  try {
    for await (const { bytes, receivedMs, atMs } of link.frames(signal)) {
      const { readings, refusals } = toReadings(model, id, decoder.decode(bytes, atMs), receivedMs)
      for (const refusal of refusals) tell({ kind: 'refused', refusal })
      for (const reading of readings) tell({ kind: 'reading', reading })
    }
  } finally {
    clearInterval(timer)
    look()
  }
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
        over,
      ),
    ),
  )
  const silent = devices.filter(({ id }) => !read.has(id)).map(({ id }) => id)
  if (silent.length === 0) return
  process.stderr.write(`no reading came from ${silent.join(', ')}\n`)
  process.exitCode = exitCodes.failed
}
