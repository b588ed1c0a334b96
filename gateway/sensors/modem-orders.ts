/** The talk with a modem that acknowledges each command: sent in order, checked, repeated when it was lost. */
import { utf8 } from './bytes.ts'
import type { Dialogue, Outcome } from './sensors.ts'

/** One command, and how the modem's answer to it is told from everything else it says. */
export type Order = {
  /** Without its line ending. */
  readonly command: string
  /** What it is called in outcomes, where the command itself holds a secret. */
  readonly called?: string
  /** True: done. A text: refused, and why. Undefined: the line is no answer to this command. */
  readonly answer: (line: string) => true | string | undefined
}

/** The orders of one modem. */
export type Orders = {
  readonly dialogue: Dialogue
  /** What a line meant as an answer; `answered` where it was one, and needs no other meaning. */
  readonly heard: (line: string, atMs: number) => { answered: boolean; outcomes: readonly Outcome[] }
  /**
   * These orders now, in place of what was under way; only a set-up is finished first, and they are then not needed.
   * Without an argument, the set-up from its beginning.
   */
  readonly run: (orders?: readonly Order[]) => void
  /** Whether all orders were carried out. */
  readonly idle: () => boolean
  /** Whether the modem refused the set-up or did not answer, so that what it was told may not be so. */
  readonly failed: () => boolean
}

export type OrdersOptions = {
  /** The set-up: run each time the wire is opened, when nothing was heard for `silenceMs`, and after a failure. */
  readonly setup: readonly Order[]
  readonly lineEnd?: string
  /** How long a modem may take to answer. */
  readonly answerMs?: number
  readonly silenceMs?: number
}

// A command lost twice to noise is lost a third time by a modem that is not there.
const maxTries = 3
// A refusal repeats unless what caused it passes; a modem that is busy is so for a message's time on the air.
const refusedMs = 1000
// An answer to a repeated command may come twice: the second must not count for the next command.
const drainMs = 500
// After a failure; the modem may still receive as it was set before.
const restMs = 60_000
const idleMs = 3_600_000

/**
 * The orders of a modem. Pure; one per link. On a recorded wire, which nobody opens, no set-up was asked for, and
 * answers to other orders are taken as they come.
 */
export const orders = ({
  setup,
  lineEnd = '\r\n',
  answerMs = 2000,
  silenceMs = idleMs,
}: OrdersOptions): Orders => {
  let list = setup
  let at = 0
  let tries = 0
  let sentMs: number | undefined
  let notBeforeMs = Number.NEGATIVE_INFINITY
  let heardMs = 0
  let conversing = false
  let hasFailed = false
  let complaint: string | undefined

  const begin = (next: readonly Order[]): void => {
    list = next
    at = 0
    tries = 0
    sentMs = undefined
  }
  const giveUp = (nowMs: number): void => {
    // What failed in the course of the day may well be mended by a new set-up.
    const inSetup = list === setup
    hasFailed ||= inSetup
    begin(setup)
    notBeforeMs = nowMs + (inSetup ? restMs : refusedMs)
  }
  const nameOf = ({ called, command }: Order): string => called ?? command

  const turn = (nowMs: number): ReturnType<Dialogue['turn']> => {
    let order = list[at]
    if (!order) {
      const leftMs = heardMs + silenceMs - nowMs
      if (leftMs > 0) return { againMs: leftMs }
      heardMs = nowMs
      begin(setup)
      order = list[at]
      if (!order) return { againMs: silenceMs }
    }
    if (nowMs < notBeforeMs) return { againMs: notBeforeMs - nowMs }
    if (sentMs !== undefined && nowMs < sentMs + answerMs) return { againMs: sentMs + answerMs - nowMs }
    if (tries >= maxTries) {
      complaint = `${nameOf(order)} was not answered`
      giveUp(nowMs)
      return { againMs: notBeforeMs - nowMs }
    }
    tries += 1
    sentMs = nowMs
    return { send: utf8(order.command + lineEnd), againMs: answerMs }
  }

  const heard: Orders['heard'] = (line, atMs) => {
    heardMs = atMs
    const outcomes: Outcome[] = []
    if (complaint) outcomes.push({ kind: 'refused', reason: 'device-error', detail: complaint })
    complaint = undefined
    const order = list[at]
    const asked = sentMs !== undefined || (!conversing && list !== setup)
    const verdict = order && asked ? order.answer(line) : undefined
    if (!order || verdict === undefined) return { answered: false, outcomes }
    const repeated = tries > 1
    sentMs = undefined
    if (verdict === true) {
      at += 1
      tries = 0
      if (repeated) notBeforeMs = atMs + drainMs
      if (at === list.length && list === setup) hasFailed = false
      outcomes.push({ kind: 'control', what: `${nameOf(order)} is done` })
    } else {
      notBeforeMs = atMs + refusedMs
      outcomes.push({
        kind: 'refused',
        reason: 'device-error',
        detail: `${nameOf(order)} was refused: ${verdict}`.slice(0, 200),
      })
      if (tries >= maxTries) giveUp(atMs)
    }
    return { answered: true, outcomes }
  }

  return {
    dialogue: {
      opened: (nowMs) => {
        begin(setup)
        conversing = true
        heardMs = nowMs
        notBeforeMs = nowMs
      },
      turn,
    },
    heard,
    run: (next = setup) => {
      const settingUp = conversing && list === setup && at < setup.length
      if (next === setup || !settingUp) begin(next)
    },
    idle: () => at >= list.length,
    failed: () => hasFailed,
  }
}
