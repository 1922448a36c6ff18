import type { Deadline } from './deadline.ts';

/** Time as a parameter, so that tests decide what time it is. */
export interface Clock {
  /** Wall time, ms since the epoch: timestamps, schedules and signatures. It can jump. */
  now(): number;
  /** Monotonic ms with sub-millisecond resolution: subtract two readings, nothing else. */
  monotonicMs(): number;
  /**
   * Aborts after `ms` with a `TimeoutError`, or with the reason of `earlier` as soon as that aborts. Never keeps the
   * process alive.
   */
  deadline(ms: number, earlier?: AbortSignal): Deadline;
  /** Resolves after `ms`; rejects with `signal.reason` as soon as `signal` aborts. Keeps the process alive. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}
