import type { LookupAddress } from 'node:dns';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { addressesOf } from '../../test/support/fake-resolver.ts';
import { ManualClock } from '../clock/manual-clock.ts';
import type { Lookup, LookupAnswer, LookupOptions } from './dns-lookup.ts';
import { LookupError } from './lookup-error.ts';
import { LookupSlots } from './lookup-slots.ts';
import { NameResolver, ordered } from './name-resolver.ts';
import { systemLookup } from './system-lookup.ts';

const NEVER = new AbortController().signal;
const ANSWER: LookupAnswer = { addresses: addressesOf('10.0.0.1'), ttlMs: 30_000 };

interface StartedLookup extends LookupOptions {
  readonly hostname: string;
  readonly answer: (answer?: LookupAnswer) => void;
  readonly fail: (error: unknown) => void;
}

/** Lookups that the test answers. */
function manualLookups(): { readonly lookup: Lookup; readonly started: StartedLookup[] } {
  const started: StartedLookup[] = [];
  const lookup: Lookup = (hostname, options) => {
    const { promise, resolve, reject } = Promise.withResolvers<LookupAnswer>();
    options.signal.addEventListener('abort', () => {
      reject(options.signal.reason);
    });
    const answer = (value = ANSWER): void => {
      resolve(value);
    };
    started.push({ ...options, hostname, answer, fail: reject });
    return promise;
  };
  return { lookup, started };
}

function setUp(slots?: LookupSlots): {
  readonly resolver: NameResolver;
  readonly started: StartedLookup[];
  readonly clock: ManualClock;
  readonly resolve: (hostname: string, signal?: AbortSignal) => Promise<readonly LookupAddress[]>;
} {
  const clock = new ManualClock();
  const { lookup, started } = manualLookups();
  const resolver = new NameResolver({ clock, lookup, ...(slots !== undefined && { slots }) });
  const resolve = async (hostname: string, signal = NEVER): Promise<readonly LookupAddress[]> =>
    (await resolver.resolve(hostname, { signal })).addresses;
  return { resolver, started, clock, resolve };
}

describe('concurrent lookups of one name', () => {
  it('are combined', async () => {
    const { resolve, started } = setUp();
    const both = [resolve('a'), resolve('a'), resolve('b')];
    expect(started.map(({ hostname }) => hostname)).toEqual(['a', 'b']);
    for (const { answer } of started) answer();
    expect(await Promise.all(both)).toHaveLength(3);
  });

  it('go on if one caller leaves, and stop when the last one leaves', async () => {
    const { resolve, started } = setUp();
    const [first, second] = [new AbortController(), new AbortController()];
    const looking = [resolve('a', first.signal), resolve('a', second.signal)];
    const settled = Promise.allSettled(looking);
    first.abort(new Error('first'));
    await expect(looking[0]).rejects.toThrow('first');
    expect(started[0]?.signal.aborted).toBe(false);
    second.abort(new Error('second'));
    expect(started[0]?.signal.aborted).toBe(true);
    await settled;

    const next = resolve('a');
    expect(started).toHaveLength(2);
    started[1]?.answer();
    await next;
  });

  it('do not start if the signal has aborted', async () => {
    const { resolve, started } = setUp();
    await expect(resolve('a', AbortSignal.abort(new Error('stop')))).rejects.toThrow('stop');
    expect(started).toEqual([]);
  });
});

