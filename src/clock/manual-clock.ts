import { setImmediate } from 'node:timers/promises';

import type { Clock } from './clock.ts';
import { type Deadline, makeDeadline } from './deadline.ts';

interface Timer {
  readonly dueMs: number;
  readonly fire: () => void;
}

/** A clock for tests: time passes only by {@link advance}, wall time and monotonic time together. */
export class ManualClock implements Clock {
  readonly #startEpochMs: number;
  readonly #timers = new Set<Timer>();
  #elapsedMs = 0;

  /** @param startEpochMs wall time at the start. */
  constructor(startEpochMs = Date.UTC(2026, 10, 22, 12)) {
    this.#startEpochMs = startEpochMs;
  }

  now(): number {
    return this.#startEpochMs + this.#elapsedMs;
  }

  monotonicMs(): number {
    return this.#elapsedMs;
  }

  deadline(ms: number, earlier?: AbortSignal): Deadline {
    return makeDeadline((fire) => {
      const timer = this.#after(ms, fire);
      return () => {
        this.#timers.delete(timer);
      };
    }, earlier);
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const timer = this.#after(ms, () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      });
      const onAbort = (): void => {
        this.#timers.delete(timer);
        // As the system's clock does: whatever reason the abort was given.
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Sleeps and time-outs that are still to come. */
  get waiting(): number {
    return this.#timers.size;
  }

  /**
   * Lets `ms` pass. What falls due goes off in its order, each at its own time, and what waited for it runs on before
   * the next: a loop that sleeps again is woken again.
   */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#elapsedMs + ms;
    await setImmediate();
    for (let timer = this.#next(untilMs); timer !== undefined; timer = this.#next(untilMs)) {
      this.#timers.delete(timer);
      this.#elapsedMs = Math.max(this.#elapsedMs, timer.dueMs);
      timer.fire();
      await setImmediate();
    }
    this.#elapsedMs = untilMs;
  }

  #after(ms: number, fire: () => void): Timer {
    const timer = { dueMs: this.#elapsedMs + ms, fire };
    this.#timers.add(timer);
    return timer;
  }

  #next(untilMs: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMs <= untilMs && (next === undefined || timer.dueMs < next.dueMs)) next = timer;
    }
    return next;
  }
}
