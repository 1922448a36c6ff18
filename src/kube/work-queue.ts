import TinyQueue from 'tinyqueue';

import type { Clock } from '../clock/clock.ts';
import type { Deadline } from '../clock/deadline.ts';

export interface WorkQueueOptions {
  /** Name of the queue, for metrics. */
  readonly name: string;
  readonly clock: Clock;
  /** Delay after a key's first failure. It doubles with each further failure. Default 5, as in client-go. */
  readonly baseDelayMs?: number;
  /** Maximum delay after a failure. Default 1,000,000, as in client-go. */
  readonly maxDelayMs?: number;
  readonly metrics?: WorkQueueMetrics | undefined;
}

export interface WorkQueueMetrics {
  /** Number of due keys that wait for a worker. */
  depth(keys: number): void;
  /** Called when a key becomes due. */
  added(): void;
  /** Time that a key waited for a worker. */
  queued(durationMs: number): void;
  /** Time that a worker spent on a key. */
  worked(durationMs: number): void;
  /** Called by `addRateLimited`. Unlike in client-go, `addAfter` does not count as a retry. */
  retried(): void;
}

interface Delayed {
  readonly key: string;
  readonly dueMs: number;
}

/** Longest delay of a Node.js timer. A timer with a longer delay fires immediately. */
const MAX_TIMER_MS = 2 ** 31 - 1;
/** Number of stale heap entries tolerated before the heap is rebuilt. */
const MAX_STALE_ENTRIES = 64;

/**
 * Work queue that follows the rules of client-go. Keys are handed out in the order in which they became due. Each key
 * is queued at most once, and two workers never process the same key at the same time. A key that is added during
 * processing is queued again when its worker calls `done`.
 *
 * The creator must shut the queue down. The queue's timer does not keep the process alive.
 */
export class WorkQueue {
  readonly name: string;
  readonly #clock: Clock;
  readonly #baseDelayMs: number;
  readonly #maxDelayMs: number;
  readonly #metrics: WorkQueueMetrics | undefined;
  /** Keys waiting for a worker, in FIFO order. Contains no duplicates and no keys that are being processed. */
  readonly #due: string[] = [];
  /** When each key became due. Contains the keys in `#due` and the keys to be queued again after `done`. */
  readonly #dueSinceMs = new Map<string, number>();
  /** Keys being processed, with the time when a worker got each key. */
  readonly #processingSinceMs = new Map<string, number>();
  /** Consecutive failures of each key. */
  readonly #failures = new Map<string, number>();
  /** Workers waiting for a key. Empty while a key is due. */
  readonly #waiting = new Set<(key: string | undefined) => void>();
  /** Due time of each delayed key. A heap entry with a different time is stale. */
  readonly #delayedUntilMs = new Map<string, number>();
  #delayed = createHeap();
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

  /** Number of due keys that wait for a worker. */
  get depth(): number {
    return this.#due.length;
  }

  /** Queues the key. Ignored after `shutDown`, like `addAfter` and `addRateLimited`. */
  add(key: string): void {
    if (this.#isShutDown || this.#dueSinceMs.has(key)) return;
    this.#dueSinceMs.set(key, this.#clock.monotonicMs());
    this.#metrics?.added();
    if (!this.#processingSinceMs.has(key)) this.#enqueue(key);
  }

  /** Adds the key after `delayMs`, unless it is already scheduled earlier. */
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
    if (this.#delayed.length > 2 * this.#delayedUntilMs.size + MAX_STALE_ENTRIES) this.#rebuildHeap();
    this.#setTimer();
  }

  /** Adds the key after a delay that doubles with each call until `forget` resets it. */
  addRateLimited(key: string): void {
    if (this.#isShutDown) return;
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    this.#metrics?.retried();
    this.addAfter(key, Math.min(this.#maxDelayMs, this.#baseDelayMs * 2 ** failures));
  }

  /** Clears the key's failure count, so that its next delay is the base delay. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /**
   * Resolves with the next key. No other worker gets this key until the caller calls `done`. Resolves with undefined if
   * `signal` has aborted, or if the queue is shut down and empty.
   */
  async get(signal: AbortSignal): Promise<string | undefined> {
    if (signal.aborted) return undefined;
    const key = this.#due.shift();
    if (key === undefined) return this.#isShutDown ? undefined : this.#next(signal);
    this.#metrics?.depth(this.#due.length);
    return this.#handOver(key);
  }

  /** Marks the key as processed, whether the work succeeded or not. */
  done(key: string): void {
    const sinceMs = this.#processingSinceMs.get(key);
    if (sinceMs === undefined) return;
    this.#processingSinceMs.delete(key);
    this.#metrics?.worked(this.#clock.monotonicMs() - sinceMs);
    if (this.#dueSinceMs.has(key)) this.#enqueue(key);
  }

  /** Stops accepting keys and drops delayed ones. Workers still get the keys that are due, then undefined. */
  shutDown(): void {
    this.#isShutDown = true;
    this.#delayed = createHeap();
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
    this.#processingSinceMs.set(key, nowMs);
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

  /** Sets the timer for the first delayed key. */
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

  #rebuildHeap(): void {
    this.#delayed = createHeap();
    for (const [key, dueMs] of this.#delayedUntilMs) this.#delayed.push({ key, dueMs });
  }
}

function createHeap(): TinyQueue<Delayed> {
  return new TinyQueue<Delayed>([], (a, b) => a.dueMs - b.dueMs);
}
