/** What is wrong with a station’s disk, its clock or on its way to the hub, each cause told apart, with what to do about it. */
import type { OutboxStatus } from '../outbox/outbox.ts'
import type { RelayStatus } from '../relay/relay.ts'
import type { TimedStatus } from '../time/timed.ts'

/** A stable code for programs, and two sentences for people: what is wrong, and what to do. */
export type Trouble = { readonly code: TroubleCode; readonly text: string; readonly next: string }

export type TroubleCode =
  | 'broker-unreachable'
  | 'broker-certificate'
  | 'broker-credentials'
  | 'broker-denied'
  | 'broker-lost'
  | 'hub-silent'
  | 'hub-key'
  | 'not-registered'
  | 'key-revoked'
  | 'key-twice'
  | 'clock-unknown'
  | 'clock-jumped'
  | 'clock-differs'
  | 'disk-full'
  | 'disk-read-only'
  | 'disk-failing'

type Time = Pick<TimedStatus, 'known' | 'lacksSource' | 'waiting' | 'doubtMs'>

type Text = string | ((time: Time) => string)

const texts: Readonly<Record<TroubleCode, readonly [text: Text, next: string]>> = {
  'broker-unreachable': [
    'The broker cannot be reached.',
    'Check this station’s network, and edge.broker.url; nothing is lost, readings wait in the outbox.',
  ],
  'broker-certificate': [
    'The broker’s certificate is not accepted.',
    'Set edge.broker.caFile to the authority that signed it, and check that the url has the name in the certificate.',
  ],
  'broker-credentials': [
    'The broker refuses this station’s name or password.',
    'Ask the operator for a login, and check edge.broker.username and edge.broker.passwordFile.',
  ],
  'broker-denied': [
    'The broker lets this station in, but not read or write its topics.',
    'Ask the operator for access to gt/1/<network>/<station>/#; "groundtruth key" shows the id.',
  ],
  'broker-lost': [
    'The connection to the broker ended.',
    'It is made again by itself; if this repeats, another station may use the same id.',
  ],
  'hub-silent': [
    'The broker is there, but the hub does not answer.',
    'Ask the operator whether the hub runs, and check that network is the hub’s; readings wait in the outbox.',
  ],
  'hub-key': [
    'Receipts come that are not signed by the hub this station trusts.',
    'Ask the operator for the hub’s public key and set edge.hubKey; delete hub.pub only if the hub was replaced.',
  ],
  'not-registered': [
    'The hub does not know this station.',
    'Send the operator the public key that "groundtruth key" shows; readings wait in the outbox.',
  ],
  'key-revoked': [
    'The hub has revoked this station’s key and takes nothing signed by it.',
    'Ask the operator why; a new key (another edge.key) makes a new station.',
  ],
  'key-twice': [
    'The hub has other envelopes under this station’s numbers: its key is in use twice.',
    'Stop the other station with this key, or give this one a key of its own.',
  ],
  'clock-unknown': [
    ({ waiting }) =>
      `Nobody vouches for the time yet, and nothing is signed before; readings that wait for it: ${waiting}.`,
    'Check that time synchronisation runs ("timedatectl"), and that UDP port 123 to its server is not blocked.',
  ],
  'clock-jumped': [
    ({ doubtMs }) =>
      `This station’s clock was moved by ${(doubtMs / 1000).toFixed(1)} s, and no source of time confirms it.`,
    'Check that only time synchronisation sets the clock ("timedatectl"), and that it reaches its server; readings declare the difference.',
  ],
  'clock-differs': [
    'This station’s clock and the hub’s differ.',
    'Check that time synchronisation runs ("timedatectl"), and the time zone is not set by hand.',
  ],
  'disk-full': [
    'This station’s disk is full: readings wait in memory, unsigned.',
    'Make room on the disk; the station goes on by itself, and says what it had to drop.',
  ],
  'disk-read-only': [
    'This station’s disk cannot be written: readings wait in memory, unsigned.',
    'Check the SD card (dmesg), and that the data directory is this user’s; a worn card is replaced.',
  ],
  'disk-failing': [
    'This station’s disk fails: readings wait in memory, unsigned.',
    'Check the SD card (dmesg) and its power supply, and replace the card.',
  ],
}

// A receipt follows a status within a round trip and a commit; a loaded hub takes a few seconds.
const hubSilentMs = 30_000
// Beyond network delay and what a clock without NTP drifts in a day.
const clockDiffersMs = 10_000

const brokerTroubles = {
  unreachable: 'broker-unreachable',
  tls: 'broker-certificate',
  credentials: 'broker-credentials',
  denied: 'broker-denied',
  lost: 'broker-lost',
} as const

const diskTroubles = {
  ok: undefined,
  full: 'disk-full',
  'read-only': 'disk-read-only',
  failing: 'disk-failing',
} as const

const refusalTroubles: Readonly<Partial<Record<NonNullable<RelayStatus['refusal']>, TroubleCode>>> = {
  'unknown-station': 'not-registered',
  revoked: 'key-revoked',
  future: 'clock-differs',
}

/** The troubles of this moment, the one to look at first in front; none on a good day. */
export const troubles = (
  relay: Pick<
    RelayStatus,
    'brokerError' | 'hubSilentMs' | 'refusal' | 'hubClockMs' | 'receipts' | 'badReceipts'
  >,
  outbox: Pick<OutboxStatus, 'conflict' | 'disk'>,
  time: Time,
): Trouble[] => {
  const codes = new Set<TroubleCode>()
  const disk = diskTroubles[outbox.disk.state]
  if (disk) codes.add(disk)
  if (relay.brokerError !== null) codes.add(brokerTroubles[relay.brokerError])
  if (relay.badReceipts > 0 && relay.receipts === 0) codes.add('hub-key')
  else if (relay.hubSilentMs > hubSilentMs) codes.add('hub-silent')
  const refused = relay.refusal === null ? undefined : refusalTroubles[relay.refusal]
  if (refused) codes.add(refused)
  if (outbox.conflict !== null) codes.add('key-twice')
  if (!time.known || time.lacksSource) codes.add('clock-unknown')
  if (time.doubtMs > 0) codes.add('clock-jumped')
  if (relay.hubClockMs !== null && Math.abs(relay.hubClockMs) > clockDiffersMs) codes.add('clock-differs')
  return [...codes].map((code) => {
    const [text, next] = texts[code]
    return { code, text: typeof text === 'string' ? text : text(time), next }
  })
}
