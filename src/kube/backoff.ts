import type { Clock } from '../clock/clock.ts';

export interface BackoffOptions {
  readonly clock: Clock;
  /** In [0, 1): jitter. */
  readonly random: () => number;
  /** The first delay. Default 800. */
  readonly baseMs?: number;
  /** The longest. Default 30,000. */
  readonly maxMs?: number;
  /** After so long without a failure it starts again from the first delay. Default 120,000. */
  readonly resetAfterMs?: number;
}

/** How long to wait after a failure: twice as long each time, less a random part of up to a half. */
export class Backoff {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #baseMs: number;
  readonly #maxMs: number;
  readonly #resetAfterMs: number;
  #stepMs: number;
  #lastMs: number;

  /** The defaults are those of client-go's reflector. */
  constructor({ clock, random, baseMs = 800, maxMs = 30_000, resetAfterMs = 120_000 }: BackoffOptions) {
    this.#clock = clock;
    this.#random = random;
    this.#baseMs = baseMs;
    this.#maxMs = maxMs;
    this.#resetAfterMs = resetAfterMs;
    this.#stepMs = baseMs;
    this.#lastMs = clock.monotonicMs();
  }

  nextMs(): number {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#lastMs > this.#resetAfterMs) this.#stepMs = this.#baseMs;
    this.#lastMs = nowMs;
    const stepMs = this.#stepMs;
    this.#stepMs = Math.min(this.#maxMs, stepMs * 2);
    return stepMs * (0.5 + this.#random() / 2);
  }

  /** The next delay is the first one again. */
  reset(): void {
    this.#stepMs = this.#baseMs;
  }
}
