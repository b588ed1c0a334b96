/** A real Chromium without a window, and a page on loopback for it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { build } from 'esbuild'

const isExecutable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Where Chromium is, or undefined where it is not installed. */
export const chromiumPath: string | undefined = (process.env.PATH ?? '')
  .split(delimiter)
  .map((folder) => join(folder, 'chromium'))
  .find(isExecutable)

/** For the name of what is skipped without it. */
export const chromiumHint = chromiumPath ? '' : ' (SKIPPED: chromium is missing; apt-get install chromium)'

if (!chromiumPath)
  console.warn('What runs in a browser is skipped: chromium is not installed. apt-get install chromium')

/** A module and all it imports as one script for browsers, and the names of its files. */
export const bundleForBrowser = async (
  entry: string,
): Promise<{ readonly script: string; readonly inputs: readonly string[] }> => {
  const { outputFiles, metafile } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    platform: 'browser',
    format: 'esm',
    target: 'es2022',
    minify: true,
    metafile: true,
    logLevel: 'silent',
  })
  return { script: outputFiles[0]!.text, inputs: Object.keys(metafile.inputs) }
}

const start = (url: string, profile: string): ChildProcess => {
  const browser = spawn(
    chromiumPath!,
    [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
      ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
      ...['--disable-dev-shm-usage', '--remote-debugging-port=0', `--user-data-dir=${profile}`],
      url,
    ],
    // A browser is many processes: a group of its own, which ends as one.
    { stdio: 'ignore', detached: true },
  )
  browser.on('error', () => undefined)
  return browser
}

export type Page = AsyncDisposable & {
  /** What the page's script posts to /told. */
  readonly told: Promise<string>
}

/** Opens a page with that script in Chromium. Anything else that the page posts or asks for is answered by `answer`. */
export const openPage = async (
  script: string,
  answer: (path: string, body: Buffer) => Promise<string> | string,
): Promise<Page> => {
  const told = Promise.withResolvers<string>()
  told.promise.catch(() => undefined)
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks)
    switch (request.url) {
      case '/':
        response.setHeader('content-type', 'text/html')
        return response.end('<!doctype html><script type="module" src="/page.js"></script>')
      case '/page.js':
        response.setHeader('content-type', 'text/javascript')
        return response.end(script)
      case '/told':
        told.resolve(body.toString())
        return response.end()
      default:
        response.end(await answer(request.url!, body))
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const profile = mkdtempSync(join(tmpdir(), 'groundtruth-chromium-'))
  const browser = start(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, profile)
  const ended = once(browser, 'close')
  ended.then(
    () => told.reject(new Error('Chromium ended before its page had told anything')),
    (error: unknown) => told.reject(error),
  )
  return {
    told: told.promise,
    [Symbol.asyncDispose]: async () => {
      if (browser.exitCode === null && browser.signalCode === null) process.kill(-browser.pid!, 'SIGKILL')
      await ended
      server.closeAllConnections()
      server.close()
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}
