/** A token bucket that says how long to wait for the next token: starts off schedule come in no greater bursts. */
export class Pace {
  readonly #everyMs: number;
  readonly #burstMs: number;
  /** When the bucket would be full again. */
  #fullAtMs = -Infinity;

  constructor({ burst, perSecond }: { readonly burst: number; readonly perSecond: number }) {
    this.#everyMs = 1_000 / perSecond;
    this.#burstMs = (burst - 1) * this.#everyMs;
  }

  /**
   * Takes a token.
   *
   * @param nowMs monotonic.
   * @returns ms until it may be used; undefined, and none is taken, if that were `maxDelayMs` or more.
   */
  take(nowMs: number, maxDelayMs: number): number | undefined {
    const fullAtMs = Math.max(this.#fullAtMs, nowMs);
    const delayMs = Math.max(0, fullAtMs - this.#burstMs - nowMs);
    if (delayMs >= maxDelayMs) return undefined;
    this.#fullAtMs = fullAtMs + this.#everyMs;
    return delayMs;
  }
}
