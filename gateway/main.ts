/** The command line: argv to up, hub, run, sim, init, doctor, verify, key, store, buy, export, market, sensors, config. */
import { enableCompileCache } from 'node:module'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { exitCodes, explain } from './exit.ts'

// Compiling and stripping types is most of what starting costs, in time and in memory: done once for each version. In the
// user's own cache, for what lies there is run.
enableCompileCache(join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'groundtruth', 'compiled'))

const packageVersion = '0.1.0'

const needed = [24, 21] as const
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < needed[0] || (major === needed[0] && minor < needed[1])) {
  process.stderr.write(
    `Groundtruth needs Node ${needed.join('.')} or newer, this is ${process.versions.node}: older ones accept forged signatures.\n` +
      'Run it with "npm start", which brings its own, or install Node 24.\n',
  )
  process.exit(exitCodes.unavailable)
}

const number =
  (least: number, most: number) =>
  (text: string): number => {
    const value = Number(text)
    if (text.trim() === '' || !(value >= least && value <= most))
      throw new InvalidArgumentError(`a number from ${least} to ${most} is expected.`)
    return value
  }
const port = number(0, 65_535)
const repeated = (value: string, before: readonly string[]): readonly string[] => [...before, value]

/** Options that several commands share, by the path they set in the configuration. */
const shared = (command: Command): Command =>
  command
    .option('--config <file>', 'configuration (YAML)')
    .option('--data <directory>', 'where all state lives')
    .option('--network <id>', 'network id')

/** What is bought, and where. */
const asking = (command: Command): Command =>
  command
    .requiredOption('--hub <url>', 'address of the hub’s API')
    .option('--key-file <file>', 'file (mode 0600) with the API key')
    .option('--station <id>', 'only this station')
    .option('--sensor <id>', 'only this sensor')
    .option('--quantity <name>', 'only this quantity (may be repeated)', repeated, [])
    .option('--from <time>', 'start: RFC 3339, milliseconds since 1970, or back from now as -1h', '-1h')
    .option('--to <time>', 'end, exclusive; same forms', 'now')
    .option('--every <length>', 'one value per interval, as 5m')
    .option('--min-quality <score>', 'only readings with at least this score', number(0, 1))

const hubPorts = (command: Command): Command =>
  command
    .option('--http-port <port>', 'port of the query API (default 8080; 0 picks a free one)', port)
    .option('--mqtt-port <port>', 'port of the embedded broker (default 1883; 0 picks a free one)', port)
    .option('--rpc-port <port>', 'port of the embedded chain (default 8545; 0 picks a free one)', port)

const simulation = (command: Command, stations: number): Command =>
  command
    .option('--stations <n>', 'simulated stations', number(1, 1000), stations)
    .option('--seed <n>', 'seed of fleet and weather', number(0, 2 ** 31), 1)
    .option('--interval <seconds>', 'seconds between a device’s readings', number(0.05, 3600), 1)

export type SharedOptions = { config?: string; data?: string; network?: string }
export type PortOptions = { httpPort?: number; mqttPort?: number; rpcPort?: number }
export type FleetOptions = { stations: number; seed: number; interval: number }

