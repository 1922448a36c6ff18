import type { Clock } from '../clock/clock.ts';
import type { Deadline } from '../clock/deadline.ts';
import { Heap } from '../heap/heap.ts';

export interface WorkQueueOptions {
  /** For whoever tells one queue from another, as metrics do. */
  readonly name: string;
  readonly clock: Clock;
  /** After a key's first failure; doubles with each further one. Default 5, as in client-go. */
  readonly baseDelayMs?: number;
  /** Default 1,000,000, as in client-go. */
  readonly maxDelayMs?: number;
  readonly metrics?: WorkQueueMetrics | undefined;
}

export interface WorkQueueMetrics {
  /** Keys that are due and that no worker has yet. */
  depth(keys: number): void;
  /** A key became due that was not due already. */
  added(): void;
  /** How long a key was due before a worker got it. */
  queued(durationMs: number): void;
  /** How long a worker had it. */
  worked(durationMs: number): void;
  /** By `addRateLimited`; unlike client-go's, `addAfter` is no retry. */
  retried(): void;
}

interface Delayed {
  readonly key: string;
  readonly dueMs: number;
}

/** Longest time that a timer of Node takes; it fires at once for a longer one. */
const MAX_TIMER_MS = 2 ** 31 - 1;
/** The heap may hold this many entries that count no more before it is made anew. */
const MAX_STALE = 64;

/**
 * The work queue of client-go: keys in the order in which they became due, each at most once, and never with two
 * workers at a time. A key that is added while a worker has it comes again once the worker is done with it.
 *
 * Whoever made it shuts it down; until then its timer for delayed keys may be set, which keeps no process alive.
 */
export class WorkQueue {
  readonly name: string;
  readonly #clock: Clock;
  readonly #baseDelayMs: number;
  readonly #maxDelayMs: number;
  readonly #metrics: WorkQueueMetrics | undefined;
  /** Due, first come, first served. No key is there twice, nor with a worker. */
  readonly #due: string[] = [];
  /** When each became due: the keys of `#due`, and those that come again once their worker is done. */
  readonly #dueSinceMs = new Map<string, number>();
  /** With a worker, and since when. */
  readonly #workedSinceMs = new Map<string, number>();
  /** Failures in a row. */
  readonly #failures = new Map<string, number>();
  /** Workers that wait for a key. There is none while a key is due. */
  readonly #waiting = new Set<(key: string | undefined) => void>();
  /** When each delayed key is due; an entry of the heap that says otherwise counts no more. */
  readonly #delayedUntilMs = new Map<string, number>();
  #delayed = makeHeap();
  #timer: Deadline | undefined;
  #timerDueMs = Infinity;
  #isShutDown = false;

  constructor(options: WorkQueueOptions) {
    this.name = options.name;
    this.#clock = options.clock;
    this.#baseDelayMs = options.baseDelayMs ?? 5;
    this.#maxDelayMs = options.maxDelayMs ?? 1_000_000;
    this.#metrics = options.metrics;
  }

  /** Keys that are due and that no worker has yet. */
  get depth(): number {
    return this.#due.length;
  }

