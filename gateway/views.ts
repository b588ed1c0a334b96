/** What a running hub and `store rebuild` must do alike: open the evidence, and score what is in it. */
import { join } from 'node:path'
import { type EvidenceKeeper, openEvidence } from './evidence/keep.ts'
import { openJournal } from './journal/open.ts'
import { rules } from './quality/all.ts'
import { rulesVersion } from './quality/quality.ts'
import { createScorer } from './quality/scorer.ts'
import type { ScoreStates } from './quality/states.ts'
import type { FeedDeps } from './store/feed.ts'

// An hour of evidence of a small network in one segment; sealed segments are what backups copy.
const evidenceSegmentBytes = 16 * 1024 * 1024
const refusedSegmentBytes = 1024 * 1024

/** The evidence of the hub whose state lives in that directory. */
export const openHubEvidence = (directory: string): Promise<EvidenceKeeper> =>
  openEvidence({
    directory: join(directory, 'evidence'),
    openJournal: (path) =>
      openJournal({
        directory: path,
        segmentBytes: path.endsWith('refused') ? refusedSegmentBytes : evidenceSegmentBytes,
      }),
  })

/** The rules in use, for a feed that goes on from the kept states. */
export const scoringWith = (states: ScoreStates): Pick<FeedDeps, 'states' | 'scorer' | 'rules'> => ({
  states,
  scorer: () => createScorer({ rules, states: states.states() }),
  rules: rulesVersion(rules),
})
