import type { LookupAddress } from 'node:dns';
import net from 'node:net';

import type { Resolver } from '../../src/s3/resolver.ts';

/** A resolver without a cache that returns the result of `lookup`. */
export function fakeResolver(lookup: (hostname: string) => Promise<readonly LookupAddress[]>): Resolver {
  return {
    cached: () => undefined,
    resolve: async (hostname, { signal }) => {
      const aborted = new Promise<never>((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          reject(signal.reason as Error);
        });
      });
      return { addresses: await Promise.race([lookup(hostname), aborted]) };
    },
    connected: () => undefined,
    failed: () => undefined,
  };
}

export function resolvingTo(...addresses: string[]): Resolver {
  return fakeResolver(() => Promise.resolve(addressesOf(...addresses)));
}

export function addressesOf(...addresses: string[]): LookupAddress[] {
  return addresses.map((address) => ({ address, family: net.isIP(address) }));
}
