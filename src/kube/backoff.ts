import type { Clock } from '../clock/clock.ts';

export interface BackoffOptions {
  readonly clock: Clock;
  /** Random number in [0, 1), for jitter. */
  readonly random: () => number;
  /** First delay. Default 800. */
  readonly baseMs?: number;
  /** Maximum delay. Default 30,000. */
  readonly maxMs?: number;
  /** After this long without a failure, the delay is reset to `baseMs`. Default 120,000. */
  readonly resetAfterMs?: number;
}

/** Exponential backoff: the delay doubles with each failure. Random jitter shortens it by up to half. */
export class Backoff {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #baseMs: number;
  readonly #maxMs: number;
  readonly #resetAfterMs: number;
  #delayMs: number;
  #lastFailureMs: number;

  /** Source of the defaults: client-go's reflector. */
  constructor({ clock, random, baseMs = 800, maxMs = 30_000, resetAfterMs = 120_000 }: BackoffOptions) {
    this.#clock = clock;
    this.#random = random;
    this.#baseMs = baseMs;
    this.#maxMs = maxMs;
    this.#resetAfterMs = resetAfterMs;
    this.#delayMs = baseMs;
    this.#lastFailureMs = clock.monotonicMs();
  }

  nextMs(): number {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#lastFailureMs > this.#resetAfterMs) this.#delayMs = this.#baseMs;
    this.#lastFailureMs = nowMs;
    const delayMs = this.#delayMs;
    this.#delayMs = Math.min(this.#maxMs, delayMs * 2);
    return delayMs * (0.5 + this.#random() / 2);
  }

  reset(): void {
    this.#delayMs = this.#baseMs;
  }
}
