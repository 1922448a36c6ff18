import type { LookupAddress } from 'node:dns';
import dns from 'node:dns/promises';

import type { Clock } from '../clock/clock.ts';
import type { Lookup } from './dns-lookup.ts';
import { LookupError } from './lookup-error.ts';
import { LookupSlots } from './lookup-slots.ts';
import { untilAborted } from './until-aborted.ts';

/**
 * libuv runs lookups in two of its four threads by default, and none can be cancelled. More would only wait in its
 * queue. Source: libuv documentation, "Thread pool work scheduling"; `slow_work_thread_threshold` in `threadpool.c`.
 */
const MAX_THREADS = 2;
const MAX_LOOKUP_MS = 5_000;

export interface SystemLookupDeps {
  readonly clock: Clock;
  /** For tests. Default: getaddrinfo. */
  readonly getaddrinfo?: (hostname: string) => Promise<readonly LookupAddress[]>;
}

/** Looks host names up with getaddrinfo, in at most two threads and for a limited time. */
export function systemLookup({ clock, getaddrinfo = lookupAll }: SystemLookupDeps): Lookup {
  const threads = new LookupSlots({ max: MAX_THREADS, maxUnresponsive: MAX_THREADS });
  return async (hostname, { signal }) => {
    using deadline = clock.deadline(MAX_LOOKUP_MS, signal);
    try {
      const thread = await threads.acquire(deadline.signal);
      // An abandoned lookup occupies its thread until it returns.
      const lookup = getaddrinfo(hostname).finally(() => {
        thread[Symbol.dispose]();
      });
      const addresses = await untilAborted(lookup, deadline.signal);
      // getaddrinfo returns no TTL. The resolver's own limit applies.
      return { addresses, ttlMs: Infinity };
    } catch (error) {
      signal.throwIfAborted();
      throw failureOf(error, deadline.signal);
    }
  };
}

function lookupAll(hostname: string): Promise<LookupAddress[]> {
  return dns.lookup(hostname, { all: true, order: 'verbatim' });
}

function failureOf(cause: unknown, deadline: AbortSignal): LookupError {
  if (deadline.aborted) {
    return new LookupError(
      'EAI_AGAIN',
      `no answer from the system's resolver within ${MAX_LOOKUP_MS / 1_000} s`,
    );
  }
  const { code } = cause as NodeJS.ErrnoException;
  if (code === 'ENOTFOUND') return new LookupError('ENOTFOUND', 'the name does not exist', { cause });
  return new LookupError('EAI_AGAIN', `the system's resolver failed: ${code}`, { cause });
}