const build = (): Command => {
  const program = new Command('groundtruth')
    .description(
      'Sensor data that carries its own proof, from the wire the sensor spoke on to a root on a chain.',
    )
    .version(packageVersion)
    .showHelpAfterError('(run it with --help for what there is)')
    .exitOverride()

  simulation(hubPorts(shared(program.command('up'))), 1)
    .description('everything in one process: chain, hub, and a station with simulated devices')
    .action(async (options) => (await import('./commands/up.ts')).up(options, packageVersion))
  hubPorts(shared(program.command('hub')))
    .description('the network half: broker, evidence, store, anchoring, query API')
    .action(async (options) => (await import('./commands/hub.ts')).hub(options, packageVersion))
  shared(program.command('run').alias('edge'))
    .description('the station half: reads sensors, signs, and relays to a hub')
    .option('--broker <url>', 'mqtt:// or mqtts:// of the hub’s broker')
    .option('--test', 'print what the sensors say; nothing is signed or sent', false)
    .option('--once', 'send one reading of every sensor, wait for the receipt, and end', false)
    .option('--for <seconds>', 'how long --test prints, or --once waits for each sensor', number(0.1, 86_400))
    .option('--json', 'with --test: one JSON object a line', false)
    .action(async (options) => (await import('./commands/edge.ts')).edge(options, packageVersion))
  shared(program.command('init'))
    .description('find what is plugged in, and write a station.yaml for it')
    .option('--yes', 'write without asking', false)
    .option('--force', 'replace a file that is there', false)
    .option('--json', 'what was found, as JSON', false)
    .option('--link <link>', 'also probe this port or tcp://host:port (may be repeated)', repeated, [])
    .option('--no-ports', 'probe only what --link names')
    .option('--broker <url>', 'mqtt:// or mqtts:// of the hub’s broker', 'mqtt://127.0.0.1:1883')
    .option('--listen <seconds>', 'how long to listen at each baud rate', number(0.1, 600), 4)
    .action(async (options) => (await import('./commands/init.ts')).init(options))
  simulation(shared(program.command('sim')), 20)
    .description('a fleet of simulated stations against a hub')
    .option('--broker <url>', 'mqtt:// or mqtts:// of the hub’s broker')
    .addOption(
      new Option('--outlet <kind>', 'how devices are reached')
        .choices(['auto', 'pty', 'tcp', 'in-process'])
        .default('in-process'),
    )
    .option('--faults', 'spoil the wires: noise, torn frames, pulled cables', false)
    .action(async (options) => (await import('./commands/sim.ts')).sim(options, packageVersion))
  shared(program.command('doctor'))
    .description('check everything a station needs, and say what to do')
    .option('--listen <seconds>', 'also listen to each sensor for so long', number(0, 600), 0)
    .option('--json', 'as JSON', false)
    .action(async (options) => (await import('./commands/doctor.ts')).doctor(options))

  program
    .command('verify')
    .argument('<file>', 'bundle from /v1/bundle or /v1/receipts/{id}/bundle')
    .description('check a proof bundle offline; with --rpc also its roots on the chain')
    .option(
      '--answer <file>',
      'also compare the answer that was bought (JSON, NDJSON or CSV) with what is proven',
    )
    .option('--rpc <url>', 'JSON-RPC of the chain')
    .option('--json', 'the report as JSON', false)
    .action(async (file: string, options) => (await import('./commands/verify.ts')).verify(file, options))
  shared(program.command('key'))
    .description('show this station’s id and public key; the key is created where there is none')
    .option('--json', 'as JSON', false)
    .option('--account <id>', 'also sign that the station belongs to that account of a hub that sells')
    .action(async (options) => (await import('./commands/key.ts')).key(options))
  shared(program.command('store').command('rebuild'))
    .description('delete the time-series store and make it again from the evidence (hub stopped)')
    .action(async (options) => (await import('./commands/store.ts')).rebuild(options))
  asking(program.command('buy'))
    .description(
      'buy readings from a hub, checked against its receipt; the key is in GROUNDTRUTH_KEY or a file',
    )
    .addOption(
      new Option(
        '--format <name>',
        'format of the readings; pages of 10,000 rows become one file, but for parquet (a file each) and cbor (a sequence)',
      )
        .choices(['json', 'csv', 'ndjson', 'geojson', 'cbor', 'parquet'])
        .default('json'),
    )
    .option('--output <file>', 'where the readings go; without it to standard output')
    .option('--max-usd <usd>', 'pay no more than this, in US dollars', '0.01')
    .option('--quote', 'only say what it costs', false)
    .option('--bundle <file>', 'also fetch the proof of it, and verify that here')
    .option('--wait <seconds>', 'how long to wait until the proof is anchored', number(0, 86_400), 0)
    .option('--json', 'say what was bought as JSON; with --output or --quote', false)
    .action(async (options) => (await import('./commands/buy.ts')).buy(options))
  asking(program.command('export'))
    .description(
      'buy all readings of a query, however many, as one file made by the hub; checked against its receipt',
    )
    .addOption(
      new Option('--format <name>', 'format of the file')
        .choices(['parquet', 'csv', 'ndjson', 'json', 'geojson', 'cbor'])
        .default('parquet'),
    )
    .requiredOption('--output <file>', 'where the file goes')
    .option('--max-usd <usd>', 'pay no more than this, in US dollars', '0.01')
    .option('--json', 'say what was bought as JSON', false)
    .action(async (options) => (await import('./commands/export.ts')).exportRows(options))
  const market = program.command('market').description('the books of a hub that sells; it may be running')
  shared(market.command('credit'))
    .argument('<account>', 'id of an account, as /v1/account shows it')
    .argument('<usd>', 'US dollars, as 25 or 0.50')
    .description('give an account credit')
    .requiredOption('--memo <text>', 'what it is for; its owner sees it')
    .option('--request <id>', 'name of this credit: the same again does nothing')
    .option('--json', 'as JSON', false)
    .action(async (account: string, usd: string, options) =>
      (await import('./commands/market.ts')).credit(account, usd, options),
    )
  shared(market.command('ledger'))
    .description('print every entry, oldest first')
    .addOption(new Option('--csv', 'as CSV').default(false).conflicts('json'))
    .option('--json', 'one JSON object a line', false)
    .action(async (options) => (await import('./commands/market.ts')).ledger(options))
  shared(market.command('audit'))
    .description('add up the books anew; ends with 1 where they do not add up')
    .option('--json', 'as JSON', false)
    .action(async (options) => (await import('./commands/market.ts')).audit(options))
  shared(market.command('accounts'))
    .description('list all accounts with their balances')
    .option('--json', 'as JSON', false)
    .action(async (options) => (await import('./commands/market.ts')).accounts(options))
  program
    .command('sensors')
    .argument('[model]', 'a driver, to see its settings')
    .description('list the devices that can be read, or show one with its settings')
    .option('--json', 'as JSON', false)
    .action(async (model: string | undefined, options) =>
      (await import('./commands/sensors.ts')).sensors(model, options),
    )
  program
    .command('config')
    .description('print every setting with its default and meaning')
    .option('--json-schema', 'as JSON Schema, for editors', false)
    .action(async (options) => (await import('./commands/config.ts')).config(options))
    .command('sample')
    .description('print a commented example')
    .action(async () => (await import('./commands/config.ts')).sample())
  return program
}

try {
  await build().parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
  } else {
    const { message, code } = explain(error)
    process.stderr.write(`${message}\n`)
    process.exitCode = code
  }
}
