/** The devices of a running station are exchanged, and nothing that was received is lost. */
import { type Duplex, duplexPair } from 'node:stream'
import { afterEach, expect, test, vi } from 'vitest'
import type { Device } from '#gateway/device.ts'
import { runDevices } from '#gateway/device-set.ts'
import { toHex } from '#gateway/reading/bytes.ts'
import type { Reading } from '#gateway/reading/reading.ts'
import { surroundings } from '#test/sensors/frames.ts'
import { newSigner } from '#test/station.ts'

const stops: AbortController[] = []
afterEach(() => {
  for (const stop of stops.splice(0)) stop.abort()
})

/** Devices that print lines, each on a wire that a test writes to. */
const drawer = () => {
  const wires = new Map<string, Duplex>()
  const device = (id: string, settings: Device['settings'] = {}): Device => ({
    id,
    model: 'text-lines',
    settings,
    baudRate: 115_200,
    opener: {
      name: `wire:${id}`,
      open: async () => {
        const [own, gateway] = duplexPair()
        own.on('error', () => undefined)
        wires.set(id, own)
        return gateway
      },
    },
  })
  return { wires, device }
}

const run = (devices: readonly Device[], take: (reading: Reading) => Promise<void>) => {
  const stop = new AbortController()
  stops.push(stop)
  const failures: unknown[] = []
  const parts = {
    surroundings: surroundings(),
    take,
    takeFrame: async () => undefined,
    changed: () => undefined,
    failed: (error: unknown) => void failures.push(error),
  }
  return { stop, failures, set: runDevices(devices, parts, stop.signal) }
}

test('one that is as before goes on undisturbed, one that is changed is opened anew, one that is gone ends', async () => {
  const { wires, device } = drawer()
  const taken: string[] = []
  const { set } = run([device('a'), device('b'), device('c')], async ({ sensor }) => void taken.push(sensor))
  await vi.waitFor(() => expect(wires.size).toBe(3))
  const [a, b, c] = ['a', 'b', 'c'].map((id) => wires.get(id)!)
  for (const wire of [a, b, c]) wire!.write('t=21.5\n')
  await vi.waitFor(() => expect(taken.length).toBe(3))
  expect(await set.apply([device('a'), device('b', { profile: 'key-value' }), device('d')])).toEqual({
    stopped: ['b', 'c'],
    started: ['b', 'd'],
  })
  await vi.waitFor(() => expect(wires.has('d')).toBe(true))
  expect(wires.get('a')).toBe(a)
  expect(wires.get('b')).not.toBe(b)
  expect(set.statuses.map(({ id, readings }) => [id, readings])).toEqual([
    ['a', 1],
    ['b', 0],
    ['d', 0],
  ])
  a!.write('t=21.6\n')
  await vi.waitFor(() => expect(taken.length).toBe(4))
})

test('what was received of a device before it ends is taken first, however slow that is', async () => {
  const { wires, device } = drawer()
  const taken: number[] = []
  let release = (): void => undefined
  const { set } = run([device('a')], async ({ values }) => {
    if (taken.length === 0)
      await new Promise<void>((resolve) => {
        release = resolve
      })
    taken.push(values[0]!.scaled!)
  })
  await vi.waitFor(() => expect(wires.size).toBe(1))
  wires.get('a')!.write('t=1\n')
  await vi.waitFor(() => expect(set.statuses[0]!.readings).toBe(1))
  let over = false
  const applied = set.apply([]).then(() => {
    over = true
  })
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(over).toBe(false)
  release()
  await applied
  expect(taken).toEqual([100])
  expect(set.statuses).toEqual([])
})

test('a reading that cannot be taken is told, and the others end with the signal', async () => {
  const { wires, device } = drawer()
  const { set, stop, failures } = run([device('a'), device('b')], async ({ sensor }) => {
    if (sensor === 'a') throw new Error('the disk is gone')
  })
  await vi.waitFor(() => expect(wires.size).toBe(2))
  wires.get('a')!.write('t=1\n')
  await vi.waitFor(() => expect(failures).toEqual([new Error('the disk is gone')]))
  stop.abort()
  await set.done
})

test('one has not the id of a node that signs for another, as long as that is there', async () => {
  const { wires, device } = drawer()
  const taken: string[] = []
  const modem: Device = {
    ...device('field'),
    model: 'reyax-rylr',
    settings: { signed: [{ publicKey: toHex(newSigner().publicKey), name: 'lora-11' }] },
  }
  const plain = device('field-lora-11')
  const { set } = run([modem, plain], async ({ sensor }) => void taken.push(sensor))
  await vi.waitFor(() => expect(wires.size).toBe(2))
  wires.get('field-lora-11')!.write('t=21.5\n')
  await vi.waitFor(() => expect(set.statuses[1]!.refusals).toEqual({ unsigned: 1 }))
  expect(taken).toEqual([])
  await set.apply([plain])
  wires.get('field-lora-11')!.write('t=21.6\n')
  await vi.waitFor(() => expect(taken).toEqual(['field-lora-11']))
})
