import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { artifactUrl, compile } from '#gateway/sales/token/compile.ts'

test('the committed token is what the compiler makes of its source', () => {
  expect(compile()).toEqual(JSON.parse(readFileSync(artifactUrl, 'utf8')))
}, 120_000)
