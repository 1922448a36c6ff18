import { isDeepStrictEqual } from 'node:util';

import type { Clock } from '../clock/clock.ts';
import type { Deadline } from '../clock/deadline.ts';
import { faultOf } from './fault.ts';
import { hasReason, type KubeClient, type KubeLogger } from './kube-client.ts';
import { microTime } from './micro-time.ts';
import { type KubeObject, resourcePath, type ResourceType } from './objects.ts';
import { isUnanswered } from './outage.ts';
import { createObject, getObject, replaceObject } from './resources.ts';

export interface LeaderElectorOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** In [0, 1): jitter. */
  readonly random: () => number;
  readonly log: KubeLogger;
  /** Of the Lease, as is the name. */
  readonly namespace: string;
  readonly name: string;
  /** No two processes may have the same, nor one process the same after its restart. */
  readonly identity: string;
  /** How long the others wait, from when they saw the last renewal. Rounded up to seconds. Default 15,000. */
  readonly leaseDurationMs?: number;
  /** How long after its last renewal a leader stops. Default 10,000. */
  readonly renewDeadlineMs?: number;
  /** Between two renewals, and two attempts. Default 2,000. */
  readonly retryPeriodMs?: number;
  /**
   * Whether a leader that gets no answer to its renewals (or 429, or 5xx) leads on after its deadline, though
   * {@link LeaderElector.isLeader} is false, until an answer says whether it still has the Lease. While the API server is
   * away nobody can take that, and afterwards the others give it the time to renew. But where the leader alone is cut
   * off, two lead until it reaches the server again. The same for all processes that share a Lease. Default false: it
   * stops at its deadline, as client-go's does.
   */
  readonly keepsLeadWhileUnreachable?: boolean;
  /** Annotation of the Lease in which a leader that ends in good order leaves a note to the next one. Absent: none. */
  readonly noteAnnotation?: string;
  readonly metrics?: LeaderMetrics | undefined;
}

/** What a leader does: see {@link LeaderElector.run}. */
export type Lead = (signal: AbortSignal, note: string | undefined) => Promise<string | void>;

export interface LeaderMetrics {
  /** Also false while a leader leads on without the Lease. */
  leading(isLeading: boolean): void;
}

/** Why the signal of a leader aborts when it is to stop though nobody asked for it. */
export class LeadershipLostError extends Error {
  override readonly name = 'LeadershipLostError';
  readonly reason = 'LeadershipLost';
}

export const LEASE: ResourceType = {
  group: 'coordination.k8s.io',
  version: 'v1',
  plural: 'leases',
  kind: 'Lease',
};

interface LeaseSpec {
  holderIdentity?: string;
  leaseDurationSeconds?: number;
  acquireTime?: string;
  renewTime?: string;
  leaseTransitions?: number;
}

interface Lease extends KubeObject {
  spec?: LeaseSpec;
}

interface WatchEvent {
  type: string;
  object: Lease;
}

/** What came of an attempt to renew. */
type Attempt = 'renewed' | 'refused' | 'unanswered';

/** Spread of the pause between attempts: 1 to 2.2 periods. Source: client-go, leaderelection.JitterFactor. */
const JITTER_FACTOR = 1.2;
const RELEASE_TIMEOUT_MS = 5_000;
const WATCH_SECONDS = 300;
/** What the server may take beyond that to end a watch. */
const WATCH_GRACE_MS = 30_000;

/**
 * At most one of several processes leads: the one whose identity stands in a Lease. The rules are client-go's: a
 * record has expired when it has not changed for its duration by the clock of the process that looks at it, so that
 * clocks need not agree. A leader stops before the others may take over, since its deadline is the shorter one and
 * counts from before the renewal was sent.
 *
 * Other than client-go's, a standby also watches the Lease, and takes over at once when it is released; and to those
 * who saw it, a Lease that somebody deletes counts until it would have expired.
 */
