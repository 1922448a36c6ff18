import type { Clock } from '../clock/clock.ts';
import { Backoff } from './backoff.ts';
import { errorFields } from './error-fields.ts';
import { KubeError } from './kube-client.ts';

export interface OutageBackoffOptions {
  readonly clock: Clock;
  /** Random number in [0, 1), for jitter. */
  readonly random: () => number;
  /** Maximum backoff. */
  readonly maxMs: number;
}

/** Failures further apart than this belong to different outages. */
const RESET_AFTER_MS = 30_000;
const FIRST_DELAY_MS = 500;

/**
 * Shared backoff while the API server is unavailable. Before a request that can wait, callers check `remainingMs`, so
 * that only a few requests, at growing intervals, test whether the server is back.
 */
export class OutageBackoff {
  readonly #clock: Clock;
  readonly #backoff: Backoff;
  #untilMs = -Infinity;

  constructor({ clock, random, maxMs }: OutageBackoffOptions) {
    this.#clock = clock;
    this.#backoff = new Backoff({
      clock,
      random,
      baseMs: FIRST_DELAY_MS,
      maxMs,
      resetAfterMs: RESET_AFTER_MS,
    });
  }

  /** Remaining backoff. 0 if the server seems available. */
  get remainingMs(): number {
    return Math.max(0, this.#untilMs - this.#clock.monotonicMs());
  }

  /**
   * Starts the backoff if `error` means that the server is unavailable. Must be called with the error of each failed
   * request.
   */
  recordError(error: unknown): void {
    // Requests that fail together count as one failure.
    if (this.remainingMs > 0 || !isUnavailable(error)) return;
    const { retryAfterMs = 0 } = error instanceof KubeError ? error : {};
    this.#untilMs = this.#clock.monotonicMs() + Math.max(this.#backoff.nextMs(), retryAfterMs);
  }
}

/** True if the API server did not process the request: no response, 429 or 5xx. */
export function isUnavailable(error: unknown): boolean {
  return isUnreachable(error) || (error instanceof KubeError && error.status === 429);
}

/** True if the API server did not answer: no response, or a 5xx, which may come from a proxy. */
export function isUnreachable(error: unknown): boolean {
  if (!(error instanceof KubeError)) return errorFields(error).reason === 'TimeoutError';
  const { status, reason } = error;
  return status === 0 ? reason !== 'CredentialsFailed' : status >= 500;
}
