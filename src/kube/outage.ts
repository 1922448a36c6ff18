import type { Clock } from '../clock/clock.ts';
import { Backoff } from './backoff.ts';
import { faultOf } from './fault.ts';
import { KubeError } from './kube-client.ts';

export interface OutageOptions {
  readonly clock: Clock;
  /** In [0, 1): jitter. */
  readonly random: () => number;
  /** Longest rest. */
  readonly maxMs: number;
}

/** Two failures further apart belong to two outages. */
const RESET_AFTER_MS = 30_000;
const FIRST_REST_MS = 500;

/**
 * Remembers that the API server does not answer, so that of a thousand who want something that can wait only a few find
 * out anew, at growing distances.
 */
export class Outage {
  readonly #clock: Clock;
  readonly #backoff: Backoff;
  #endMs = -Infinity;

  constructor({ clock, random, maxMs }: OutageOptions) {
    this.#clock = clock;
    this.#backoff = new Backoff({
      clock,
      random,
      baseMs: FIRST_REST_MS,
      maxMs,
      resetAfterMs: RESET_AFTER_MS,
    });
  }

  /** For how long nothing is asked that can wait; 0 when the server seems well. */
  get restMs(): number {
    return Math.max(0, this.#endMs - this.#clock.monotonicMs());
  }

  /** To be told of each failed request; an answer, if only a refusal, is none. */
  observe(error: unknown): void {
    // Those that failed at the same time tell nothing new.
    if (this.restMs > 0 || !isUnanswered(error)) return;
    const { retryAfterMs = 0 } = error instanceof KubeError ? error : {};
    this.#endMs = this.#clock.monotonicMs() + Math.max(this.#backoff.nextMs(), retryAfterMs);
  }
}

/** Whether the API server has said nothing on the matter: no answer, or 429, or 5xx. */
export function isUnanswered(error: unknown): boolean {
  if (!(error instanceof KubeError)) return faultOf(error).reason === 'TimeoutError';
  const { status, reason } = error;
  if (status === 0) return reason !== 'CredentialsFailed';
  return status === 429 || status >= 500;
}
