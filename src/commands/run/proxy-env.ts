import { BlockList, isIP } from 'node:net';

import { parseAddressRange } from '../../api/address-range.ts';
import type { TargetProxy } from '../../api/run.ts';
import { type CommandContext, InputError } from '../context.ts';

/**
 * Returns the proxy for a URL from the environment, with the rules of curl: the variable of the scheme, then `ALL_PROXY`;
 * lower case before upper case; none for hosts in `NO_PROXY`.
 *
 * @throws {InputError} naming the variable but not its value, which may contain a password.
 */
export function proxyFromEnv(env: CommandContext['env'], url: string): TargetProxy | undefined {
  const { protocol, hostname, port } = new URL(url);
  const name = [`${protocol.slice(0, -1)}_proxy`, 'all_proxy']
    .flatMap((variable) => [variable, variable.toUpperCase()])
    .find((variable) => env[variable] && isTrusted(variable, env));
  const value = name === undefined ? undefined : env[name];
  if (
    name === undefined ||
    !value ||
    isExcluded({ hostname, port }, env['no_proxy'] || env['NO_PROXY'] || '')
  ) {
    return undefined;
  }
  return parseProxy(name, value);
}

/** In a CGI program, a client sets `HTTP_PROXY` with the header `Proxy`. Source: https://httpoxy.org. */
function isTrusted(variable: string, env: CommandContext['env']): boolean {
  return variable !== 'HTTP_PROXY' || !env['REQUEST_METHOD'];
}

function parseProxy(name: string, value: string): TargetProxy {
  const url = URL.parse(/^[a-z][a-z\d+.-]*:\/\//i.test(value) ? value : `http://${value}`);
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === '') {
    throw new InputError(
      `${name}: is not the URL of an HTTP proxy; accepted: http://[user:password@]host[:port] or https://…`,
    );
  }
  const username = decoded(url.username);
  return {
    url: url.origin,
    ...(username !== '' && { credentials: { username, password: decoded(url.password) } }),
  };
}

/** Removes percent-encoding. A password may contain a bare percent sign, which is then kept. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** @param noProxy host names with their subdomains, addresses and CIDRs, or `*`. A port limits an entry to it. */
function isExcluded({ hostname, port }: Pick<URL, 'hostname' | 'port'>, noProxy: string): boolean {
  const host = hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '');
  return noProxy
    .toLowerCase()
    .split(/[\s,]+/)
    .some((entry) => {
      const [, name = entry, entryPort] = /^([^:]*|\[.*\]):(\d+)$/.exec(entry) ?? [];
      if (entryPort !== undefined && entryPort !== port) return false;
      return name === '*' || matches(host, name);
    });
}

function matches(host: string, entry: string): boolean {
  if (isIP(host) !== 0) return inRange(host, entry.replace(/^\[(.*)\]$/, '$1'));
  const domain = entry.replace(/^\*?\./, '').replace(/\.$/, '');
  return domain !== '' && (host === domain || host.endsWith(`.${domain}`));
}

function inRange(host: string, range: string): boolean {
  const list = new BlockList();
  try {
    const { address, prefixBits } = parseAddressRange(range);
    list.addSubnet(address, prefixBits, familyOf(address));
  } catch {
    return false;
  }
  return list.check(host, familyOf(host));
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 4 ? 'ipv4' : 'ipv6';
}
