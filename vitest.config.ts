import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // What is polled for must come; how soon says more about the machine than about the code.
    expect: { poll: { timeout: 20_000 } },
    pool: 'forks',
    maxWorkers: 2,
    setupFiles: ['./test/every-answer.ts'],
    reporters: ['default', './test/closing-line.ts'],
  },
})
