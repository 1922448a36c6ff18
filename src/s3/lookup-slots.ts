export interface LookupSlotsOptions {
  /** Lookups in flight at once. */
  readonly max: number;
  /** Maximum number of concurrent lookups of names whose last lookup got no answer. */
  readonly maxUnresponsive: number;
}

interface Waiter {
  readonly isUnresponsive: boolean;
  readonly start: (slot: Disposable) => void;
}

/**
 * Limits the lookups in flight. Names whose last lookup got no answer have their own lower limit, so that they cannot
 * take all slots from the others.
 */
export class LookupSlots {
  readonly #options: LookupSlotsOptions;
  /** In order of arrival. Bounded by the number of runs in flight. */
  readonly #waiters = new Set<Waiter>();
  #taken = 0;
  #takenByUnresponsive = 0;

  constructor(options: LookupSlotsOptions) {
    this.#options = options;
  }

  /** @returns the slot, or undefined if the caller would have to wait. */
  tryAcquire(isUnresponsive = false): Disposable | undefined {
    const { max, maxUnresponsive } = this.#options;
    if (this.#taken >= max) return undefined;
    if (isUnresponsive && this.#takenByUnresponsive >= maxUnresponsive) return undefined;
    this.#taken += 1;
    if (isUnresponsive) this.#takenByUnresponsive += 1;
    return {
      [Symbol.dispose]: () => {
        this.#release(isUnresponsive);
      },
    };
  }

  /** Rejects with `signal.reason` if the signal aborts before a slot is free. The caller disposes of the slot. */
  acquire(signal: AbortSignal, isUnresponsive = false): Promise<Disposable> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const slot = this.tryAcquire(isUnresponsive);
      if (slot !== undefined) return resolve(slot);
      const waiter: Waiter = {
        isUnresponsive,
        start: (freed) => {
          signal.removeEventListener('abort', onAbort);
          resolve(freed);
        },
      };
      const onAbort = (): void => {
        this.#waiters.delete(waiter);
        reject(signal.reason as Error);
      };
      this.#waiters.add(waiter);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #release(isUnresponsive: boolean): void {
    this.#taken -= 1;
    if (isUnresponsive) this.#takenByUnresponsive -= 1;
    for (const waiter of this.#waiters) {
      const slot = this.tryAcquire(waiter.isUnresponsive);
      if (slot === undefined) continue;
      this.#waiters.delete(waiter);
      waiter.start(slot);
      return;
    }
  }
}
