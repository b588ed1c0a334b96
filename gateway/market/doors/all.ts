/** Where to begin: every door of the API with its address, for the front page and for programs. */

/** `name` is for programs, `title` for people; `page` says that a browser can open it. */
export type Door = {
  readonly name: string
  readonly address: string
  readonly title: string
  readonly page: boolean
}

/** In the order they are shown; each is shown where the API has that address. */
export const doors: readonly Door[] = [
  { name: 'stations', address: '/v1/stations', title: 'Stations', page: true },
  { name: 'catalogue', address: '/v1/catalogue.jsonld', title: 'The catalogue (DCAT)', page: true },
  { name: 'coverage', address: '/v1/coverage', title: 'Where there is data', page: true },
  { name: 'sample', address: '/v1/sample', title: 'Some readings, for nothing', page: true },
  { name: 'latest', address: '/v1/latest', title: 'Newest readings', page: true },
  { name: 'readings', address: '/v1/readings', title: 'The last hour', page: true },
  { name: 'quantities', address: '/v1/quantities', title: 'What can be measured', page: true },
  { name: 'bundle', address: '/v1/bundle', title: 'The proof of readings', page: false },
  { name: 'batches', address: '/v1/batches', title: 'What was anchored', page: true },
  { name: 'keys', address: '/v1/keys', title: 'A key to buy with', page: false },
  { name: 'topup', address: '/v1/topup', title: 'A key paid by x402', page: false },
  { name: 'checkout', address: '/v1/checkout', title: 'Credit by card', page: false },
  { name: 'quotes', address: '/v1/quotes', title: 'What a query costs', page: false },
  { name: 'exports', address: '/v1/exports', title: 'Whole data sets as files', page: false },
  {
    name: 'subscriptions',
    address: '/v1/subscriptions',
    title: 'Readings as they come, by webhook or MQTT',
    page: false,
  },
  { name: 'receipts', address: '/v1/receipts', title: 'What was bought', page: false },
  { name: 'sensorthings', address: '/sta/v1.1', title: 'OGC SensorThings', page: true },
  { name: 'influx', address: '/influx/query', title: 'InfluxQL, as Grafana asks', page: false },
  { name: 'mcp', address: '/mcp', title: 'Tools for language models (MCP)', page: false },
  { name: 'status', address: '/v1/status', title: 'Status of this hub', page: true },
]
