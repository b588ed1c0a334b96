/** What time it was in boots that ended before anybody knew: bounded by the boots around them. */
import { driftRate, errorOf, type Fix, type Stamp } from './time.ts'

/** A boot of this station, in order: the fix it had, if any, and the latest moment that is known of it. */
export type Boot = { readonly id: string; readonly fix?: Fix | undefined; readonly lastMs: number }

/** UTC of moment 0 of a boot lies between these. */
type Bounds = { readonly fromMs: number; readonly toMs: number }

const boundsOf = ({ fix }: Boot): Bounds | undefined => {
  // What nobody vouched for bounds nothing.
  if (fix === undefined || fix.source === 'none') return undefined
  const startMs = fix.utcMs - fix.atMs
  const errorMs = errorOf(fix, 0)
  return { fromMs: startMs - errorMs, toMs: startMs + errorMs }
}

const length = ({ lastMs }: Boot): number => lastMs

/** The nearest boots before and after it whose time is vouched for, by their place; -1 where there is none. */
const around = (
  boots: readonly Boot[],
  here: number,
): { readonly before: number; readonly after: number } => ({
  before: boots.slice(0, here).findLastIndex((one) => boundsOf(one) !== undefined),
  after: boots.findIndex((one, at) => at > here && boundsOf(one) !== undefined),
})

/** Whether all that is missing to bound a boot's time is a later one whose time is vouched for. */
export const lacksLater = (boots: readonly Boot[], id: string): boolean => {
  const here = boots.findIndex((one) => one.id === id)
  if (here === -1 || boots[here]!.fix !== undefined) return false
  const { before, after } = around(boots, here)
  return before !== -1 && after === -1
}

/**
 * UTC of moments of the boots, newest last. A boot with a fix has it from there. One without lies, whole, after the
 * last one before it whose time is vouched for, and before the next one: its readings get the middle of where it can
 * lie, source `none`, and an error that covers all of it. Undefined where nothing bounds it on both sides, or where the
 * bounds contradict each other.
 */
export const earlierTimes = (boots: readonly Boot[]): ((id: string, atMs: number) => Stamp | undefined) => {
  const stampOf = (boot: Boot, atMs: number): Stamp | undefined => {
    const { fix } = boot
    if (fix !== undefined) {
      const errorMs = fix.source === 'none' ? 0 : errorOf(fix, atMs) + 0.5
      return {
        utcMs: Math.round(fix.utcMs + (atMs - fix.atMs)),
        clock: {
          source: fix.source,
          ageS: Math.floor(Math.abs(atMs - fix.setMs) / 1000),
          errorMs: Math.ceil(errorMs),
        },
      }
    }
    const here = boots.indexOf(boot)
    const { before, after } = around(boots, here)
    if (before === -1 || after === -1) return undefined
    const drift = 1 + driftRate
    // At least so much time went by in the boots between, as far as is known of them.
    const spent = (from: number, to: number): number =>
      boots.slice(from, to).reduce((sum, one) => sum + length(one) / drift, 0)
    const fromMs = boundsOf(boots[before]!)!.fromMs + spent(before, here)
    const toMs = boundsOf(boots[after]!)!.toMs - spent(here, after)
    if (toMs < fromMs) return undefined
    const errorMs = (toMs - fromMs) / 2 + Math.max(atMs, length(boot)) * driftRate + 0.5
    return {
      utcMs: Math.round((fromMs + toMs) / 2 + atMs),
      clock: { source: 'none', ageS: 0, errorMs: Math.ceil(errorMs) },
    }
  }
  return (id, atMs) => {
    const boot = boots.find((one) => one.id === id)
    return boot && stampOf(boot, atMs)
  }
}
