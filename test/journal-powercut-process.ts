/**
 * The process inside the power cut test: `write DIRECTORY SEED [lying]` appends and prints each index it was promised,
 * `check DIRECTORY SEED PROMISED` prints how many of those records are there, as JSON.
 */
import { writeSync } from 'node:fs'
import { diskFiles } from '#gateway/journal/files.ts'
import { openJournal } from '#gateway/journal/open.ts'
import { withoutSync } from '#test/journal-disk.ts'

const [what, directory, seedText, last] = process.argv.slice(2)
const seed = Number(seedText)
const options = { directory: directory!, segmentBytes: 64 * 1024, maxRecordBytes: 4096 }

const recordOf = (index: number): Uint8Array =>
  Uint8Array.from(
    { length: 40 + ((index * 131 + seed * 17) % 900) },
    (_, at) => (index * 31 + seed * 7 + at * 13) & 255,
  )

const write = async (): Promise<void> => {
  const files = last === 'lying' ? withoutSync(diskFiles) : diskFiles
  const journal = await openJournal({ ...options, files })
  for (;;) {
    for (let made = 0; made <= (journal.next + seed) % 7; made++) journal.append(recordOf(journal.next))
    await journal.commit()
    writeSync(1, `${journal.committed}\n`)
  }
}

const check = async (): Promise<void> => {
  const promised = Number(last)
  const journal = await openJournal(options)
  let wrong = 0
  const there = new Set<number>()
  for await (const { index, record } of journal.read(0)) {
    if (Buffer.compare(record, recordOf(index)) !== 0) wrong++
    there.add(index)
  }
  let lost = 0
  for (let index = 0; index < promised; index++) if (!there.has(index)) lost++
  writeSync(1, JSON.stringify({ lost, wrong, next: journal.next, damage: journal.damage }))
  await journal.close()
}

await (what === 'write' ? write() : check())
