import type { Clock } from '../clock/clock.ts';

export interface RunOwnersOptions {
  /** `namespace/name` of the Lease, so that two installations never share names. */
  readonly lease: string;
  /** Number of the leader's term. */
  readonly term: number;
  /** Time for which this process still holds the Lease. 0 if it is not the leader. */
  readonly leadsForMs: () => number;
  readonly clock: Clock;
}

/**
 * Number of consecutive terms with different names. A leader that is cut off from the API server can probe alongside
 * three successors without sharing a name with them.
 */
const SLOTS = 4;
/** Each slot has a name for runs with the Lease, and one for runs of a leader that is cut off. */
const NAMES = 2 * SLOTS;
/** Time for which a leader is assumed to keep probing after another replica has taken over. */
const MAX_CUT_OFF_MS = 3_600_000;
const MAX_ATTEMPTS = 3;

/**
 * Names under which runs own buckets and objects. They differ between terms, and between runs with and without the
 * Lease, because a leader that is cut off from the API server keeps probing while another replica leads.
 *
 * The names of a probe and target are a fixed set, so the leftovers of any earlier term can be found.
 */
export class RunOwners {
  readonly #lease: string;
  readonly #slot: number;
  readonly #leadsForMs: () => number;
  readonly #clock: Clock;
  readonly #startMs: number;
  /** Remaining attempts to remove the leftovers under each name, by target. */
  readonly #attempts = new Map<string, Uint8Array>();

  /** Must be created when the term starts. */
  constructor({ lease, term, leadsForMs, clock }: RunOwnersOptions) {
    this.#lease = lease;
    this.#slot = term % SLOTS;
    this.#leadsForMs = leadsForMs;
    this.#clock = clock;
    this.#startMs = clock.monotonicMs();
  }

  /** Owner of a run that starts now. @param uid UID of the StorageProbe. */
  current(uid: string): string {
    return this.#ownerOf(uid, this.#slot + (this.#leadsForMs() > 0 ? 0 : SLOTS));
  }

  /**
   * Returns the owners whose leftovers on a target have not been removed, and whose runs are over. Without the Lease,
   * another replica may use any name but those of this term.
   *
   * @param key identifies the target.
   * @param maxRunMs time limit for a run and its clean-up.
   */
  removable(key: string, uid: string, maxRunMs: number): string[] {
    const ageMs = this.#clock.monotonicMs() - this.#startMs;
    const attempts = this.#attemptsFor(key);
    const names = Array.from({ length: NAMES }, (_, name) => name);
    return names
      .filter((name) => attempts[name] !== 0 && this.#isOver(name, ageMs, maxRunMs))
      .map((name) => this.#ownerOf(uid, name));
  }

  /** Time limit for removing leftovers: leadership must not end before. @param maxMs time limit in any case. */
  removalMs(maxMs: number): number {
    const leadsForMs = this.#leadsForMs();
    return leadsForMs > 0 ? Math.min(maxMs, leadsForMs) : maxMs;
  }

  /** Records an attempt to remove the leftovers of one owner. They are given up after three attempts. */
  recordRemoval(key: string, uid: string, owner: string, isComplete: boolean): void {
    const attempts = this.#attemptsFor(key);
    const name = this.#nameOf(uid, owner);
    attempts[name] = isComplete ? 0 : Math.max(0, (attempts[name] ?? 0) - 1);
  }

  /** Records that a run of this term may have left something behind. No run of the target may be in progress. */
  recordLeftovers(key: string, uid: string, owner: string): void {
    this.#attemptsFor(key)[this.#nameOf(uid, owner)] = MAX_ATTEMPTS;
  }

  forget(key: string): void {
    this.#attempts.delete(key);
  }

  /** A new target has attempts left for the names of all other terms. */
  #attemptsFor(key: string): Uint8Array {
    let attempts = this.#attempts.get(key);
    if (attempts === undefined) {
      attempts = new Uint8Array(NAMES).fill(MAX_ATTEMPTS);
      // Each run finds what is left under its own name.
      attempts[this.#slot] = 0;
      attempts[this.#slot + SLOTS] = 0;
      this.#attempts.set(key, attempts);
    }
    return attempts;
  }

  /**
   * A leader starts no more runs under the name of its term once its Lease has expired, which is before this term
   * started. When it was cut off, its name for that case may be in use for longer.
   */
  #isOver(name: number, ageMs: number, maxRunMs: number): boolean {
    if (name % SLOTS === this.#slot) return true;
    if (this.#leadsForMs() <= 0) return false;
    return ageMs >= (name < SLOTS ? maxRunMs : Math.max(maxRunMs, MAX_CUT_OFF_MS));
  }

  #ownerOf(uid: string, name: number): string {
    return `${uid}@${this.#lease}/${name % SLOTS}${name < SLOTS ? '' : '/cut-off'}`;
  }

  #nameOf(uid: string, owner: string): number {
    for (let name = 0; name < NAMES; name += 1) if (this.#ownerOf(uid, name) === owner) return name;
    throw new Error(`unknown owner: ${owner}`);
  }
}