  /** After `shutDown` it does nothing, as the two below. */
  add(key: string): void {
    if (this.#isShutDown || this.#dueSinceMs.has(key)) return;
    this.#dueSinceMs.set(key, this.#clock.monotonicMs());
    this.#metrics?.added();
    if (!this.#workedSinceMs.has(key)) this.#enqueue(key);
  }

  /** Adds the key in `delayMs`, unless that is to happen earlier already. */
  addAfter(key: string, delayMs: number): void {
    if (this.#isShutDown) return;
    if (delayMs <= 0) {
      this.add(key);
      return;
    }
    const dueMs = this.#clock.monotonicMs() + delayMs;
    if (dueMs >= (this.#delayedUntilMs.get(key) ?? Infinity)) return;
    this.#delayedUntilMs.set(key, dueMs);
    this.#delayed.push({ key, dueMs });
    if (this.#delayed.size > 2 * this.#delayedUntilMs.size + MAX_STALE) this.#dropStale();
    this.#setTimer();
  }

  /** Adds the key after a delay that doubles with each call, up to the next `forget`. */
  addRateLimited(key: string): void {
    if (this.#isShutDown) return;
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    this.#metrics?.retried();
    this.addAfter(key, Math.min(this.#maxDelayMs, this.#baseDelayMs * 2 ** failures));
  }

  /** The key has failed no more; nothing of it stays behind. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /**
   * Resolves with the next key, which is the caller's alone until it calls `done`; with undefined when `signal` has
   * aborted, or when the queue is shut down and no key is due any more.
   */
  async get(signal: AbortSignal): Promise<string | undefined> {
    if (signal.aborted) return undefined;
    const key = this.#due.shift();
    if (key === undefined) return this.#isShutDown ? undefined : this.#next(signal);
    this.#metrics?.depth(this.#due.length);
    return this.#handOver(key);
  }

  /** The worker that got the key is done with it, well or not. */
  done(key: string): void {
    const sinceMs = this.#workedSinceMs.get(key);
    if (sinceMs === undefined) return;
    this.#workedSinceMs.delete(key);
    this.#metrics?.worked(this.#clock.monotonicMs() - sinceMs);
    if (this.#dueSinceMs.has(key)) this.#enqueue(key);
  }

  /** Takes no more keys, and drops the delayed ones. Workers still get those that are due, then undefined. */
  shutDown(): void {
    this.#isShutDown = true;
    this.#delayed = makeHeap();
    this.#delayedUntilMs.clear();
    this.#failures.clear();
    this.#setTimer();
    for (const resolve of this.#waiting) resolve(undefined);
  }

  #enqueue(key: string): void {
    const [resolve] = this.#waiting;
    if (resolve !== undefined) {
      resolve(this.#handOver(key));
      return;
    }
    this.#due.push(key);
    this.#metrics?.depth(this.#due.length);
  }

  #handOver(key: string): string {
    const nowMs = this.#clock.monotonicMs();
    this.#metrics?.queued(nowMs - (this.#dueSinceMs.get(key) ?? nowMs));
    this.#dueSinceMs.delete(key);
    this.#workedSinceMs.set(key, nowMs);
    return key;
  }

  #next(signal: AbortSignal): Promise<string | undefined> {
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    const settle = (key: string | undefined): void => {
      this.#waiting.delete(settle);
      signal.removeEventListener('abort', onAbort);
      resolve(key);
    };
    const onAbort = (): void => settle(undefined);
    signal.addEventListener('abort', onAbort, { once: true });
    this.#waiting.add(settle);
    return promise;
  }

  /** One timer, for the first of the delayed keys. */
  #setTimer(): void {
    const dueMs = this.#delayed.peek()?.dueMs ?? Infinity;
    if (dueMs === this.#timerDueMs) return;
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    this.#timerDueMs = dueMs;
    if (dueMs === Infinity) return;
    const delayMs = Math.max(0, dueMs - this.#clock.monotonicMs());
    this.#timer = this.#clock.deadline(Math.min(delayMs, MAX_TIMER_MS));
    this.#timer.signal.addEventListener('abort', () => this.#addDelayed(), { once: true });
  }

  #addDelayed(): void {
    const nowMs = this.#clock.monotonicMs();
    for (let next = this.#delayed.peek(); next !== undefined && next.dueMs <= nowMs;) {
      this.#delayed.pop();
      if (this.#delayedUntilMs.get(next.key) === next.dueMs) {
        this.#delayedUntilMs.delete(next.key);
        this.add(next.key);
      }
      next = this.#delayed.peek();
    }
    this.#timerDueMs = Infinity;
    this.#setTimer();
  }

  #dropStale(): void {
    this.#delayed = makeHeap();
    for (const [key, dueMs] of this.#delayedUntilMs) this.#delayed.push({ key, dueMs });
  }
}

function makeHeap(): Heap<Delayed> {
  return new Heap((a, b) => a.dueMs < b.dueMs);
}
