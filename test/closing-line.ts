/** A reporter's last word: one plain line of totals; and, where skipping is not allowed, a failure that names what was. */
import type { Reporter, TestCase, TestModule } from 'vitest/node'

// Mounting a disk image needs rights that a container may not give; that test says so itself.
const mayBeSkipped = /journal-powercut/

const testsOf = (modules: readonly TestModule[]): TestCase[] =>
  modules.flatMap((module) => [...module.children.allTests()])

export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const tests = testsOf(modules)
    const of = (state: string) => tests.filter((test) => test.result().state === state)
    const skipped = of('skipped').filter((test) => !mayBeSkipped.test(test.module.moduleId))
    if (process.env.NO_SKIPPED_TESTS && skipped.length > 0) {
      process.exitCode = 1
      for (const test of skipped) console.error(`skipped, and here nothing may be: ${test.fullName}`)
    }
    console.log(
      `${of('passed').length} passed, ${of('failed').length} failed, ${of('skipped').length} skipped`,
    )
  }
}
