/** Taking turns: the only way to compare two speeds on a machine that does other things too. */

type Variant = () => number | Promise<number>

/** Rounds before the first that counts: until then V8 compiles, and servers fill their caches. */
export const warmUps = 2

/**
 * Calls every variant once a round, each round beginning with another one, and answers what they gave, by round. No
 * garbage is collected in between: a forced collection also throws compiled code away, which halved what allocates most.
 */
export const takeTurns = async <const Name extends string>(
  rounds: number,
  variants: Readonly<Record<Name, Variant>>,
  warm = warmUps,
): Promise<Record<Name, number[]>> => {
  const names = Object.keys(variants) as Name[]
  const results = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<Name, number[]>
  for (let round = -warm; round < rounds; round++)
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(turn + round + warm) % names.length]!
      const value = await variants[name]()
      if (round >= 0) results[name].push(value)
    }
  return results
}

// The clock of CPU time is only asked now and then: asking costs some microseconds.
const callsBetweenLooks = 16

/** Calls a second of CPU time, all threads of this process counted, over at least `cpuMs` of it. */
export const cpuRate = (cpuMs: number, work: (turn: number) => void): number => {
  const started = process.cpuUsage()
  for (let calls = 0; ; ) {
    for (let more = 0; more < callsBetweenLooks; more++) work(calls++)
    const { user, system } = process.cpuUsage(started)
    if (user + system >= cpuMs * 1000) return (calls * 1e6) / (user + system)
  }
}

// Many short turns, because a processor's speed wanders within seconds.
const sliceMs = 50
const slicesPerRound = 6
const leastSlices = 15
const slicesToWarm = 6

/** Work that only computes, in turns: calls a second of CPU time, by slice. */
export const computeInTurns = <const Name extends string>(
  { rounds, share }: { readonly rounds: number; readonly share: number },
  variants: Readonly<Record<Name, (turn: number) => void>>,
): Promise<Record<Name, number[]>> => {
  const timed = Object.fromEntries(
    Object.entries<(turn: number) => void>(variants).map(([name, work]) => [
      name,
      () => cpuRate(sliceMs, work),
    ]),
  ) as Record<Name, Variant>
  return takeTurns(Math.max(leastSlices, Math.ceil(slicesPerRound * rounds * share)), timed, slicesToWarm)
}
