import { addAbortListener } from 'node:events';

import type { Clock } from '../../clock/clock.ts';

/** What has to be done at the end is tried for so long even when all the time is up. */
const MIN_LEFT_MS = 500;

/** Tells how much is left, in ms, of a time that begins once `signal` aborts. */
export function timeLeft(clock: Clock, totalMs: number, signal: AbortSignal): () => number {
  let startMs: number | undefined;
  const start = (): void => {
    startMs = clock.monotonicMs();
  };
  if (signal.aborted) start();
  else signal.addEventListener('abort', start, { once: true });
  return () => Math.max(MIN_LEFT_MS, totalMs - (clock.monotonicMs() - (startMs ?? clock.monotonicMs())));
}

/** Whether `work` ends before `limitMs` have passed since `signal` aborted. @throws what it throws until then. */
export async function endsInTime(
  work: Promise<void>,
  limitMs: number,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<boolean> {
  const ended = new AbortController();
  const { promise: overdue, resolve } = Promise.withResolvers<boolean>();
  using _ = addAbortListener(signal, () => {
    clock.sleep(limitMs, ended.signal).then(
      () => resolve(false),
      () => undefined,
    );
  });
  try {
    return await Promise.race([work.then(() => true), overdue]);
  } finally {
    ended.abort();
  }
}
