import { isDeepStrictEqual } from 'node:util';

import type { Clock } from '../clock/clock.ts';
import type { Deadline } from '../clock/deadline.ts';
import { errorFields } from './error-fields.ts';
import { hasReason, type KubeClient, type KubeLogger } from './kube-client.ts';
import { microTime } from './micro-time.ts';
import { type KubeObject, resourcePath, type ResourceType } from './objects.ts';
import { isUnavailable } from './outage-backoff.ts';
import { createObject, getObject, replaceObject } from './resources.ts';

export interface LeaderElectorOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Random number in [0, 1), for jitter. */
  readonly random: () => number;
  readonly log: KubeLogger;
  /** Namespace of the Lease. */
  readonly namespace: string;
  /** Name of the Lease. */
  readonly name: string;
  /** Unique to this process; must change after a restart. */
  readonly identity: string;
  /** How long standbys wait after the last renewal that they saw. Rounded up to whole seconds. Default 15,000. */
  readonly leaseDurationMs?: number;
  /** How long after its last successful renewal a leader stops leading. Default 10,000. */
  readonly renewDeadlineMs?: number;
  /** Delay between renewals, and between attempts to acquire the Lease. Default 2,000. */
  readonly retryPeriodMs?: number;
  /**
   * If true, a leader whose renewals fail (no response, 429 or 5xx) keeps its task running past the renew deadline
   * until it learns whether it still holds the Lease. During this time, {@link LeaderElector.isLeader} is false.
   *
   * During an outage, no standby can acquire the Lease. After the outage, the standbys give the leader time to renew.
   * If only the leader is cut off, a standby takes over, and both run their tasks until the old leader reaches the
   * server again. All processes that share a Lease must use the same value. Default false: the leader stops at the
   * deadline, as in client-go.
   */
  readonly keepsLeadershipWhileUnreachable?: boolean;
  /** Lease annotation in which a leader that shuts down cleanly leaves a note for the next leader. Default: no note. */
  readonly noteAnnotation?: string;
  readonly metrics?: LeaderMetrics | undefined;
}

/** Work that only the leader does. See {@link LeaderElector.run}. */
export type LeaderTask = (signal: AbortSignal, note: string | undefined) => Promise<string | void>;

export interface LeaderMetrics {
  /** Called when leadership changes. `isLeading` is also false while a leader keeps running without the Lease. */
  leading(isLeading: boolean): void;
}

/** Abort reason when leadership was lost rather than given up. */
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

/** Result of one renewal attempt. */
type RenewResult = 'renewed' | 'refused' | 'unavailable';

/** The delay between attempts is 1 to 2.2 retry periods. Source: client-go, leaderelection.JitterFactor. */
const JITTER_FACTOR = 1.2;
const RELEASE_TIMEOUT_MS = 5_000;
const WATCH_SECONDS = 300;
/** Extra time for the server to close the watch. */
const WATCH_GRACE_MS = 30_000;

