import dns from 'node:dns/promises';
import type { LookupAddress } from 'node:dns';
import net from 'node:net';

import type { Clock } from '../clock/clock.ts';
import { LookupError } from './lookup-error.ts';
import { type ResolverFiles, type ResolverSettings, withoutTrailingDot } from './resolver-files.ts';

export interface LookupAnswer {
  readonly addresses: readonly LookupAddress[];
  /** How long the answer may be cached. */
  readonly ttlMs: number;
}

export interface LookupOptions {
  readonly signal: AbortSignal;
  /** Called with the addresses of one family if the answer for the other one is late. */
  readonly onPartialAnswer: (addresses: readonly LookupAddress[]) => void;
}

/** @throws {LookupError} if the name did not resolve. */
export type Lookup = (hostname: string, options: LookupOptions) => Promise<LookupAnswer>;

/** How long to wait for the other family's answer. Source: RFC 8305 section 3, Resolution Delay. */
const RESOLUTION_DELAY_MS = 50;

/** Longest time for one lookup, so that a run with a longer timeout can report what happened. */
const MAX_LOOKUP_MS = 5_000;
/** A query that is lost once should still succeed. */
const MIN_TRY_MS = 500;

export interface DnsLookupDeps {
  readonly clock: Clock;
  readonly files: ResolverFiles;
  /** Looks names up in sources other than `/etc/hosts` and DNS. */
  readonly systemLookup: Lookup;
  /** For tests: port of all name servers. */
  readonly port?: number;
  /** For tests. */
  readonly maxLookupMs?: number;
}

/**
 * Looks host names up as getaddrinfo does, but without a thread: in `/etc/hosts`, then in DNS with the search list of
 * `/etc/resolv.conf`, then in other sources that `/etc/nsswitch.conf` lists.
 */
export function dnsLookup(deps: DnsLookupDeps): Lookup {
  return async (hostname, options) => {
    const settings = await deps.files.read();
    const local = localAddresses(hostname, settings);
    if (local !== undefined) return { addresses: local, ttlMs: 0 };
    try {
      return await new DnsQuery(hostname, settings, deps).run(options);
    } catch (error) {
      const mayBeElsewhere = error instanceof LookupError && error.code === 'ENOTFOUND';
      if (!mayBeElsewhere || !settings.hasOtherSources) throw error;
      return deps.systemLookup(hostname, options).catch(() => {
        throw error;
      });
    }
  };
}

/** Addresses from `/etc/hosts`, or of a loopback name. Source: RFC 6761 section 6.3. */
function localAddresses(hostname: string, { hosts }: ResolverSettings): LookupAddress[] | undefined {
  const name = withoutTrailingDot(hostname.toLowerCase());
  const isLoopback = name === 'localhost' || name.endsWith('.localhost');
  const addresses = hosts.addresses.get(name) ?? (isLoopback ? ['127.0.0.1', '::1'] : undefined);
  return addresses?.map((address) => ({ address, family: net.isIP(address) }));
}

/**
 * Names to query in this order. Source: resolv.conf(5), `search` and `ndots`.
 *
 * @param hostname with a trailing dot, it is not combined with the search list.
 */
export function candidateNames(
  hostname: string,
  { search, ndots }: Pick<ResolverSettings, 'search' | 'ndots'>,
): string[] {
  if (hostname.endsWith('.')) return [hostname];
  const asGiven = `${hostname}.`;
  const expanded = search.map((domain) => `${hostname}.${domain}.`);
  const dots = hostname.split('.').length - 1;
  return dots >= ndots ? [asGiven, ...expanded] : [...expanded, asGiven];
}

interface FamilyAnswer {
  readonly addresses: readonly LookupAddress[];
  readonly ttlSeconds: number;
  /** Error code of c-ares. Undefined if there is an address. */
  readonly code: string | undefined;
}

/** Codes of c-ares for a name that does not exist or has no address of this family. */
const ABSENT_CODES: ReadonlySet<string | undefined> = new Set(['ENOTFOUND', 'ENODATA', 'EBADNAME']);

/** One lookup in DNS. It has its own c-ares channel because only a whole channel can be cancelled. */
class DnsQuery {
  readonly #hostname: string;
  readonly #settings: ResolverSettings;
  readonly #clock: Clock;
  readonly #resolver: dns.Resolver;
  readonly #budgetMs: number;
  readonly #startMs: number;