describe('the cache', () => {
  it.each([
    { ttlMs: 30_000, keptMs: 2_999, expiredMs: 3_000 },
    { ttlMs: 1_000, keptMs: 999, expiredMs: 1_000 },
    { ttlMs: Infinity, keptMs: 2_999, expiredMs: 3_000 },
  ])(
    'keeps an answer with a TTL of $ttlMs ms for less than $expiredMs ms',
    async ({ ttlMs, keptMs, expiredMs }) => {
      const { resolver, resolve, started, clock } = setUp();
      const looking = resolve('a');
      started[0]?.answer({ ...ANSWER, ttlMs });
      await looking;
      await clock.advance(keptMs);
      expect(resolver.cached('a', NEVER)?.addresses).toEqual(ANSWER.addresses);
      await clock.advance(expiredMs - keptMs);
      expect(resolver.cached('a', NEVER)).toBeUndefined();
    },
  );

  it('keeps no failure and no answer without a TTL', async () => {
    const { resolver, resolve, started } = setUp();
    const looking = [resolve('a'), resolve('b')];
    started[0]?.answer({ ...ANSWER, ttlMs: 0 });
    started[1]?.fail(new LookupError('ENOTFOUND', 'the name does not exist'));
    await Promise.allSettled(looking);
    expect([resolver.cached('a', NEVER), resolver.cached('b', NEVER)]).toEqual([undefined, undefined]);
  });

  it('forgets addresses that accepted no connection', async () => {
    const { resolver, resolve, started } = setUp();
    const looking = resolve('a');
    started[0]?.answer();
    await looking;
    resolver.failed('a');
    expect(resolver.cached('a', NEVER)).toBeUndefined();
  });

  it('looks the name up again if the cached addresses fail', async () => {
    const { resolver, resolve, started } = setUp();
    const looking = resolve('a');
    started[0]?.answer();
    await looking;
    const more = resolver.cached('a', NEVER)?.more?.();
    started[1]?.answer({ ...ANSWER, addresses: addressesOf('10.0.0.2') });
    expect(await more).toEqual(addressesOf('10.0.0.2'));
  });

  it('is bounded', async () => {
    const { resolver, resolve, started } = setUp();
    for (let index = 0; index <= 10_000; index += 1) {
      const looking = resolve(`host-${index}`);
      started.at(-1)?.answer();
      await looking;
    }
    expect(resolver.cached('host-0', NEVER)).toBeUndefined();
    expect(resolver.cached('host-10000', NEVER)).toBeDefined();
  });
});

describe('a late answer for one family', () => {
  it('is available after the first addresses', async () => {
    const { resolver, started } = setUp();
    const resolving = resolver.resolve('a', { signal: NEVER });
    started[0]?.onPartialAnswer(addressesOf('fd00::1'));
    const { addresses, more } = await resolving;
    expect(addresses).toEqual(addressesOf('fd00::1'));
    const all = more?.();
    started[0]?.answer({ addresses: addressesOf('fd00::1', '10.0.0.1'), ttlMs: 1_000 });
    expect(await all).toEqual(addressesOf('fd00::1', '10.0.0.1'));
  });

  it('is no longer waited for when the caller is done', async () => {
    const { resolver, started } = setUp();
    const done = new AbortController();
    const resolving = resolver.resolve('a', { signal: done.signal });
    started[0]?.onPartialAnswer(addressesOf('fd00::1'));
    await resolving;
    done.abort();
    expect(started[0]?.signal.aborted).toBe(true);
  });
});

describe('the order of addresses', () => {
  it('alternates between the families', () => {
    const addresses = addressesOf('fd00::1', 'fd00::2', 'fd00::3', '10.0.0.1');
    const order = (family?: number): string[] => ordered(addresses, family).map(({ address }) => address);
    expect(order()).toEqual(['fd00::1', '10.0.0.1', 'fd00::2', 'fd00::3']);
    expect(order(4)).toEqual(['10.0.0.1', 'fd00::1', 'fd00::2', 'fd00::3']);
  });

  it('contains each address once', () => {
    const address = fc.oneof(fc.ipV4(), fc.ipV6());
    fc.assert(
      fc.property(fc.uniqueArray(address), fc.constantFrom(undefined, 4, 6), (list, family) => {
        const result = ordered(addressesOf(...list), family).map((each) => each.address);
        expect(result.toSorted()).toEqual(list.toSorted());
      }),
    );
  });

  it('starts with the family of the last connection', async () => {
    const { resolver, resolve, started } = setUp();
    const addresses = addressesOf('fd00::1', '10.0.0.1');
    resolver.connected('a', { address: '10.0.0.1', family: 4 });
    const looking = resolve('a');
    started[0]?.answer({ addresses, ttlMs: 1_000 });
    expect(await looking).toEqual(addressesOf('10.0.0.1', 'fd00::1'));
    expect(resolver.cached('a', NEVER)?.addresses).toEqual(addressesOf('10.0.0.1', 'fd00::1'));
  });
});

