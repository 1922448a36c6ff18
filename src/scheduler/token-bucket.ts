/** A token bucket that limits bursts of immediate and catch-up runs. */
export class TokenBucket {
  readonly #refillMs: number;
  readonly #burstToleranceMs: number;
  /** Monotonic time at which the bucket is full again. */
  #fullAtMs = -Infinity;

  constructor({ burst, perSecond }: { readonly burst: number; readonly perSecond: number }) {
    this.#refillMs = 1_000 / perSecond;
    this.#burstToleranceMs = (burst - 1) * this.#refillMs;
  }

  /**
   * Takes a token, which may be used only after the returned delay.
   *
   * @param nowMs monotonic time.
   * @returns the delay in ms. If it would be `maxDelayMs` or more, no token is taken and undefined is returned.
   */
  take(nowMs: number, maxDelayMs: number): number | undefined {
    const fullAtMs = Math.max(this.#fullAtMs, nowMs);
    const delayMs = Math.max(0, fullAtMs - this.#burstToleranceMs - nowMs);
    if (delayMs >= maxDelayMs) return undefined;
    this.#fullAtMs = fullAtMs + this.#refillMs;
    return delayMs;
  }
}