export class LeaderElector {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #log: KubeLogger;
  readonly #namespace: string;
  readonly #name: string;
  readonly #identity: string;
  readonly #leaseDurationMs: number;
  readonly #renewDeadlineMs: number;
  readonly #retryPeriodMs: number;
  readonly #keepsLeadWhileUnreachable: boolean;
  readonly #noteAnnotation: string | undefined;
  readonly #metrics: LeaderMetrics | undefined;
  #noteFound: string | undefined;
  #noteLeft: string | undefined;
  /** The Lease as last seen. */
  #lease: Lease | undefined;
  /** Since when its record is known to be as it is; monotonic. */
  #changedMs = 0;
  #seenMs = -Infinity;
  #leadsUntilMs = -Infinity;
  /** When a renewal last got no answer; monotonic. */
  #unansweredMs = -Infinity;
  #wake: () => void = () => undefined;
  /** By what failed: the reason that was logged last, so that each spell is logged once. */
  readonly #spells = new Map<string, string>();

  /** @throws RangeError when the times do not fit each other. */
  constructor(options: LeaderElectorOptions) {
    const { leaseDurationMs = 15_000, renewDeadlineMs = 10_000, retryPeriodMs = 2_000 } = options;
    if (!(leaseDurationMs > renewDeadlineMs && renewDeadlineMs > JITTER_FACTOR * retryPeriodMs)) {
      throw new RangeError(
        `Leader election: the lease duration (${leaseDurationMs} ms) must be longer than the renew deadline ` +
          `(${renewDeadlineMs} ms), and that longer than ${JITTER_FACTOR} times the retry period (${retryPeriodMs} ms).`,
      );
    }
    this.#client = options.client;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#log = options.log;
    this.#namespace = options.namespace;
    this.#name = options.name;
    this.#identity = options.identity;
    this.#leaseDurationMs = leaseDurationMs;
    this.#renewDeadlineMs = renewDeadlineMs;
    this.#retryPeriodMs = retryPeriodMs;
    this.#keepsLeadWhileUnreachable = options.keepsLeadWhileUnreachable ?? false;
    this.#noteAnnotation = options.noteAnnotation;
    this.#metrics = options.metrics;
  }

  /** False as soon as the renew deadline has passed, even when no timer could go off since. */
  get isLeader(): boolean {
    return this.#clock.monotonicMs() < this.#leadsUntilMs;
  }

  /** Whoever held the Lease when it was last seen. */
  get leader(): string | undefined {
    const holder = this.#lease?.spec?.holderIdentity;
    return holder === '' ? undefined : holder;
  }

  /**
   * Waits for the lead, then calls `lead`; again each time the lead was lost and won anew. Resolves when `signal` has
   * aborted or `lead` has resolved by itself. The Lease is renewed until `lead` has ended, and then released.
   *
   * @param lead its signal aborts with `signal`, or with a `LeadershipLostError`; it then ends what only a leader may
   *   do, and settles. Rejecting with the signal's reason is as good as resolving. It gets the note of the leader before,
   *   if that one ended in good order, and may resolve with one to the next.
   * @throws what `lead` throws, after the release.
   */
  async run(lead: Lead, signal: AbortSignal): Promise<void> {
    this.#metrics?.leading(false);
    try {
      while (await this.#acquire(signal)) {
        const isLost = await this.#leadOnce(lead, signal);
        if (!isLost) return;
      }
    } finally {
      await this.#release();
    }
  }

