/** After every test: nothing that the API answered in it was other than described. */
import { afterEach, expect } from 'vitest'
import { takeFaults } from './answers.ts'

afterEach(() => {
  expect(takeFaults()).toEqual([])
})
