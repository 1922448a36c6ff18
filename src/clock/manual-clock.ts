import { setImmediate } from 'node:timers/promises';

import type { Clock } from './clock.ts';
import { type Deadline, createDeadline } from './deadline.ts';

interface Timer {
  readonly dueMs: number;
  readonly fire: () => void;
}

/** A clock for tests. Wall time and monotonic time move together, and only through {@link advance}. */
export class ManualClock implements Clock {
  readonly #startEpochMs: number;
  readonly #timers = new Set<Timer>();
  #elapsedMs = 0;

  /** @param startEpochMs initial wall time. */
  constructor(startEpochMs = Date.UTC(2026, 10, 22, 12)) {
    this.#startEpochMs = startEpochMs;
  }

  now(): number {
    return this.#startEpochMs + this.#elapsedMs;
  }

  monotonicMs(): number {
    return this.#elapsedMs;
  }

  deadline(ms: number, parent?: AbortSignal): Deadline {
    return createDeadline((fire) => {
      const timer = this.#startTimer(ms, fire);
      return () => {
        this.#timers.delete(timer);
      };
    }, parent);
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const timer = this.#startTimer(ms, () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      });
      const onAbort = (): void => {
        this.#timers.delete(timer);
        // Like the system clock, reject with the abort reason, which may not be an Error.
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Number of sleeps and deadlines that have not fired yet. */
  get pendingTimers(): number {
    return this.#timers.size;
  }

  /**
   * Moves time forward by `ms`. Timers fire in order, each at its due time. Code that awaited a timer runs before the
   * next timer fires, so a loop that sleeps repeatedly wakes up after each sleep.
   */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#elapsedMs + ms;
    await setImmediate();
    for (let timer = this.#nextDue(untilMs); timer !== undefined; timer = this.#nextDue(untilMs)) {
      this.#timers.delete(timer);
      this.#elapsedMs = Math.max(this.#elapsedMs, timer.dueMs);
      timer.fire();
      await setImmediate();
    }
    this.#elapsedMs = untilMs;
  }

  #startTimer(ms: number, fire: () => void): Timer {
    const timer = { dueMs: this.#elapsedMs + ms, fire };
    this.#timers.add(timer);
    return timer;
  }

  #nextDue(untilMs: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMs <= untilMs && (next === undefined || timer.dueMs < next.dueMs)) next = timer;
    }
    return next;
  }
}
