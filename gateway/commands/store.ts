/** `groundtruth store rebuild` */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openStore } from '../backends.ts'
import { lockData } from '../data-lock.ts'
import { openEvidence } from '../evidence/keep.ts'
import { openJournal } from '../journal/open.ts'
import type { SharedOptions } from '../main.ts'
import { rules } from '../quality/all.ts'
import { rulesVersion } from '../quality/quality.ts'
import { createScorer } from '../quality/scorer.ts'
import { openScoreStates } from '../quality/states.ts'
import { runFeed } from '../store/feed.ts'
import { configured, log, stopSignal } from './running.ts'

const reportMs = 2_000

/** Deletes the store and the scorer's memory, and makes both again from the evidence, telling how far it is. */
export const rebuild = async (options: SharedOptions): Promise<void> => {
  const config = configured(options)
  const stopped = stopSignal()
  const directory = join(config.data, 'hub')
  using _lock = lockData(directory, 'hub')
  await using evidence = await openEvidence({
    directory: join(directory, 'evidence'),
    openJournal: (path) => openJournal({ directory: path }),
  })
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
      states,
      scorer: () => createScorer({ rules, states: states.states() }),
      rules: rulesVersion(rules),
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