  /** @returns false when `signal` has aborted. */
  async #acquire(signal: AbortSignal): Promise<boolean> {
    const candidacy = new AbortController();
    let watching: Promise<void> | undefined;
    try {
      while (!signal.aborted) {
        const woken = new AbortController();
        // From now on: a release may be seen while an attempt is under way, too.
        this.#wake = () => woken.abort();
        if (await this.#tryToTake(signal)) return true;
        // A watch that broke off is opened again here only: at the pace of the attempts.
        watching ??= this.#watch(candidacy.signal).finally(() => {
          watching = undefined;
        });
        await this.#pause(woken, signal);
      }
      return false;
    } finally {
      candidacy.abort();
      await watching;
    }
  }

  async #tryToTake(signal: AbortSignal): Promise<boolean> {
    using attempt = this.#attempt(signal);
    try {
      const lease = await this.#read(attempt.signal);
      if (this.#isFree()) await this.#write(lease, attempt.signal);
      this.#endSpell('use');
    } catch (error) {
      // Somebody else may have been faster.
      if (!signal.aborted && !hasReason(error, 'Conflict', 'AlreadyExists')) this.#tellFault('use', error);
    }
    return this.isLeader;
  }

  /** Until the next attempt, or until it is woken. */
  async #pause(woken: AbortController, signal: AbortSignal): Promise<void> {
    const periodMs = this.#retryPeriodMs * (1 + JITTER_FACTOR * this.#random());
    const expiresInMs = this.#expiresInMs();
    const onAbort = (): void => woken.abort();
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      await this.#clock.sleep(expiresInMs > 0 ? Math.min(periodMs, expiresInMs) : periodMs, woken.signal);
    } catch {
      // Woken.
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Until the watch ends, in whatever way. */
  async #watch(signal: AbortSignal): Promise<void> {
    using deadline = this.#clock.deadline(WATCH_SECONDS * 1_000 + WATCH_GRACE_MS, signal);
    const query = {
      watch: true,
      fieldSelector: `metadata.name=${this.#name}`,
      resourceVersion: this.#lease?.metadata.resourceVersion,
      timeoutSeconds: WATCH_SECONDS,
    };
    const path = resourcePath(LEASE, { namespace: this.#namespace });
    try {
      for await (const event of this.#client.stream({ method: 'GET', path, query }, deadline.signal)) {
        this.#endSpell('watch');
        const { type, object } = event as WatchEvent;
        if (type === 'ERROR') return;
        if (this.#see(object) && this.#isFree()) this.#wake();
      }
    } catch (error) {
      if (!deadline.signal.aborted) this.#tellFault('watch', error);
    }
  }

  /** @returns whether the lead was lost, and may be won again. */
  async #leadOnce(lead: Lead, signal: AbortSignal): Promise<boolean> {
    this.#log.info(this.#fields(), 'became the leader');
    this.#metrics?.leading(true);
    const leadership = new AbortController();
    const renewal = new AbortController();
    const onAbort = (): void => leadership.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    const renewing = this.#keepLeading(leadership, renewal.signal);
    try {
      this.#noteLeft = (await lead(leadership.signal, this.#noteFound)) ?? undefined;
    } catch (error) {
      if (!leadership.signal.aborted || error !== leadership.signal.reason) throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
      renewal.abort();
      await renewing;
      this.#stepDown();
    }
    return leadership.signal.reason instanceof LeadershipLostError && !signal.aborted;
  }

  /** Renews the Lease until `ended` aborts; when it is lost, aborts the leadership. */
  async #keepLeading(leadership: AbortController, ended: AbortSignal): Promise<void> {
    try {
      for (;;) {
        const isRenewed = await this.#renewInTime(ended);
        if (!isRenewed) await this.#outlastOutage(ended);
      }
    } catch (error) {
      if (ended.aborted) return;
      this.#stepDown();
      this.#log.warn({ ...this.#fields(), leader: this.leader }, 'lost the lead');
      leadership.abort(error);
    }
  }

  /**
   * @returns false when the renew deadline has passed.
   * @throws {LeadershipLostError} when somebody else has the Lease. @throws the reason of `ended`.
   */
  async #renewInTime(ended: AbortSignal): Promise<boolean> {
    using term = this.#clock.deadline(this.#leadsUntilMs - this.#clock.monotonicMs(), ended);
    try {
      do {
        await this.#clock.sleep(this.#retryPeriodMs, term.signal);
      } while ((await this.#tryToRenew(term.signal)) !== 'renewed');
      return true;
    } catch (error) {
      if (term.signal.aborted && !ended.aborted) return false;
      throw error;
    }
  }

  /**
   * Resolves when the Lease is renewed after its deadline; until then nothing says that somebody else has it.
   * @throws {LeadershipLostError} when the server answers and does not let it renew. @throws the reason of `ended`.
   */
  async #outlastOutage(ended: AbortSignal): Promise<void> {
    this.#stepDown();
    const isLate = new LeadershipLostError(
      `The Lease ${this.#namespace}/${this.#name} was not renewed in time, or another process has it.`,
    );
    if (!this.#keepsLeadWhileUnreachable) throw isLate;
    // A process that was stopped for a while has not tried yet.
    for (let isTold = false; ;) {
      const attempt = await this.#tryToRenew(ended);
      if (attempt === 'renewed') break;
      // A server that is starting may refuse what it grants a moment later.
      if (this.#clock.monotonicMs() - this.#unansweredMs >= this.#renewDeadlineMs) throw isLate;
      if (!isTold) this.#log.warn(this.#fields(), 'leads on without the Lease: nobody can take it either');
      isTold = true;
      await this.#clock.sleep(this.#retryPeriodMs, ended);
    }
    this.#metrics?.leading(true);
    this.#log.info(this.#fields(), 'leads by the Lease again');
  }

  /** @throws {LeadershipLostError} when somebody else has the Lease. @throws the reason of `signal`. */
  async #tryToRenew(signal: AbortSignal): Promise<Attempt> {
    using attempt = this.#attempt(signal);
    try {
      await this.#renew(attempt.signal);
      this.#endSpell('use');
      return 'renewed';
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof LeadershipLostError) throw error;
      this.#tellFault('use', error);
      if (!isUnanswered(error)) return 'refused';
      this.#unansweredMs = this.#clock.monotonicMs();
      return 'unanswered';
    }
  }

  async #renew(signal: AbortSignal): Promise<void> {
    try {
      await this.#write(this.#lease, signal);
    } catch (error) {
      if (!hasReason(error, 'Conflict', 'NotFound')) throw error;
      const lease = await this.#read(signal);
      if (this.leader !== undefined && this.leader !== this.#identity) {
        throw new LeadershipLostError('Another process holds the Lease.');
      }
      await this.#write(lease, signal);
    }
  }

  /** So that the others need not wait until it expires. Never throws. */
  async #release(): Promise<void> {
    if (this.leader !== this.#identity) return;
    using deadline = this.#clock.deadline(RELEASE_TIMEOUT_MS);
    try {
      // A renewal that was broken off may still have changed the Lease.
      const lease = await this.#read(deadline.signal);
      if (lease === undefined || this.leader !== this.#identity) return;
      const now = microTime(this.#clock.now());
      const spec = { holderIdentity: '', leaseDurationSeconds: 1, acquireTime: now, renewTime: now };
      const released = { ...this.#withNote(lease, this.#noteLeft), spec: { ...lease.spec, ...spec } };
      this.#see(await replaceObject(this.#client, LEASE, released, deadline.signal));
      this.#log.info(this.#fields(), 'released the lead');
    } catch (error) {
      this.#log.warn({ ...this.#fields(), ...faultOf(error) }, 'the lead was not released and has to expire');
    }
  }

  #stepDown(): void {
    if (this.#leadsUntilMs === -Infinity) return;
    this.#leadsUntilMs = -Infinity;
    this.#metrics?.leading(false);
  }

  /** Leaves time for a second one before the renew deadline. */
  #attempt(signal: AbortSignal): Deadline {
    return this.#clock.deadline(this.#renewDeadlineMs / 2, signal);
  }

  #isFree(): boolean {
    const { leader } = this;
    return leader === undefined || leader === this.#identity || this.#expiresInMs() <= 0;
  }

  #expiresInMs(): number {
    const durationMs = (this.#lease?.spec?.leaseDurationSeconds ?? 0) * 1_000;
    return this.#changedMs + durationMs - this.#clock.monotonicMs();
  }

  /** @returns undefined when there is none. */
  async #read(signal: AbortSignal): Promise<Lease | undefined> {
    try {
      const name = { namespace: this.#namespace, name: this.#name };
      const lease = await getObject<Lease>(this.#client, LEASE, name, signal);
      this.#see(lease);
      return lease;
    } catch (error) {
      if (hasReason(error, 'NotFound')) return undefined;
      throw error;
    }
  }

  /** Takes the Lease or renews it, unless it was changed since it was read. */
  async #write(lease: Lease | undefined, signal: AbortSignal): Promise<void> {
    const startMs = this.#clock.monotonicMs();
    const now = microTime(this.#clock.now());
    const { acquireTime = now, leaseTransitions = 0 } = lease?.spec ?? {};
    const isRenewal = lease?.spec?.holderIdentity === this.#identity;
    const spec: LeaseSpec = {
      ...lease?.spec,
      holderIdentity: this.#identity,
      leaseDurationSeconds: Math.ceil(this.#leaseDurationMs / 1_000),
      acquireTime: isRenewal ? acquireTime : now,
      renewTime: now,
      leaseTransitions: isRenewal || lease === undefined ? leaseTransitions : leaseTransitions + 1,
    };
    const metadata = { namespace: this.#namespace, name: this.#name };
    const written =
      lease === undefined
        ? await createObject<Lease>(this.#client, LEASE, { metadata, spec }, signal)
        : await replaceObject<Lease>(this.#client, LEASE, { ...this.#withNote(lease), spec }, signal);
    if (!isRenewal) {
      this.#noteFound = this.#noteIn(lease);
      this.#noteLeft = undefined;
    }
    this.#see(written);
    this.#leadsUntilMs = startMs + this.#renewDeadlineMs;
  }

  #noteIn(lease: Lease | undefined): string | undefined {
    return this.#noteAnnotation === undefined
      ? undefined
      : lease?.metadata.annotations?.[this.#noteAnnotation];
  }

  /** With no other note than this. */
  #withNote(lease: Lease, note?: string): Lease {
    if (this.#noteAnnotation === undefined) return lease;
    const { [this.#noteAnnotation]: _, ...others } = lease.metadata.annotations ?? {};
    const annotations = note === undefined ? others : { ...others, [this.#noteAnnotation]: note };
    return { ...lease, metadata: { ...lease.metadata, annotations } };
  }

  /** @returns whether the record has changed. */
  #see(lease: Lease): boolean {
    const isChanged = !isDeepStrictEqual(lease.spec, this.#lease?.spec);
    const before = this.leader;
    const nowMs = this.#clock.monotonicMs();
    // Whoever leads on through an outage has to find out first that it is over.
    const wasAway = this.#keepsLeadWhileUnreachable && nowMs - this.#seenMs > this.#renewDeadlineMs;
    this.#lease = lease;
    this.#seenMs = nowMs;
    if (isChanged || wasAway) this.#changedMs = nowMs;
    const { leader } = this;
    if (leader !== undefined && leader !== before && leader !== this.#identity)
      this.#log.info({ ...this.#fields(), leader }, 'there is a new leader');
    return isChanged;
  }

  #fields(): object {
    return { lease: `${this.#namespace}/${this.#name}`, identity: this.#identity };
  }

  #tellFault(use: Use, error: unknown): void {
    const fault = faultOf(error);
    if (this.#spells.get(use) === fault.reason) return;
    this.#spells.set(use, fault.reason);
    this.#log.warn({ ...this.#fields(), ...fault }, FAULTS[use]);
  }

  #endSpell(use: Use): void {
    if (this.#spells.delete(use)) this.#log.info(this.#fields(), 'the Lease can be reached again');
  }
}

const FAULTS = {
  use: 'the Lease cannot be read or written',
  watch: 'the Lease cannot be watched and is only polled',
} as const;
type Use = keyof typeof FAULTS;
