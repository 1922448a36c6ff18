import type { Clock } from '../clock/clock.ts';
import { TokenBucket } from '../scheduler/token-bucket.ts';

export interface HeartbeatPacerOptions {
  readonly clock: Clock;
  /** Minimum time between two status writes of one probe while its state stays the same. */
  readonly heartbeatMs: number;
  readonly probeCount: () => number;
}

/** Together with the renewals of the Lease, this stays below 20 writes a second. */
const MAX_PER_SECOND = 18;
/** Writes that may be made at the same time. */
const BURST = 10;

/** Limits the total rate of status writes in which only numbers have changed. With many probes, they become rarer. */
export class HeartbeatPacer {
  readonly #clock: Clock;
  readonly #heartbeatMs: number;
  readonly #probeCount: () => number;
  readonly #slots = new TokenBucket({ burst: BURST, perSecond: MAX_PER_SECOND });

  constructor({ clock, heartbeatMs, probeCount }: HeartbeatPacerOptions) {
    this.#clock = clock;
    this.#heartbeatMs = heartbeatMs;
    this.#probeCount = probeCount;
  }

  /** Maximum age of a status. */
  get maxStalenessMs(): number {
    return Math.max(this.#heartbeatMs, (this.#probeCount() * 1_000) / MAX_PER_SECOND);
  }

  /**
   * Returns the monotonic time at which the next heartbeat of a probe may be written. Undefined if the last write was
   * too recent to reserve a time.
   */
  reserve(lastWriteMs: number): number | undefined {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < lastWriteMs + this.#heartbeatMs) return undefined;
    return nowMs + (this.#slots.take(nowMs, Infinity) ?? 0);
  }
}
