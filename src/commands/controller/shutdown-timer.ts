import { addAbortListener } from 'node:events';

import type { Clock } from '../../clock/clock.ts';

/** Minimum time for each shutdown step, even after the timeout. */
const MIN_REMAINING_MS = 500;

/** Returns a function that returns the remaining shutdown time in ms. The timer starts when `signal` aborts. */
export function shutdownTimer(clock: Clock, totalMs: number, signal: AbortSignal): () => number {
  let startMs: number | undefined;
  const start = (): void => {
    startMs = clock.monotonicMs();
  };
  if (signal.aborted) start();
  else signal.addEventListener('abort', start, { once: true });
  return () => Math.max(MIN_REMAINING_MS, totalMs - (clock.monotonicMs() - (startMs ?? clock.monotonicMs())));
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
