import { open, stat } from 'node:fs/promises';
import net from 'node:net';

import type { Clock } from '../clock/clock.ts';

export interface HostsFile {
  /** Addresses by lower-case host name, in the order of the file. */
  readonly addresses: ReadonlyMap<string, readonly string[]>;
}

/** Source: resolv.conf(5), with the limits of glibc. */
export interface ResolvConf {
  readonly nameservers: readonly string[];
  /** Domains to append to a name, in this order. */
  readonly search: readonly string[];
  /** A name with at least this many dots is first tried as it is. */
  readonly ndots: number;
  readonly timeoutMs: number;
  readonly attempts: number;
}

export interface ResolverSettings extends ResolvConf {
  readonly hosts: HostsFile;
  /** True if the system also looks names up in other places than `/etc/hosts` and DNS, for example LDAP or mDNS. */
  readonly hasOtherSources: boolean;
}

export interface ResolverPaths {
  readonly hosts: string;
  readonly resolvConf: string;
  readonly nsswitch: string;
}

export const SYSTEM_PATHS: ResolverPaths = {
  hosts: '/etc/hosts',
  resolvConf: '/etc/resolv.conf',
  nsswitch: '/etc/nsswitch.conf',
};

/** Lists of blocked hosts have about 100,000 lines of 30 bytes. */
const MAX_FILE_BYTES = 4 * 1_024 * 1_024;
const RECHECK_MS = 3_000;

/** Reads the files that configure name resolution. Checks every few seconds whether a file has changed. */
export class ResolverFiles {
  readonly #clock: Clock;
  readonly #hosts: WatchedFile<HostsFile>;
  readonly #resolvConf: WatchedFile<ResolvConf>;
  readonly #nsswitch: WatchedFile<boolean>;
  #checkedAtMs = -Infinity;
  #settings: Promise<ResolverSettings> | undefined;

  constructor(clock: Clock, paths: ResolverPaths = SYSTEM_PATHS) {
    this.#clock = clock;
    this.#hosts = new WatchedFile(paths.hosts, parseHosts);
    this.#resolvConf = new WatchedFile(paths.resolvConf, parseResolvConf);
    this.#nsswitch = new WatchedFile(paths.nsswitch, parseHasOtherSources);
  }

  /** A missing or unreadable file counts as empty. */
  read(): Promise<ResolverSettings> {
    const nowMs = this.#clock.monotonicMs();
    if (this.#settings === undefined || nowMs - this.#checkedAtMs >= RECHECK_MS) {
      this.#checkedAtMs = nowMs;
      this.#settings = this.#readAll();
    }
    return this.#settings;
  }

  async #readAll(): Promise<ResolverSettings> {
    const [hosts, resolvConf, hasOtherSources] = await Promise.all([
      this.#hosts.read(),
      this.#resolvConf.read(),
      this.#nsswitch.read(),
    ]);
    return { ...resolvConf, hosts, hasOtherSources };
  }
}

/** Parses a file again only when it has changed. */
class WatchedFile<T> {
  readonly #path: string;
  readonly #parse: (text: string) => T;
  #version: string | undefined;
  #value: T;

  constructor(path: string, parse: (text: string) => T) {
    this.#path = path;
    this.#parse = parse;
    this.#value = parse('');
  }

  async read(): Promise<T> {
    const version = await versionOf(this.#path);
    if (version === this.#version) return this.#value;
    this.#value = this.#parse(version === undefined ? '' : await readStart(this.#path));
    this.#version = version;
    return this.#value;
  }
}

/** @returns undefined if there is no such file. */
async function versionOf(path: string): Promise<string | undefined> {
  try {
    const { mtimeMs, size, ino } = await stat(path);
    return `${mtimeMs} ${size} ${ino}`;
  } catch {
    return undefined;
  }
}

async function readStart(path: string): Promise<string> {
  try {
    await using file = await open(path);
    const { size } = await file.stat();
    const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.min(size, MAX_FILE_BYTES)));
    return buffer.toString('utf8', 0, bytesRead);
  } catch {
    return '';
  }
}

/** Source: hosts(5). */
export function parseHosts(text: string): HostsFile {
  const addresses = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [address = '', ...names] = wordsOf(line);
    if (net.isIP(address) === 0) continue;
    for (const name of names) {
      const known = addresses.get(name.toLowerCase());
      if (known === undefined) addresses.set(name.toLowerCase(), [address]);
      else if (!known.includes(address)) known.push(address);
    }
  }
  return { addresses };
}

/** glibc uses the first three. Source: resolv.conf(5), MAXNS. */
const MAX_NAMESERVERS = 3;
const MAX_NDOTS = 15;
const MAX_TIMEOUT_SECONDS = 30;
const MAX_ATTEMPTS = 5;

export function parseResolvConf(text: string): ResolvConf {
  const nameservers: string[] = [];
  const options = new Map<string, number>();
  let search: readonly string[] = [];
  for (const line of text.split('\n')) {
    const [keyword, ...values] = wordsOf(line);
    if (keyword === 'nameserver' && net.isIP(values[0] ?? '') !== 0) nameservers.push(values[0] ?? '');
    // The last of `search` and `domain` applies.
    if (keyword === 'search') search = values;
    if (keyword === 'domain') search = values.slice(0, 1);
    if (keyword === 'options') for (const option of values) setOption(options, option);
  }
  return {
    nameservers: nameservers.length === 0 ? ['127.0.0.1'] : nameservers.slice(0, MAX_NAMESERVERS),
    // `search .` means no domain.
    search: search.map(withoutTrailingDot).filter((domain) => domain !== ''),
    ndots: Math.min(options.get('ndots') ?? 1, MAX_NDOTS),
    timeoutMs: Math.min(options.get('timeout') || 5, MAX_TIMEOUT_SECONDS) * 1_000,
    attempts: Math.min(options.get('attempts') || 2, MAX_ATTEMPTS),
  };
}

function setOption(options: Map<string, number>, option: string): void {
  const [, name, value] = /^(\w+):(\d+)$/.exec(option) ?? [];
  if (name !== undefined) options.set(name, Number(value));
}

/** Source: nsswitch.conf(5). Actions in brackets, for example `[NOTFOUND=return]`, are not sources. */
export function parseHasOtherSources(text: string): boolean {
  const lines = text.split('\n').map((line) => wordsOf(line.replaceAll(/\[[^\]]*\]/g, ' ')));
  const [, ...sources] = lines.find(([database]) => database === 'hosts:') ?? [];
  return sources.some((source) => source !== 'files' && source !== 'dns');
}

export function withoutTrailingDot(name: string): string {
  return name.endsWith('.') ? name.slice(0, -1) : name;
}

/** Words of a line, up to a comment. */
function wordsOf(line: string): string[] {
  return line
    .replace(/[#;].*$/, '')
    .split(/\s+/)
    .filter((word) => word !== '');
}
