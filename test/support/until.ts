const POLL_MS = 25;

/** Throw this from `check` to stop {@link until} immediately. Other errors only cause another try. */
export class PollAborted extends Error {
  override readonly name = 'PollAborted';
}

/**
 * Polls `check` until it returns a value other than undefined or false, and returns that value.
 *
 * @param what description of the awaited result, for the error message.
 * @param pollMs delay between two checks.
 * @throws Error with `what` and the last error, after `timeoutMs`.
 */
export async function until<T>(
  what: string,
  timeoutMs: number,
  check: () => T | Promise<T>,
  pollMs = POLL_MS,
): Promise<Exclude<T, undefined | false>> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    let failure: unknown;
    try {
      const result = await check();
      if (result !== undefined && result !== false) return result as Exclude<T, undefined | false>;
    } catch (error) {
      if (error instanceof PollAborted) throw error;
      failure = error;
    }
    if (performance.now() > endMs) {
      const reason = failure instanceof Error ? `: ${failure.message}` : '';
      throw new Error(`timed out after ${timeoutMs / 1_000} s waiting for ${what}${reason}`, {
        cause: failure,
      });
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}
