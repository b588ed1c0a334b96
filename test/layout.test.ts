import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'

const gateway = join(import.meta.dirname, '../gateway')

// Wiring: it puts stages together and may import any of them; the doctor looks at each.
const wiring = new Set(['commands', 'doctor'])
const foundations = new Set(['reading', 'journal'])

// The client is a package of its own: what it imports goes into it, and runs in a browser.
const carried = /^(client|reading|verify)\/|^market\/time\.ts$/

const foldersOf = (directory: string): string[] =>
  readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== 'node_modules')
    .map((entry) => entry.name)

const sourcesOf = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))

type Import = { readonly from: string; readonly typeOnly: boolean }

const importsOf = (source: string): Import[] =>
  [...source.matchAll(/^(?:import|export)\s+(type\s+)?(?:[^'"]*?\sfrom\s+)?['"](\.[^'"]+)['"]/gm)].map(
    ([, type, from]) => ({ from: from!, typeOnly: type !== undefined }),
  )

/** What a stage imports and must not, as `file imports stage`. */
const offences = (stage: string): string[] =>
  sourcesOf(join(gateway, stage)).flatMap((file) =>
    importsOf(readFileSync(file, 'utf8')).flatMap(({ from, typeOnly }) => {
      const [target, ...rest] = relative(gateway, resolve(dirname(file), from)).split('/') as [
        string,
        ...string[],
      ]
      if (target === stage || (foundations.has(target) && stage !== 'reading')) return []
      if (typeOnly && rest.length > 0 && stage !== 'reading' && stage !== 'journal') return []
      return [`${relative(gateway, file)} imports ${from}`]
    }),
  )

describe('layout', () => {
  test.each(foldersOf(gateway).filter((folder) => !wiring.has(folder) && folder !== 'client'))(
    '%s imports reading/, journal/ and itself; other stages only as types (hand values in from edge.ts or hub.ts)',
    (stage) => {
      expect(offences(stage)).toEqual([])
    },
  )

  test('the client imports reading/, verify/, the words for times and itself; anything else only as types', () => {
    const files = readdirSync(join(gateway, 'client')).filter((name) => name.endsWith('.ts'))
    const offending = files.flatMap((name) =>
      importsOf(readFileSync(join(gateway, 'client', name), 'utf8'))
        .filter(({ from, typeOnly }) => !typeOnly && !carried.test(join('client', from)))
        .map(({ from }) => `client/${name} imports ${from}`),
    )
    expect(offending).toEqual([])
    expect(files).toContain('client.ts')
  })

  test('the rule sees an offence', () => {
    expect(
      importsOf("import { x } from '../store/store.ts'\nimport type { Y } from '../anchor/anchor.ts'\n"),
    ).toEqual([
      { from: '../store/store.ts', typeOnly: false },
      { from: '../anchor/anchor.ts', typeOnly: true },
    ])
  })

  test('no folder is a drawer', () => {
    const drawers = /^(src|lib|utils?|helpers?|types|core|common|misc)$/
    expect(foldersOf(gateway).filter((folder) => drawers.test(folder))).toEqual([])
  })
})