  constructor(
    hostname: string,
    settings: ResolverSettings,
    { clock, port, maxLookupMs = MAX_LOOKUP_MS }: DnsLookupDeps,
  ) {
    const { nameservers, timeoutMs, attempts } = settings;
    const tries = nameservers.length * attempts;
    this.#hostname = hostname;
    this.#settings = settings;
    this.#clock = clock;
    this.#budgetMs = Math.min(timeoutMs * tries, maxLookupMs);
    const tryMs = Math.max(Math.floor(this.#budgetMs / tries), Math.min(MIN_TRY_MS, maxLookupMs));
    this.#resolver = new dns.Resolver({ timeout: tryMs, maxTimeout: tryMs, tries: attempts });
    this.#resolver.setServers(nameservers.map((address) => serverOf(address, port)));
    this.#startMs = clock.monotonicMs();
  }

  async run({ signal, onPartialAnswer }: LookupOptions): Promise<LookupAnswer> {
    using deadline = this.#clock.deadline(this.#budgetMs, signal);
    const cancel = (): void => {
      this.#resolver.cancel();
    };
    deadline.signal.addEventListener('abort', cancel, { once: true });
    try {
      return await this.#tryCandidates(deadline.signal, onPartialAnswer);
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    }
  }

  async #tryCandidates(
    signal: AbortSignal,
    onPartialAnswer: LookupOptions['onPartialAnswer'],
  ): Promise<LookupAnswer> {
    const codes: string[] = [];
    for (const name of candidateNames(this.#hostname, this.#settings)) {
      if (signal.aborted) throw this.#failure('ETIMEOUT');
      const answers = await this.#queryBothFamilies(name, signal, onPartialAnswer);
      const found = answers.filter(({ addresses }) => addresses.length > 0);
      if (found.length > 0) return answerOf(found);
      const code = worstCode(answers);
      codes.push(code);
      // As glibc does, try the next name if this one is absent or the server failed, but not if nobody answers.
      if (!ABSENT_CODES.has(code) && code !== 'ESERVFAIL') throw this.#failure(code);
    }
    throw this.#failure(codes.includes('ESERVFAIL') ? 'ESERVFAIL' : mostPrecise(codes));
  }

  async #queryBothFamilies(
    name: string,
    signal: AbortSignal,
    onPartialAnswer: LookupOptions['onPartialAnswer'],
  ): Promise<FamilyAnswer[]> {
    const answers: FamilyAnswer[] = [];
    const collect = async (query: Promise<FamilyAnswer>): Promise<void> => void answers.push(await query);
    const both = Promise.all([
      collect(familyAnswer(6, this.#resolver.resolve6(name, { ttl: true }))),
      collect(familyAnswer(4, this.#resolver.resolve4(name, { ttl: true }))),
    ]);
    await this.#reportPartialAnswer(both, answers, signal, onPartialAnswer);
    await both;
    // IPv6 first. Source: RFC 8305 section 4.
    return answers.toSorted((a, b) => (b.addresses[0]?.family ?? 0) - (a.addresses[0]?.family ?? 0));
  }

  async #reportPartialAnswer(
    both: Promise<unknown>,
    answers: readonly FamilyAnswer[],
    signal: AbortSignal,
    onPartialAnswer: LookupOptions['onPartialAnswer'],
  ): Promise<void> {
    using delay = this.#clock.deadline(RESOLUTION_DELAY_MS, signal);
    const delayOver = new Promise((resolve) => {
      delay.signal.addEventListener('abort', resolve, { once: true });
    });
    await Promise.race([both, delayOver]);
    const addresses = answers.flatMap((answer) => answer.addresses);
    if (answers.length === 1 && addresses.length > 0) onPartialAnswer(addresses);
  }

  #failure(code: string): LookupError {
    const { nameservers } = this.#settings;
    const servers = `name server${nameservers.length > 1 ? 's' : ''} ${nameservers.join(', ')}`;
    const seconds = ((this.#clock.monotonicMs() - this.#startMs) / 1_000).toFixed(1);
    switch (code) {
      case 'ENOTFOUND':
        return new LookupError('ENOTFOUND', 'the name does not exist');
      case 'ENODATA':
        return new LookupError('ENOTFOUND', 'the name exists but has no address');
      case 'EBADNAME':
        return new LookupError('ENOTFOUND', 'this is not a valid host name');
      case 'ETIMEOUT':
      case 'ECANCELLED':
        return new LookupError('EAI_AGAIN', `no answer from ${servers} within ${seconds} s`);
      case 'ECONNREFUSED':
        return new LookupError('EAI_AGAIN', `cannot reach ${servers}`);
      default:
        return new LookupError('EAI_AGAIN', `${servers} answered ${code.replace(/^E/, '')}`);
    }
  }
}

function serverOf(address: string, port: number | undefined): string {
  if (port === undefined) return address;
  return net.isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`;
}

async function familyAnswer(
  family: 4 | 6,
  query: Promise<readonly { address: string; ttl: number }[]>,
): Promise<FamilyAnswer> {
  try {
    const records = await query;
    return {
      addresses: records.map(({ address }) => ({ address, family })),
      ttlSeconds: Math.min(...records.map(({ ttl }) => ttl)),
      code: records.length === 0 ? 'ENODATA' : undefined,
    };
  } catch (error) {
    return { addresses: [], ttlSeconds: 0, code: (error as NodeJS.ErrnoException).code ?? 'EFORMERR' };
  }
}

function answerOf(found: readonly FamilyAnswer[]): LookupAnswer {
  return {
    addresses: found.flatMap(({ addresses }) => addresses),
    ttlMs: Math.min(...found.map(({ ttlSeconds }) => ttlSeconds)) * 1_000,
  };
}

/** Prefers the code of a name server that failed: the other family's answer may be missing because of it. */
function worstCode(answers: readonly FamilyAnswer[]): string {
  const codes = answers.map(({ code }) => code ?? 'ENODATA');
  return codes.find((code) => !ABSENT_CODES.has(code)) ?? mostPrecise(codes);
}

function mostPrecise(codes: readonly string[]): string {
  return ['ENODATA', 'ENOTFOUND'].find((code) => codes.includes(code)) ?? codes[0] ?? 'ENOTFOUND';
}
