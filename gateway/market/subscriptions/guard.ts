/**
 * Where a webhook may go: to an address of the public internet. Names are resolved here, once, and the connection is
 * made to exactly what was looked at: whoever answers differently the second time is not asked a second time.
 */
import { lookup } from 'node:dns/promises'
import { BlockList, isIP, isIPv4 } from 'node:net'

export type Address = { readonly address: string; readonly family: 4 | 6 }

/** Every address of a host name. */
export type Resolve = (hostname: string) => Promise<readonly Address[]>

/** What webhooks may do here; `privateAddresses` lets them go anywhere, and by plain http too. */
export type GuardOptions = { readonly privateAddresses: boolean; readonly resolve?: Resolve }

/** Where to connect, or why not. */
export type Guarded =
  | { readonly ok: true; readonly addresses: readonly Address[] }
  | { readonly ok: false; readonly detail: string }

/** IPv4 that is not the public internet: IANA's special-purpose registry (RFC 6890), multicast, and one cloud's own. */
const closed4 = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['168.63.129.16', 32], // Azure's metadata and DNS, of all places in public space
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const

/** Of IPv6 only global unicast (RFC 4291 s2.4) is public, less what is for tunnels to other addresses, and for books. */
const open6 = ['2000::', 3] as const
const closed6 = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const

const listOf = (nets: readonly (readonly [string, number])[], family: 'ipv4' | 'ipv6'): BlockList => {
  const list = new BlockList()
  for (const [net, prefix] of nets) list.addSubnet(net, prefix, family)
  return list
}

const closed = { ipv4: listOf(closed4, 'ipv4'), ipv6: listOf(closed6, 'ipv6') }
const open = listOf([open6], 'ipv6')

/** Whether an address (in its usual notation) is of the public internet; false for anything that is no address. */
export const isPublic = (address: string): boolean => {
  if (isIPv4(address)) return !closed.ipv4.check(address, 'ipv4')
  return isIP(address) === 6 && open.check(address, 'ipv6') && !closed.ipv6.check(address, 'ipv6')
}

const maxUrlLength = 1024

/** A webhook's address as it may be kept, or what is wrong with it. Nothing is looked up. */
export const parseTarget = (
  text: string,
  { privateAddresses }: GuardOptions,
): { readonly ok: true; readonly url: URL } | { readonly ok: false; readonly detail: string } => {
  const no = (detail: string) => ({ ok: false, detail }) as const
  const url = text.length <= maxUrlLength ? URL.parse(text) : null
  if (url === null) return no(`must be an address of at most ${maxUrlLength} characters`)
  if (url.protocol !== 'https:' && !(privateAddresses && url.protocol === 'http:'))
    return no('must be an https:// address')
  if (url.username !== '' || url.password !== '') return no('must not hold a name or password')
  if (url.hash !== '') return no('must not have a fragment')
  const host = hostOf(url)
  if (isIP(host) !== 0 && !privateAddresses && !isPublic(host)) return no('must be public')
  return { ok: true, url }
}

/** The host of a URL without the brackets of an IPv6 address. */
export const hostOf = (url: URL): string => url.hostname.replace(/^\[(.*)\]$/, '$1')

const resolveAll: Resolve = async (hostname) =>
  (await lookup(hostname, { all: true, order: 'verbatim' })).map(({ address, family }) => ({
    address,
    family: family === 6 ? 6 : 4,
  }))

// More than any honest name has.
const maxAddresses = 16

/** Looks a target's host up. One private address among public ones is enough to refuse: nobody honest has both. */
export const addressesOf = async (url: URL, options: GuardOptions): Promise<Guarded> => {
  const { privateAddresses, resolve = resolveAll } = options
  const host = hostOf(url)
  const family = isIP(host)
  let addresses: readonly Address[]
  try {
    addresses = family === 0 ? await resolve(host) : [{ address: host, family: family === 6 ? 6 : 4 }]
  } catch {
    return { ok: false, detail: 'its name cannot be resolved' }
  }
  if (addresses.length === 0) return { ok: false, detail: 'its name has no address' }
  if (!privateAddresses && !addresses.every(({ address }) => isPublic(address)))
    return { ok: false, detail: 'its name leads to an address that is not public' }
  return { ok: true, addresses: addresses.slice(0, maxAddresses) }
}
