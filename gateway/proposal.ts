/** A station's configuration from what was found on its wires. */
import { stringify } from 'yaml'
import type { Found } from './discover.ts'
import { isListening } from './link/named.ts'
import type { Recognised } from './probe.ts'
import { driverOf } from './sensors/all.ts'

/** What a frame cannot tell: which of several devices sent it. */
export type Question = {
  readonly setting: string
  readonly why: string
  readonly choices: readonly (readonly [value: string, title: string])[]
}

// By model, and by what the frames look like.
const questions: Readonly<Record<string, { readonly frameBytes: number; readonly question: Question }>> = {
  // Manuals of the PMS5003 and PMS5003T: 32 bytes each, the last two counts are temperature and humidity in a T.
  'plantower-pms': {
    frameBytes: 32,
    question: {
      setting: 'variant',
      why: 'its frames do not tell PMS5003, PMS5003T and PMS5003S apart; read the label',
      choices: [
        ['pms5003', 'PMS1003, PMS5003, PMS7003 or PMSA003: particles'],
        ['pms5003t', 'PMS5003T: particles, temperature and humidity'],
        ['pms5003s', 'PMS5003S: particles and formaldehyde'],
      ],
    },
  },
}

/** What the owner has to say about a device; undefined where its frames say all. */
export const questionAbout = ({ model, frame }: Recognised): Question | undefined => {
  const asked = questions[model]
  return asked?.frameBytes === frame.length ? asked.question : undefined
}

/** A sensor of the proposal. `settings` are answers of the owner; `open` is what was not answered. */
export type Proposed = {
  readonly id: string
  readonly model: string
  readonly link: string
  readonly baudRate?: number
  readonly settings: Readonly<Record<string, string>>
  readonly open?: Question
  readonly about: string
}

/** One sensor per recognised device, with ids of their own; `answer` is asked once for each open question. */
export const proposedSensors = async (
  found: readonly Found[],
  answer: (link: string, question: Question) => Promise<string | undefined>,
): Promise<Proposed[]> => {
  const used = new Map<string, number>()
  const proposed: Proposed[] = []
  for (const { link, port, adapter, finding } of found) {
    if (finding.kind !== 'recognised') continue
    const { model, baudRate, quantities } = finding
    const stem = model.split('-').at(-1)!
    const count = (used.get(stem) ?? 0) + 1
    used.set(stem, count)
    const question = questionAbout(finding)
    const value = question && (await answer(link, question))
    const at = port ? `${adapter?.what ?? 'serial port'} at ${port.path}: ` : ''
    proposed.push({
      id: count === 1 ? stem : `${stem}-${count}`,
      model,
      link,
      ...(baudRate === driverOf(model).baudRate ? {} : { baudRate }),
      settings: question && value !== undefined ? { [question.setting]: value } : {},
      ...(question && value === undefined ? { open: question } : {}),
      about: `${at}${quantities.join(', ') || 'radio nodes'}`,
    })
  }
  return proposed
}

// What comes from a wire or a file name stands in comments only as one line of printable characters.
const comment = (text: string): string => text.replaceAll(/[^\x20-\x7e]+/g, ' ').slice(0, 200)

const scalar = (value: string | number): string => stringify(value).trimEnd()

const sensorLines = ({ id, model, link, baudRate, settings, open, about }: Proposed): string[] => [
  `    # ${comment(about)}`,
  `    - id: ${id}`,
  `      model: ${model}`,
  `      link: ${scalar(link)}`,
  ...(baudRate === undefined ? [] : [`      baudRate: ${baudRate}`]),
  ...(Object.keys(settings).length === 0
    ? []
    : [
        '      settings:',
        ...Object.entries(settings).map(([key, value]) => `        ${key}: ${scalar(value)}`),
      ]),
  ...(open === undefined
    ? []
    : [
        `      # ${comment(open.why)}, and set one of:`,
        ...open.choices.map(
          ([value, title]) => `      # settings: { ${open.setting}: ${value} }  # ${comment(title)}`,
        ),
      ]),
]

const leftOut = ({ link, port, finding }: Found): string[] => {
  const where = comment(port ? `${link} (${port.path})` : link)
  switch (finding.kind) {
    case 'recognised':
      return []
    case 'silent':
      return [
        `    # ${where}: nothing was heard. ${
          isListening(link)
            ? 'Give the gateway the address of this computer and this port as its server.'
            : 'Check power and wiring, or it only speaks when asked.'
        }`,
      ]
    case 'unknown':
      return [
        `    # ${where}: ${finding.bytes} bytes that no driver understands without settings.`,
        ...(finding.line === undefined
          ? []
          : [
              `    # A line of it: ${comment(finding.line)}`,
              '    # Columns of numbers are read by model text-lines with the setting "columns".',
            ]),
      ]
    case 'unusable':
      return [`    # ${comment(finding.message)}`]
  }
}

/** The whole `station.yaml`. */
export const stationYaml = (
  { network, brokerUrl }: { readonly network: string; readonly brokerUrl: string },
  sensors: readonly Proposed[],
  found: readonly Found[],
): string =>
  [
    '# A station, as found by "groundtruth init". Every setting: groundtruth config',
    `network: ${scalar(network)}`,
    'edge:',
    '  broker:',
    `    url: ${scalar(brokerUrl)}`,
    '  sensors:',
    ...sensors.flatMap(sensorLines),
    ...found.flatMap(leftOut),
    '',
  ].join('\n')
