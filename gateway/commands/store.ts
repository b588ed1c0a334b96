/** `groundtruth store rebuild` */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openStore } from '../backends.ts'
import { lockData } from '../data-lock.ts'
import type { SharedOptions } from '../main.ts'
import { openScoreStates } from '../quality/states.ts'
import { runFeed } from '../store/feed.ts'
import { openHubEvidence, scoringWith } from '../views.ts'
import { configured, log, stopSignal } from './running.ts'

const reportMs = 2_000

/** Deletes the store and the scorer's memory, and makes both again from the evidence, telling how far it is. */
export const rebuild = async (options: SharedOptions): Promise<void> => {
  const config = configured(options)
  const stopped = stopSignal()
  const directory = join(config.data, 'hub')
  using _lock = lockData(directory, 'hub')
  await using evidence = await openHubEvidence(directory)
  await using store = await openStore(config.hub.store, directory, log)
  using states = openScoreStates(join(directory, 'quality.sqlite'))
  await store.clear()
  states.clear()

  const end = evidence.committed
  const done = new AbortController()
  const signal = AbortSignal.any([stopped, done.signal])
  const feeding = runFeed(
    {
      evidence,
      store,
      ...scoringWith(states),
      unavailable: (error) => log(error.message),
    },
    signal,
  )
  let told = Date.now()
  while (!stopped.aborted && (await store.cursor()) < end) {
    await Promise.race([feeding, sleep(50)])
    if (Date.now() - told < reportMs) continue
    told = Date.now()
    log(`${Math.floor((100 * (await store.cursor())) / end)} %`)
  }
  done.abort()
  await feeding
  if (stopped.aborted) log('stopped; the hub goes on from here when it starts')
  else
    log(
      `the store holds ${(await store.sensors()).reduce((total, one) => total + one.readings, 0)} readings again`,
    )
}
