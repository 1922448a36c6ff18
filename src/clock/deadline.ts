/** A signal that aborts at a deadline. The caller must dispose of the deadline, which clears its timer. */
export interface Deadline extends Disposable {
  readonly signal: AbortSignal;
}

/**
 * @param setTimer starts a timer that calls `fire` at the deadline, and returns a function that clears the timer.
 * @param parent if it aborts first, the deadline's signal aborts with the same reason.
 */
export function createDeadline(setTimer: (fire: () => void) => () => void, parent?: AbortSignal): Deadline {
  const controller = new AbortController();
  const clearTimer = setTimer(() => {
    controller.abort(new DOMException('Deadline exceeded', 'TimeoutError'));
  });
  function onParentAbort(): void {
    controller.abort(parent?.reason);
  }
  if (parent?.aborted === true) onParentAbort();
  else parent?.addEventListener('abort', onParentAbort, { once: true });
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      clearTimer();
      parent?.removeEventListener('abort', onParentAbort);
    },
  };
}
