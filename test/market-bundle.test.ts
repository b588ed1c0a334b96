import { describe, expect, test } from 'vitest'
import { verifyBundle } from '#gateway/verify/verify.ts'
import { openWorld as openHub } from './bundle-world.ts'
import { openChecked } from './market-schema.ts'
import { fakeAnchors, fakeEvidence, nowMs, openWorld } from './market-world.ts'
import { aReading, newSigner } from './station.ts'

const minuteMs = 60_000

/** The API over three envelopes, a minute apart, the last one from a minute ago; the first two are anchored if wanted. */
const openProven = async ({ anchored }: { anchored: boolean }) => {
  const hub = openHub()
  const station = hub.addStation(newSigner())
  hub.sign(station, [aReading(nowMs - 3 * minuteMs)])
  hub.sign(station, [aReading(nowMs - 2 * minuteMs)])
  if (anchored) hub.anchor(hub.closeBatch())
  hub.sign(station, [aReading(nowMs - minuteMs)])
  const world = await openWorld({
    network: hub.deps.network,
    evidence: { ...fakeEvidence(), ...hub.evidence },
    anchors: { ...fakeAnchors(), ...hub.anchors },
  })
  return { world, hub, station, ask: (await openChecked(world.api)).ask }
}

describe('a bundle', () => {
  test('comes as a file that verifies', async () => {
    const { world, station, ask } = await openProven({ anchored: true })
    await using _ = world
    const query = `/v1/bundle?station=${station}&from=2026-11-21T11:57:00Z&to=2026-11-21T11:58:30Z`
    const { response } = await ask(query)
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('application/vnd.groundtruth.bundle+cbor')
    expect(response.headers.get('content-disposition')).toBe(
      'attachment; filename="groundtruth-20261121T115700Z-20261121T115830Z.cbor"',
    )
    expect(response.headers.get('anchored-until')).toBe('2026-11-21T11:58:00.000Z')
    const bytes = new Uint8Array(await (await world.api.request(query)).arrayBuffer())
    const report = verifyBundle(bytes)
    expect(report.ok).toBe(true)
  })

  test('of what is not anchored yet is refused with when to come again', async () => {
    const { world, station, ask } = await openProven({ anchored: false })
    await using _ = world
    const { response, json } = await ask(`/v1/bundle?station=${station}`)
    expect(response.status).toBe(409)
    // The fixture's oldest pending envelope is a minute old, and batches close after five.
    expect(response.headers.get('retry-after')).toBe('240')
    expect(json).toMatchObject({ type: '/problems/not-anchored-yet', retryAfterS: 240 })
  })

  test('before the first batch of all is due sooner', async () => {
    const { world, station } = await openProven({ anchored: false })
    await using _ = world
    const status = () => ({
      ...fakeAnchors().status(),
      batches: { queued: 0, sent: 0, mined: 0, final: 0 },
      pending: { leaves: 3, sinceMs: nowMs - 4000 },
    })
    await using young = await openWorld({
      evidence: world.deps.evidence,
      anchors: { ...world.deps.anchors, status },
    })
    const response = await young.api.request(`/v1/bundle?station=${station}`)
    expect(response.headers.get('retry-after')).toBe('6')
  })

  test('of an unknown station or of nothing is a 404', async () => {
    const { world, ask } = await openProven({ anchored: true })
    await using _ = world
    expect((await ask(`/v1/bundle?station=${'e'.repeat(32)}`)).json).toMatchObject({
      type: '/problems/not-found',
    })
    await using empty = await openWorld()
    expect((await empty.api.request('/v1/bundle')).status).toBe(404)
  })

  test('of damaged evidence says so, and tells the log', async () => {
    const { world, hub, station } = await openProven({ anchored: true })
    await using _ = world
    const evidence = { ...world.deps.evidence, ...hub.evidence, get: async () => undefined }
    await using damaged = await openWorld({ evidence, anchors: world.deps.anchors })
    const { json } = await (await openChecked(damaged.api)).ask(`/v1/bundle?station=${station}`)
    expect(json).toMatchObject({ type: '/problems/evidence-damaged', status: 500 })
    expect(damaged.reported).toHaveLength(1)
  })

  test('takes no parameters that change what readings look like', async () => {
    const { world, ask } = await openProven({ anchored: true })
    await using _ = world
    for (const query of ['every=1m', 'fn=max', 'limit=5', 'cursor=x', 'format=csv'])
      expect((await ask(`/v1/bundle?${query}`)).json).toMatchObject({ type: '/problems/invalid-query' })
    expect((await ask('/v1/bundle?from=-2w&quantity=latitude')).response.status).toBe(400)
  })
})
