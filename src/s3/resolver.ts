import type { LookupAddress } from 'node:dns';
import dns from 'node:dns/promises';

export interface ResolveOptions {
  /** The lookup is cancelled when the signals of all its callers have aborted, even if they have got addresses. */
  readonly signal: AbortSignal;
  /** Called before `resolve` returns if the lookup has to wait for others. */
  readonly onQueued?: () => void;
  /** Called when such a lookup starts. */
  readonly onDequeued?: () => void;
}

export interface Resolution {
  /** Addresses in the order in which to try them. */
  readonly addresses: readonly LookupAddress[];
  /** Returns all addresses again, some of which may be new. Absent if there can be no others. */
  readonly more?: () => Promise<readonly LookupAddress[]>;
}

/** Resolves the host names of targets and proxies. */
export interface Resolver {
  /** @returns addresses that need no lookup, if any. */
  cached(hostname: string, signal: AbortSignal): Resolution | undefined;
  /** Rejects with `signal.reason` as soon as the signal aborts. */
  resolve(hostname: string, options: ResolveOptions): Promise<Resolution>;
  /** Records an address that a connection was opened to. Its family comes first from then on. */
  connected(hostname: string, address: LookupAddress): void;
  /** Removes the name from the cache because none of its addresses accepted a connection. */
  failed(hostname: string): void;
}

/** The system's resolver, without cache and limits. */
export const systemResolver: Resolver = {
  cached: () => undefined,
  resolve: async (hostname) => ({ addresses: await dns.lookup(hostname, { all: true }) }),
  connected: () => undefined,
  failed: () => undefined,
};
