const POLL_MS = 25;

/** Thrown out of what {@link until} polls, it ends the wait. */
export class GaveUp extends Error {
  override readonly name = 'GaveUp';
}

/**
 * Asks again and again until the answer is neither undefined nor false, and returns it.
 *
 * @param what of the sentence "waited … for …".
 * @param pollMs between two questions.
 * @throws Error that tells what was waited for, and the last failure.
 */
export async function until<T>(
  what: string,
  timeoutMs: number,
  ask: () => T | Promise<T>,
  pollMs = POLL_MS,
): Promise<Exclude<T, undefined | false>> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    let failure: unknown;
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer as Exclude<T, undefined | false>;
    } catch (error) {
      if (error instanceof GaveUp) throw error;
      failure = error;
    }
    if (performance.now() > endMs) {
      const why = failure instanceof Error ? `: ${failure.message}` : '';
      throw new Error(`waited ${timeoutMs / 1_000} s in vain for ${what}${why}`, { cause: failure });
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}
