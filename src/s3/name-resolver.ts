import type { LookupAddress } from 'node:dns';

import type { Clock } from '../clock/clock.ts';
import type { Lookup, LookupAnswer } from './dns-lookup.ts';
import { LookupError } from './lookup-error.ts';
import { LookupSlots } from './lookup-slots.ts';
import type { Resolution, ResolveOptions, Resolver } from './resolver.ts';
import { untilAborted } from './until-aborted.ts';

/** Longest time in the cache. Short, because a run should see what a new client sees. */
const MAX_CACHE_MS = 3_000;
const MAX_NAMES = 10_000;
/** Each lookup has a socket, but no thread. */
const MAX_LOOKUPS = 128;
const MAX_UNRESPONSIVE_LOOKUPS = 64;

export interface NameResolverDeps {
  readonly clock: Clock;
  readonly lookup: Lookup;
  /** Default: 128 in flight, of which 64 for names whose last lookup got no answer. */
  readonly slots?: LookupSlots;
}

/** What is known about a name. */
interface NameRecord {
  addresses: readonly LookupAddress[];
  expiresMs: number;
  /** Family of the last connection. */
  family: number | undefined;
  /** True if the last lookup got no answer. */
  isUnresponsive: boolean;
}

/**
 * Resolves names so that one bad name cannot hold up the others: lookups are limited in number and time, concurrent
 * lookups of one name are combined, and answers are cached for a few seconds.
 */
export class NameResolver implements Resolver {
  readonly #clock: Clock;
  readonly #lookup: Lookup;
  readonly #slots: LookupSlots;
  /** In the order of their last update. The oldest is removed first. */
  readonly #records = new Map<string, NameRecord>();
  readonly #lookups = new Map<string, SharedLookup>();

  constructor({
    clock,
    lookup,
    slots = new LookupSlots({ max: MAX_LOOKUPS, maxUnresponsive: MAX_UNRESPONSIVE_LOOKUPS }),
  }: NameResolverDeps) {
    this.#clock = clock;
    this.#lookup = lookup;
    this.#slots = slots;
  }

  cached(hostname: string, signal: AbortSignal): Resolution | undefined {
    const record = this.#records.get(hostname);
    if (record === undefined || record.expiresMs <= this.#clock.monotonicMs()) return undefined;
    return {
      addresses: ordered(record.addresses, record.family),
      more: async () => {
        this.failed(hostname);
        const { addresses, more } = await this.resolve(hostname, { signal });
        return more === undefined ? addresses : more();
      },
    };
  }

  async resolve(hostname: string, { signal, onQueued, onDequeued }: ResolveOptions): Promise<Resolution> {
    signal.throwIfAborted();
    const lookup = this.#lookups.get(hostname) ?? this.#start(hostname);
    lookup.join(signal);
    if (!lookup.isStarted) {
      onQueued?.();
      await untilAborted(lookup.started, signal);
      onDequeued?.();
    }
    const family = this.#records.get(hostname)?.family;
    const { addresses, isPartial } = await untilAborted(lookup.firstAnswer, signal);
    const resolution = { addresses: ordered(addresses, family) };
    if (!isPartial) return resolution;
    const more = async (): Promise<readonly LookupAddress[]> => {
      const answer = await untilAborted(lookup.answer, signal);
      return ordered(answer.addresses, family);
    };
    return { ...resolution, more };
  }

  connected(hostname: string, { family }: LookupAddress): void {
    this.#update(hostname, { family });
  }

  failed(hostname: string): void {
    const record = this.#records.get(hostname);
    if (record !== undefined) record.expiresMs = -Infinity;
  }

  #start(hostname: string): SharedLookup {
    const isUnresponsive = this.#records.get(hostname)?.isUnresponsive === true;
    const lookup = new SharedLookup(hostname, this.#lookup, (signal) => {
      const slot = this.#slots.tryAcquire(isUnresponsive);
      return slot ?? this.#slots.acquire(signal, isUnresponsive);
    });
    this.#lookups.set(hostname, lookup);
    void lookup.answer
      .then(
        ({ addresses, ttlMs }) => {
          const expiresMs = this.#clock.monotonicMs() + Math.min(ttlMs, MAX_CACHE_MS);
          this.#update(hostname, { addresses, expiresMs, isUnresponsive: false });
        },
        (error: unknown) => {
          if (!(error instanceof LookupError)) return;
          this.#update(hostname, { expiresMs: -Infinity, isUnresponsive: error.code === 'EAI_AGAIN' });
        },
      )
      .finally(() => {
        this.#forget(hostname, lookup);
      });
    // New callers must not join a cancelled lookup.
    lookup.signal.addEventListener('abort', () => {
      this.#forget(hostname, lookup);
    });
    return lookup;
  }

  #forget(hostname: string, lookup: SharedLookup): void {
    if (this.#lookups.get(hostname) === lookup) this.#lookups.delete(hostname);
  }

  #update(hostname: string, change: Partial<NameRecord>): void {
    const record = this.#records.get(hostname) ?? {
      addresses: [],
      expiresMs: -Infinity,
      family: undefined,
      isUnresponsive: false,
    };
    this.#records.delete(hostname);
    this.#records.set(hostname, Object.assign(record, change));
    const [oldest] = this.#records.keys();
    if (this.#records.size > MAX_NAMES && oldest !== undefined) this.#records.delete(oldest);
  }
}

