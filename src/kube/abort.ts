import { addAbortListener } from 'node:events';

/** Settles like `promise`, or rejects with `signal.reason` as soon as `signal` aborts. */
export async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  using _ = addAbortListener(signal, () => {
    reject(signal.reason as Error);
  });
  return await Promise.race([promise, aborted]);
}