describe('the limit of lookups', () => {
  it('makes a lookup wait, and reports the wait', async () => {
    const { resolver, resolve, started } = setUp(new LookupSlots({ max: 1, maxUnresponsive: 1 }));
    const first = resolve('a');
    const events: string[] = [];
    const second = resolver.resolve('b', {
      signal: NEVER,
      onQueued: () => events.push('queued'),
      onDequeued: () => events.push('dequeued'),
    });
    expect(events).toEqual(['queued']);
    expect(started).toHaveLength(1);
    started[0]?.answer();
    await first;
    await expect.poll(() => started.length).toBe(2);
    started[1]?.answer();
    await second;
    expect(events).toEqual(['queued', 'dequeued']);
  });

  it('removes a waiting lookup that nobody wants any more', async () => {
    const { resolve, started } = setUp(new LookupSlots({ max: 1, maxUnresponsive: 1 }));
    const first = resolve('a');
    const stop = new AbortController();
    const second = resolve('b', stop.signal);
    const third = resolve('c');
    stop.abort(new Error('stop'));
    await expect(second).rejects.toThrow('stop');
    started[0]?.answer();
    await first;
    await expect.poll(() => started.map(({ hostname }) => hostname)).toEqual(['a', 'c']);
    started[1]?.answer();
    await third;
  });

  it('keeps slots free of names that got no answer last time', async () => {
    const { resolve, started } = setUp(new LookupSlots({ max: 2, maxUnresponsive: 1 }));
    const failing = [resolve('bad-1'), resolve('bad-2')];
    for (const { fail } of started.splice(0)) fail(new LookupError('EAI_AGAIN', 'no answer'));
    await Promise.allSettled(failing);

    const stop = new AbortController();
    const hanging = Promise.allSettled([resolve('bad-1', stop.signal), resolve('bad-2', stop.signal)]);
    const healthy = resolve('good');
    expect(started.map(({ hostname }) => hostname)).toEqual(['bad-1', 'good']);
    started[1]?.answer();
    await healthy;
    stop.abort();
    await hanging;
  });
});

describe('getaddrinfo', () => {
  it('has at most two lookups in flight, even if their callers have left', async () => {
    const clock = new ManualClock();
    const names: string[] = [];
    const returns: (() => void)[] = [];
    const lookup = systemLookup({
      clock,
      getaddrinfo: (hostname) => {
        names.push(hostname);
        return new Promise((resolve) => {
          returns.push(() => {
            resolve(addressesOf('10.0.0.1'));
          });
        });
      },
    });
    const options = { signal: NEVER, onPartialAnswer: () => undefined };
    const hanging = Promise.allSettled([lookup('a', options), lookup('b', options)]);
    await clock.advance(5_000);
    expect(await hanging).toMatchObject([
      {
        status: 'rejected',
        reason: { code: 'EAI_AGAIN', message: "no answer from the system's resolver within 5 s" },
      },
      { status: 'rejected' },
    ]);
    const third = lookup('c', options);
    expect(names).toEqual(['a', 'b']);
    returns[0]?.();
    await expect.poll(() => names).toEqual(['a', 'b', 'c']);
    returns[2]?.();
    expect(await third).toMatchObject({ addresses: addressesOf('10.0.0.1') });
  });

  it.each([
    { code: 'ENOTFOUND', want: { code: 'ENOTFOUND', message: 'the name does not exist' } },
    { code: 'EAI_AGAIN', want: { code: 'EAI_AGAIN', message: "the system's resolver failed: EAI_AGAIN" } },
  ])('explains $code', async ({ code, want }) => {
    const lookup = systemLookup({
      clock: new ManualClock(),
      getaddrinfo: () => Promise.reject(Object.assign(new Error('getaddrinfo'), { code })),
    });
    await expect(lookup('a', { signal: NEVER, onPartialAnswer: () => undefined })).rejects.toMatchObject(
      want,
    );
  });
});
