/** Draws /openapi.json: what can be asked, a form to try it with, and what the answer is made of. */

// An answer can have megabytes; a page that shows them all stops scrolling.
const shownCharacters = 20_000
const streamMs = 5_000

/** An element with properties and children; text is never read as HTML. */
const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties)
  made.append(...children)
  return made
}

const resolve = (api, schema = {}) =>
  schema.$ref === undefined ? schema : (api.components.schemas[schema.$ref.split('/').at(-1)] ?? {})

const typeText = (api, given, depth = 0) => {
  const schema = resolve(api, given)
  const options = schema.anyOf ?? schema.oneOf
  if (options !== undefined) return options.map((one) => typeText(api, one, depth)).join(' | ')
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.enum !== undefined && schema.enum.length <= 8) return schema.enum.map(String).join(' | ')
  if (schema.type === 'array' && depth < 3) return `list of ${typeText(api, schema.items, depth + 1)}`
  if (given?.$ref !== undefined) return given.$ref.split('/').at(-1)
  return [schema.type ?? 'any'].flat().join(' | ')
}

/** Rows of a table for an object's members, nested ones behind a dot. */
const memberRows = (api, given, prefix = '', depth = 0) => {
  const schema = resolve(api, given)
  const required = new Set(schema.required ?? [])
  return Object.entries(schema.properties ?? {}).flatMap(([name, member]) => {
    const resolved = resolve(api, member)
    const inner = resolved.type === 'array' ? resolve(api, resolved.items) : resolved
    const path = `${prefix}${name}${resolved.type === 'array' ? '[]' : ''}`
    const optional = required.has(name) ? '' : ' (may be left out)'
    const row = element(
      'tr',
      {},
      element('td', {}, element('code', { textContent: path })),
      element('td', { textContent: typeText(api, member) + optional }),
      element('td', { textContent: member.description ?? resolved.description ?? '' }),
    )
    return [row, ...(depth < 3 && inner.properties ? memberRows(api, inner, `${path}.`, depth + 1) : [])]
  })
}

const memberTables = (api, schema) => {
  const options = resolve(api, schema).anyOf ?? resolve(api, schema).oneOf ?? [schema]
  return options
    .map((one) => memberRows(api, one))
    .filter((rows) => rows.length > 0)
    .map((rows) =>
      element(
        'table',
        {},
        element(
          'tr',
          {},
          ...['Member', 'Type', 'Meaning'].map((text) => element('th', { textContent: text })),
        ),
        ...rows,
      ),
    )
}

const inputFor = (parameter, id) => {
  const { schema } = parameter
  if (schema.enum !== undefined) {
    const options = ['', ...schema.enum].map((value) => element('option', { value, textContent: value }))
    return element('select', { id, name: parameter.name }, ...options)
  }
  const example = schema.example ?? parameter.example ?? schema.default ?? ''
  return element('input', {
    id,
    name: parameter.name,
    placeholder: [example].flat().join(','),
    required: parameter.required === true,
    autocomplete: 'off',
    spellcheck: false,
  })
}

const addressOf = (path, parameters, form) => {
  const query = new URLSearchParams()
  let address = path
  for (const { name, in: place } of parameters) {
    const value = new FormData(form).get(name)?.trim() ?? ''
    if (place === 'path') address = address.replace(`{${name}}`, encodeURIComponent(value))
    else if (value !== '') query.set(name, value)
  }
  return query.size === 0 ? address : `${address}?${query}`
}

const pretty = (text) => {
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}

const cut = (text) =>
  text.length <= shownCharacters
    ? text
    : `${text.slice(0, shownCharacters)}\n... and ${text.length - shownCharacters} characters more`

const isText = (type) => /^text\/|json/.test(type)

/** The text of an answer; of a stream, which has no end, what comes in its first seconds. */
const textOf = async (response, type) => {
  if (!type.startsWith('text/event-stream')) return response.text()
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  const enough = setTimeout(() => reader.cancel(), streamMs)
  let text = ''
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    text += piece.value
    if (text.length > shownCharacters) await reader.cancel()
  }
  clearTimeout(enough)
  return text
}