/**
 * Leader election with a Lease, following the rules of client-go. At most one process leads: the holder of the Lease.
 * The Lease expires when its record has not changed for the lease duration. Each process measures this with its own
 * clock, so clocks need not be synchronized. A leader stops before a standby can take over, because the renew deadline
 * is shorter than the lease duration and starts when the renewal request is sent.
 *
 * Unlike client-go, a standby also watches the Lease and takes over as soon as it is released. If the Lease is deleted,
 * standbys that saw it still wait until it would have expired.
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
  readonly #keepsLeadershipWhileUnreachable: boolean;
  readonly #noteAnnotation: string | undefined;
  readonly #metrics: LeaderMetrics | undefined;
  /** Note from the previous leader. */
  #receivedNote: string | undefined;
  /** Note for the next leader. */
  #handoverNote: string | undefined;
  /** Last observed Lease. */
  #lease: Lease | undefined;
  /** When the Lease record was last seen to change. Monotonic. */
  #lastChangeMs = 0;
  #lastSeenMs = -Infinity;
  #leadsUntilMs = -Infinity;
  /** When a renewal last failed because the API server was unavailable. Monotonic. */
  #lastUnavailableMs = -Infinity;
  #wake: () => void = () => undefined;
  /** Reason that was last logged for each operation, so that each episode is logged once. */
  readonly #loggedReasons = new Map<Operation, string>();

  /** @throws RangeError if the lease duration, renew deadline and retry period do not fit together. */
  constructor(options: LeaderElectorOptions) {
    const { leaseDurationMs = 15_000, renewDeadlineMs = 10_000, retryPeriodMs = 2_000 } = options;
    if (!(leaseDurationMs > renewDeadlineMs && renewDeadlineMs > JITTER_FACTOR * retryPeriodMs)) {
      throw new RangeError(
        `Leader election: the lease duration (${leaseDurationMs} ms) must be longer than the renew deadline ` +
          `(${renewDeadlineMs} ms), which must be longer than ${JITTER_FACTOR} times the retry period ` +
          `(${retryPeriodMs} ms).`,
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
    this.#keepsLeadershipWhileUnreachable = options.keepsLeadershipWhileUnreachable ?? false;
    this.#noteAnnotation = options.noteAnnotation;
    this.#metrics = options.metrics;
  }

  /** False once the renew deadline has passed, even if timers fire late. */
  get isLeader(): boolean {
    return this.#clock.monotonicMs() < this.#leadsUntilMs;
  }

  /** Holder of the Lease when it was last seen. */
  get leader(): string | undefined {
    const holder = this.#lease?.spec?.holderIdentity;
    return holder === '' ? undefined : holder;
  }

  /**
   * Acquires the Lease, then calls `task`. If leadership is lost, starts over. Resolves when `signal` has aborted or
   * `task` resolves without an abort. The Lease is renewed until `task` settles, then released.
   *
   * @param task its signal aborts with the reason of `signal`, or with a `LeadershipLostError`. The task must then stop
   *   and settle. Rejecting with the abort reason counts as resolving. The task gets the previous leader's note if that
   *   leader shut down cleanly, and may resolve with a note for the next leader.
   * @throws what `task` throws, after the release.
   */
  async run(task: LeaderTask, signal: AbortSignal): Promise<void> {
    this.#metrics?.leading(false);
    try {
      while (await this.#acquire(signal)) {
        const isLost = await this.#runTask(task, signal);
        if (!isLost) return;
      }
    } finally {
      await this.#release();
    }
  }

  /** @returns true once the Lease is acquired, false if `signal` has aborted. */
  async #acquire(signal: AbortSignal): Promise<boolean> {
    const watchController = new AbortController();
    let watching: Promise<void> | undefined;
    try {
      while (!signal.aborted) {
        const woken = new AbortController();
        // Set first, because the watch may report a release during the attempt.
        this.#wake = () => woken.abort();
        if (await this.#tryToAcquire(signal)) return true;
        // A closed watch is reopened only here, so at most once per attempt.
        watching ??= this.#watch(watchController.signal).finally(() => {
          watching = undefined;
        });
        await this.#pause(woken, signal);
      }
      return false;
    } finally {
      watchController.abort();
      await watching;
    }
  }

  async #tryToAcquire(signal: AbortSignal): Promise<boolean> {
    using attempt = this.#attemptDeadline(signal);
    try {
      const lease = await this.#read(attempt.signal);
      if (this.#canAcquire()) await this.#write(lease, attempt.signal);
      this.#logRecovery('update');
    } catch (error) {
      // Another process may have been faster.
      if (!signal.aborted && !hasReason(error, 'Conflict', 'AlreadyExists'))
        this.#logFailure('update', error);
    }
    return this.isLeader;
  }

  /** Sleeps until the next attempt is due or `woken` aborts. */
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

  /** Watches the Lease. Resolves when the watch closes or fails. */
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
        this.#logRecovery('watch');
        const { type, object } = event as WatchEvent;
        if (type === 'ERROR') return;
        if (this.#observe(object) && this.#canAcquire()) this.#wake();
      }
    } catch (error) {
      if (!deadline.signal.aborted) this.#logFailure('watch', error);
    }
  }

  /** @returns true if leadership was lost and should be acquired again. */
  async #runTask(task: LeaderTask, signal: AbortSignal): Promise<boolean> {
    this.#log.info(this.#logFields(), 'became the leader');
    this.#metrics?.leading(true);
    const leadership = new AbortController();
    const renewal = new AbortController();
    const onAbort = (): void => leadership.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    const renewing = this.#keepRenewing(leadership, renewal.signal);
    try {
      this.#handoverNote = (await task(leadership.signal, this.#receivedNote)) ?? undefined;
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

  /** Renews the Lease until `taskEnded` aborts. If the Lease is lost, aborts `leadership`. */
  async #keepRenewing(leadership: AbortController, taskEnded: AbortSignal): Promise<void> {
    try {
      for (;;) {
        const isRenewed = await this.#renewBeforeDeadline(taskEnded);
        if (!isRenewed) await this.#renewAfterOutage(taskEnded);
      }
    } catch (error) {
      if (taskEnded.aborted) return;
      this.#stepDown();
      this.#log.warn({ ...this.#logFields(), leader: this.leader }, 'lost leadership');
      leadership.abort(error);
    }
  }

  /**
   * @returns false if the renew deadline has passed.
   * @throws {LeadershipLostError} if another process holds the Lease. @throws the reason of `taskEnded`.
   */
  async #renewBeforeDeadline(taskEnded: AbortSignal): Promise<boolean> {
    using deadline = this.#clock.deadline(this.#leadsUntilMs - this.#clock.monotonicMs(), taskEnded);
    try {
      do {
        await this.#clock.sleep(this.#retryPeriodMs, deadline.signal);
      } while ((await this.#tryToRenew(deadline.signal)) !== 'renewed');
      return true;
    } catch (error) {
      if (deadline.signal.aborted && !taskEnded.aborted) return false;
      throw error;
    }
  }

  /**
   * Retries the renewal after the deadline while the API server is unavailable. Resolves when the Lease is renewed.
   * @throws {LeadershipLostError} if the renewal is refused or another process holds the Lease.
   * @throws the reason of `taskEnded`.
   */
  async #renewAfterOutage(taskEnded: AbortSignal): Promise<void> {
    this.#stepDown();
    const lostError = new LeadershipLostError(
      `Lease ${this.#namespace}/${this.#name} was not renewed in time, or another process holds it.`,
    );
    if (!this.#keepsLeadershipWhileUnreachable) throw lostError;
    // Try first: if this process was suspended, it has not tried to renew yet.
    for (let isLogged = false; ;) {
      const result = await this.#tryToRenew(taskEnded);
      if (result === 'renewed') break;
      // A server that is starting may refuse valid requests, so tolerate refusals for `renewDeadlineMs` after an
      // outage.
      if (this.#clock.monotonicMs() - this.#lastUnavailableMs >= this.#renewDeadlineMs) throw lostError;
      if (!isLogged)
        this.#log.warn(this.#logFields(), 'API server unavailable; still leading without the Lease');
      isLogged = true;
      await this.#clock.sleep(this.#retryPeriodMs, taskEnded);
    }
    this.#metrics?.leading(true);
    this.#log.info(this.#logFields(), 'renewed the Lease after the outage');
  }

  /** @throws {LeadershipLostError} if another process holds the Lease. @throws the reason of `signal`. */
  async #tryToRenew(signal: AbortSignal): Promise<RenewResult> {
    using attempt = this.#attemptDeadline(signal);
    try {
      await this.#renew(attempt.signal);
      this.#logRecovery('update');
      return 'renewed';
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof LeadershipLostError) throw error;
      this.#logFailure('update', error);
      if (!isUnavailable(error)) return 'refused';
      this.#lastUnavailableMs = this.#clock.monotonicMs();
      return 'unavailable';
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

  /** Releases the Lease, so that standbys need not wait until it expires. Never throws. */
  async #release(): Promise<void> {
    if (this.leader !== this.#identity) return;
    using deadline = this.#clock.deadline(RELEASE_TIMEOUT_MS);
    try {
      // An aborted renewal may still have changed the Lease.
      const lease = await this.#read(deadline.signal);
      if (lease === undefined || this.leader !== this.#identity) return;
      const now = microTime(this.#clock.now());
      const spec = { holderIdentity: '', leaseDurationSeconds: 1, acquireTime: now, renewTime: now };
      const released = { ...this.#withNote(lease, this.#handoverNote), spec: { ...lease.spec, ...spec } };
      this.#observe(await replaceObject(this.#client, LEASE, released, deadline.signal));
      this.#log.info(this.#logFields(), 'released the Lease');
    } catch (error) {
      this.#log.warn(
        { ...this.#logFields(), ...errorFields(error) },
        'could not release the Lease; standbys must wait until it expires',
      );
    }
  }

  #stepDown(): void {
    if (this.#leadsUntilMs === -Infinity) return;
    this.#leadsUntilMs = -Infinity;
    this.#metrics?.leading(false);
  }

  /** Time limit for one attempt: half the renew deadline, which leaves time for a second attempt. */
  #attemptDeadline(signal: AbortSignal): Deadline {
    return this.#clock.deadline(this.#renewDeadlineMs / 2, signal);
  }

  #canAcquire(): boolean {
    const { leader } = this;
    return leader === undefined || leader === this.#identity || this.#expiresInMs() <= 0;
  }

  #expiresInMs(): number {
    const durationMs = (this.#lease?.spec?.leaseDurationSeconds ?? 0) * 1_000;
    return this.#lastChangeMs + durationMs - this.#clock.monotonicMs();
  }

  /** @returns undefined if the Lease does not exist. */
  async #read(signal: AbortSignal): Promise<Lease | undefined> {
    try {
      const name = { namespace: this.#namespace, name: this.#name };
      const lease = await getObject<Lease>(this.#client, LEASE, name, signal);
      this.#observe(lease);
      return lease;
    } catch (error) {
      if (hasReason(error, 'NotFound')) return undefined;
      throw error;
    }
  }

  /** Acquires or renews the Lease. Fails with `Conflict` if the Lease has changed since it was read. */
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
      this.#receivedNote = this.#noteIn(lease);
      this.#handoverNote = undefined;
    }
    this.#observe(written);
    this.#leadsUntilMs = startMs + this.#renewDeadlineMs;
  }

  #noteIn(lease: Lease | undefined): string | undefined {
    return this.#noteAnnotation === undefined
      ? undefined
      : lease?.metadata.annotations?.[this.#noteAnnotation];
  }

  /** Replaces the note in the annotations of the Lease, or removes it if `note` is undefined. */
  #withNote(lease: Lease, note?: string): Lease {
    if (this.#noteAnnotation === undefined) return lease;
    const { [this.#noteAnnotation]: _, ...others } = lease.metadata.annotations ?? {};
    const annotations = note === undefined ? others : { ...others, [this.#noteAnnotation]: note };
    return { ...lease, metadata: { ...lease.metadata, annotations } };
  }

  /** Stores the Lease that was read or written. @returns true if its record has changed. */
  #observe(lease: Lease): boolean {
    const isChanged = !isDeepStrictEqual(lease.spec, this.#lease?.spec);
    const previousLeader = this.leader;
    const nowMs = this.#clock.monotonicMs();
    // After an outage, a standby must give the leader time to renew.
    const hadOutage =
      this.#keepsLeadershipWhileUnreachable && nowMs - this.#lastSeenMs > this.#renewDeadlineMs;
    this.#lease = lease;
    this.#lastSeenMs = nowMs;
    if (isChanged || hadOutage) this.#lastChangeMs = nowMs;
    const { leader } = this;
    if (leader !== undefined && leader !== previousLeader && leader !== this.#identity)
      this.#log.info({ ...this.#logFields(), leader }, 'new leader elected');
    return isChanged;
  }

  #logFields(): object {
    return { lease: `${this.#namespace}/${this.#name}`, identity: this.#identity };
  }

  #logFailure(operation: Operation, error: unknown): void {
    const fields = errorFields(error);
    if (this.#loggedReasons.get(operation) === fields.reason) return;
    this.#loggedReasons.set(operation, fields.reason);
    this.#log.warn({ ...this.#logFields(), ...fields }, FAILURE_MESSAGES[operation]);
  }

  #logRecovery(operation: Operation): void {
    if (this.#loggedReasons.delete(operation)) this.#log.info(this.#logFields(), 'Lease reachable again');
  }
}

const FAILURE_MESSAGES = {
  update: 'reading or writing the Lease failed',
  watch: 'watching the Lease failed; polling instead',
} as const;
type Operation = keyof typeof FAILURE_MESSAGES;
