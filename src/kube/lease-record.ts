import { isDeepStrictEqual } from 'node:util';

import type { Clock } from '../clock/clock.ts';
import { holderOf, type Lease } from './lease.ts';

/**
 * The Lease as this process has observed it. It expires when its record has not changed for the lease duration. Each
 * process measures this with its own clock, so clocks need not be synchronized.
 */
export class LeaseRecord {
  readonly #clock: Clock;
  readonly #maxGapMs: number;
  #lease: Lease | undefined;
  /** When the record was last seen to change. Monotonic. */
  #lastChangeMs = 0;
  #lastSeenMs = -Infinity;

  /** @param maxGapMs if the Lease was not seen for longer than this, its duration starts over when it is seen again. */
  constructor(clock: Clock, maxGapMs: number) {
    this.#clock = clock;
    this.#maxGapMs = maxGapMs;
  }

  /** The Lease as last observed. It may have been deleted since. */
  get lease(): Lease | undefined {
    return this.#lease;
  }

  get holder(): string | undefined {
    return holderOf(this.#lease);
  }

  get expiresInMs(): number {
    const durationMs = (this.#lease?.spec?.leaseDurationSeconds ?? 0) * 1_000;
    return this.#lastChangeMs + durationMs - this.#clock.monotonicMs();
  }

  canBeAcquiredBy(identity: string): boolean {
    return this.holder === undefined || this.holder === identity || this.expiresInMs <= 0;
  }

  /** @returns true if the record has changed. */
  observe(lease: Lease): boolean {
    const isChanged = !isDeepStrictEqual(lease.spec, this.#lease?.spec);
    const nowMs = this.#clock.monotonicMs();
    if (isChanged || nowMs - this.#lastSeenMs > this.#maxGapMs) this.#lastChangeMs = nowMs;
    this.#lease = lease;
    this.#lastSeenMs = nowMs;
    return isChanged;
  }
}
