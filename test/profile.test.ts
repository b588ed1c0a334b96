import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '#gateway/config.ts'
import { toHex } from '#gateway/reading/bytes.ts'
import { decodeEnvelope } from '#gateway/reading/envelope.ts'
import { stationId } from '#gateway/reading/key.ts'
import { profileContentType } from '#gateway/reading/profile.ts'
import { startStation } from '#gateway/station.ts'
import { startHub } from '#test/relay-world.ts'
import { network, newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { until } from '#test/until.ts'

test('what an owner says of a station reaches the hub signed, once for each change, and no coordinate leaves the station', async () => {
  const directory = temporaryDirectory()
  const hub = await startHub(0, join(directory, 'hub'))
  onTestFinished(() => hub.close())
  const signer = newSigner()
  const station = stationId(signer.publicKey)
  const runWith = async (profile: object, licence: string): Promise<void> => {
    const over = new AbortController()
    const config = loadConfig({
      env: {},
      overrides: [
        [['data'], directory],
        [['edge', 'profile'], profile],
      ],
    })
    const edge = await startStation(
      {
        config: config.edge,
        brokerUrl: `mqtt://127.0.0.1:${hub.broker.port}`,
        hubKey: toHex(hub.hub.publicKey),
        network,
        signer,
        directory: join(directory, 'edge'),
        devices: [],
        version: 'test',
        log: () => undefined,
      },
      over.signal,
    )
    await until(
      'the hub to know the profile',
      20,
      async () =>
        (hub.evidence.profile(station)?.licence === licence && edge.status.outbox.pending === 0) || undefined,
    )
    over.abort()
    await edge.done
  }
  const vienna = { latitude: 48.208493, longitude: 16.373118 }
  await runWith({ licence: 'CC-BY-4.0', name: 'Garden', priceFactor: 1.5, ...vienna }, 'CC-BY-4.0')
  expect(hub.evidence.profile(station)).toMatchObject({
    licence: 'CC-BY-4.0',
    name: 'Garden',
    pricePermille: 1500,
    cell: '871e15b71ffffff',
  })
  // Said already: a start of the same says nothing.
  await runWith({ licence: 'CC-BY-4.0', name: 'Garden', priceFactor: 1.5, ...vienna }, 'CC-BY-4.0')
  await runWith({ licence: 'ODbL-1.0', ...vienna, resolution: 5 }, 'ODbL-1.0')
  expect(hub.evidence.profile(station)).toMatchObject({ pricePermille: 1000, cell: '851e15b7fffffff' })

  const types: unknown[] = []
  for await (const { bytes } of hub.evidence.read(0)) {
    const decoded = decodeEnvelope(bytes)
    types.push(decoded.ok && decoded.envelope.contentType)
  }
  expect(types).toEqual([profileContentType, profileContentType])

  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((one) => one.isFile())
  expect(files.length).toBeGreaterThan(3)
  for (const { parentPath, name } of files) {
    const bytes = readFileSync(join(parentPath, name)).toString('latin1')
    for (const digits of ['48.208', '16.373']) expect(bytes.includes(digits), name).toBe(false)
  }
})