/** What came of a request, drawn below its form. */
const showAnswer = async (address, place) => {
  const link = element('a', { href: address, textContent: address })
  place.replaceChildren(element('p', {}, 'GET ', link))
  try {
    const response = await fetch(address)
    const type = response.headers.get('content-type') ?? ''
    const text = isText(type) ? await textOf(response, type) : ''
    const size = isText(type) ? text.length : (await response.blob()).size
    place.append(
      element('p', {
        className: response.ok ? 'soft' : 'wrong',
        textContent: `${response.status} ${type}, ${size} ${isText(type) ? 'characters' : 'bytes'}`,
      }),
    )
    if (isText(type))
      place.append(
        element('pre', { textContent: cut(/json$/.test(type) ? pretty(text) : text), tabIndex: 0 }),
      )
  } catch (error) {
    place.append(element('p', { className: 'wrong', textContent: `no answer: ${error.message}` }))
  }
}

const tryForm = (path, parameters, id) => {
  const answer = element('div', { ariaLive: 'polite' })
  const fields = parameters.flatMap((parameter) => {
    const inputId = `${id}-${parameter.name}`
    const { description = parameter.schema.description ?? '' } = parameter
    return [
      element('label', { htmlFor: inputId }, element('code', { textContent: parameter.name })),
      inputFor(parameter, inputId),
      element('p', { className: 'soft', textContent: description }),
    ]
  })
  const form = element(
    'form',
    {
      onsubmit: (event) => {
        event.preventDefault()
        showAnswer(addressOf(path, parameters, form), answer)
      },
    },
    element('div', { className: 'fields' }, ...fields),
    element('button', { type: 'submit', textContent: 'Try it' }),
  )
  return [form, answer]
}

const drawOperation = (api, path, operation) => {
  const id = path.replaceAll(/[^a-z0-9]+/gi, '-')
  const success = operation.responses['200']
  const types = Object.keys(success?.content ?? {})
  const schema = success?.content?.['application/json']?.schema
  // A link can be followed with any of these; headers are for programs.
  const parameters = (operation.parameters ?? []).filter(({ in: place }) => place !== 'header')
  return element(
    'article',
    { id: `at${id}` },
    element(
      'details',
      {},
      element(
        'summary',
        {},
        element('h3', { className: 'path', textContent: `GET ${path}` }),
        element('span', { className: 'soft', textContent: operation.summary ?? '' }),
      ),
      element(
        'div',
        { className: 'body' },
        ...(operation.description ? [element('p', { textContent: operation.description })] : []),
        ...tryForm(path, parameters, id),
        element('p', { className: 'soft', textContent: `Answers ${types.join(', ')}` }),
        ...(schema === undefined ? [] : memberTables(api, schema)),
      ),
    ),
  )
}

/** Opens what the address names, so that a link leads to an open entry. */
const openNamed = () => {
  const details = document.getElementById(location.hash.slice(1))?.querySelector('details')
  if (details) details.open = true
}

const draw = (api) => {
  const about = document.getElementById('about')
  about.textContent = `${api.info.description.replaceAll('\n', ' ')} Version ${api.info.version}. `
  about.append(element('a', { href: '/openapi.json', textContent: 'OpenAPI description' }))
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    methods.get === undefined ? [] : [{ path, operation: methods.get }],
  )
  const links = operations.map(({ path }) =>
    element(
      'li',
      {},
      element('a', { href: `#at${path.replaceAll(/[^a-z0-9]+/gi, '-')}`, textContent: path }),
    ),
  )
  document.getElementById('contents').append(element('ul', {}, ...links))
  const main = document.getElementById('operations')
  for (const { name } of api.tags) {
    const ofTag = operations.filter(({ operation }) => operation.tags?.includes(name))
    main.append(
      element('h2', { textContent: name }),
      ...ofTag.map(({ path, operation }) => drawOperation(api, path, operation)),
    )
  }
  addEventListener('hashchange', openNamed)
  openNamed()
}

try {
  const response = await fetch('/openapi.json')
  if (!response.ok) throw new Error(`status ${response.status}`)
  draw(await response.json())
} catch (error) {
  document.getElementById('about').textContent = `/openapi.json cannot be read: ${error.message}`
}
