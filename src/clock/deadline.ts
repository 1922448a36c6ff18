/** A signal that aborts when its time has come. Whoever makes it disposes of it, and its timer with it. */
export interface Deadline extends Disposable {
  readonly signal: AbortSignal;
}

/**
 * @param setTimer calls `fire` when the time has come; gives a function that forgets about it.
 * @param earlier aborts the deadline's signal, with its own reason, as soon as it aborts itself.
 */
export function makeDeadline(setTimer: (fire: () => void) => () => void, earlier?: AbortSignal): Deadline {
  const controller = new AbortController();
  const clearTimer = setTimer(() => {
    controller.abort(new DOMException('The time is up', 'TimeoutError'));
  });
  function onEarlier(): void {
    controller.abort(earlier?.reason);
  }
  if (earlier?.aborted === true) onEarlier();
  else earlier?.addEventListener('abort', onEarlier, { once: true });
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      clearTimer();
      earlier?.removeEventListener('abort', onEarlier);
    },
  };
}
