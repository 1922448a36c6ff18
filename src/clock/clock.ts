import type { Deadline } from './deadline.ts';

/** Source of time, passed in so that tests can control it. */
export interface Clock {
  /** Wall time, ms since the epoch. For timestamps, schedules and signatures. It can jump. */
  now(): number;
  /** Monotonic time, ms, with sub-millisecond resolution. Only the difference between two readings is meaningful. */
  monotonicMs(): number;
  /**
   * Returns a signal that aborts with a `TimeoutError` after `ms`. If `parent` aborts first, the signal aborts with the
   * same reason. Does not keep the process alive.
   */
  deadline(ms: number, parent?: AbortSignal): Deadline;
  /** Resolves after `ms`. Rejects with `signal.reason` as soon as `signal` aborts. Keeps the process alive. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}
