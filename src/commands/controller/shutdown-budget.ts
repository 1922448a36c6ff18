import { addAbortListener } from 'node:events';

import type { Clock } from '../../clock/clock.ts';
import { abortable } from '../../kube/abort.ts';

/** Share of the total that no step may use, so that a shutdown in which every step times out still finishes in time. */
const RESERVE = 0.1;

/**
 * Time budget of a shutdown, which starts when `signal` aborts. The steps run one after another. Each gets a share of
 * the time that remains, so together they never exceed the total.
 */
export class ShutdownBudget {
  readonly #clock: Clock;
  readonly #usableMs: number;
  #startMs: number | undefined;

  constructor(clock: Clock, totalMs: number, signal: AbortSignal) {
    this.#clock = clock;
    this.#usableMs = totalMs * (1 - RESERVE);
    const start = (): void => {
      this.#startMs = clock.monotonicMs();
    };
    if (signal.aborted) start();
    else signal.addEventListener('abort', start, { once: true });
  }

  /** Time limit for a step that starts now. @param share share of the remaining time, 0 to 1. */
  stepMs(share: number): number {
    const nowMs = this.#clock.monotonicMs();
    const remainingMs = this.#usableMs - (nowMs - (this.#startMs ?? nowMs));
    return Math.max(0, remainingMs * share);
  }
}

/**
 * @returns false if `work` is still pending `limitMs` after `signal` aborted.
 * @throws the error of `work` if `work` rejects in time.
 */
export async function finishesInTime(
  work: Promise<void>,
  limitMs: number,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<boolean> {
  const finished = new AbortController();
  const { promise: overdue, resolve } = Promise.withResolvers<boolean>();
  using _ = addAbortListener(signal, () => {
    clock.sleep(limitMs, finished.signal).then(
      () => resolve(false),
      () => undefined,
    );
  });
  try {
    return await Promise.race([work.then(() => true), overdue]);
  } finally {
    finished.abort();
  }
}

/** @returns false if `work` is still pending after `limitMs`. It then continues, and its errors are ignored. */
export async function settlesWithin(work: Promise<void>, limitMs: number, clock: Clock): Promise<boolean> {
  using deadline = clock.deadline(limitMs);
  try {
    await abortable(work, deadline.signal);
    return true;
  } catch (error) {
    if (error === deadline.signal.reason) return false;
    throw error;
  }
}