interface FirstAnswer {
  readonly addresses: readonly LookupAddress[];
  /** True if the other family's answer is still to come. */
  readonly isPartial: boolean;
}

/** One lookup for all callers that want the same name at the same time. */
class SharedLookup {
  readonly started: Promise<void>;
  readonly firstAnswer: Promise<FirstAnswer>;
  readonly answer: Promise<LookupAnswer>;
  isStarted = false;
  readonly #cancel = new AbortController();
  #callers = 0;

  constructor(
    hostname: string,
    lookup: Lookup,
    acquire: (signal: AbortSignal) => Disposable | Promise<Disposable>,
  ) {
    const { signal } = this.#cancel;
    const first = Promise.withResolvers<FirstAnswer>();
    const start = Promise.withResolvers<void>();
    const run = async (): Promise<LookupAnswer> => {
      const acquiring = acquire(signal);
      const slot = acquiring instanceof Promise ? await acquiring : acquiring;
      using held = new DisposableStack();
      held.use(slot);
      this.isStarted = true;
      start.resolve();
      return await lookup(hostname, {
        signal,
        onPartialAnswer: (addresses) => {
          first.resolve({ addresses, isPartial: true });
        },
      });
    };
    this.answer = run();
    this.answer.then(
      ({ addresses }) => {
        first.resolve({ addresses, isPartial: false });
      },
      (error: unknown) => {
        start.reject(error);
        first.reject(error);
      },
    );
    this.started = start.promise;
    this.firstAnswer = first.promise;
    // Callers that have left do not handle a later failure.
    for (const promise of [this.started, this.firstAnswer]) promise.catch(() => undefined);
  }

  get signal(): AbortSignal {
    return this.#cancel.signal;
  }

  /** Keeps the lookup going until the caller's signal aborts. */
  join(signal: AbortSignal): void {
    this.#callers += 1;
    const leave = (): void => {
      this.#callers -= 1;
      if (this.#callers === 0) this.#cancel.abort(signal.reason);
    };
    signal.addEventListener('abort', leave, { once: true });
  }
}

/**
 * Alternates between the families, starting with the given one or that of the first address.
 *
 * Source: RFC 8305 section 4, with a First Address Family Count of 1.
 */
export function ordered(
  addresses: readonly LookupAddress[],
  firstFamily: number | undefined,
): LookupAddress[] {
  const isFirst = ({ family }: LookupAddress): boolean => family === (firstFamily ?? addresses[0]?.family);
  const first = addresses.filter(isFirst);
  const second = addresses.filter((address) => !isFirst(address));
  const longest = Math.max(first.length, second.length);
  return Array.from({ length: longest }, (_, index) => [first[index], second[index]])
    .flat()
    .filter((address) => address !== undefined);
}
