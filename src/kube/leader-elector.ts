import type { Clock } from '../clock/clock.ts';
import type { Deadline } from '../clock/deadline.ts';
import { EpisodeLog } from './episode-log.ts';
import { errorFields } from './error-fields.ts';
import { hasReason, type KubeClient, type KubeLogger } from './kube-client.ts';
import { LeaseRecord } from './lease-record.ts';
import {
  heldSpec,
  holderOf,
  type Lease,
  LEASE,
  type LeaseSpec,
  releasedSpec,
  transitionsOf,
  withAnnotation,
} from './lease.ts';
import { isUnreachable } from './outage-backoff.ts';
import { createObject, getObject, replaceObject } from './resources.ts';
import { watchObjects } from './watch.ts';

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
   * If true, a leader whose renewals get no answer (no response or 5xx) keeps its task running past the renew deadline
   * until it learns whether it still holds the Lease. During this time, {@link LeaderElector.isLeader} is false. A 429
   * is an answer: the server is up, so a standby may acquire the Lease.
   *
   * During an outage, no standby can acquire the Lease. After the outage, the standbys give the leader time to renew.
   * If only the leader is cut off, a standby takes over, and both run their tasks until the old leader reaches the
   * server again. All processes that share a Lease must use the same value. Default false: the leader stops at the
   * deadline, as in client-go.
   */
  readonly keepsLeadershipWhileUnreachable?: boolean;
  /** Lease annotation in which a leader that shuts down cleanly leaves a note for the next leader. Default: no note. */
  readonly noteAnnotation?: string;
  /** Time limit for releasing the Lease, read when the release starts. Default 5,000. */
  readonly releaseTimeoutMs?: () => number;
  readonly metrics?: LeaderMetrics | undefined;
}

/** One process's time as the leader. */
export interface Term {
  /** `leaseTransitions` of the Lease. Each term of a Lease has a different number, higher than those before. */
  readonly number: number;
  /** Note from the previous leader, if that leader shut down cleanly. */
  readonly note: string | undefined;
}

/** Work that only the leader does. See {@link LeaderElector.run}. */
export type LeaderTask = (signal: AbortSignal, term: Term) => Promise<string | void>;

export interface LeaderMetrics {
  /** Called when leadership changes. `isLeading` is also false while a leader keeps running without the Lease. */
  leading(isLeading: boolean): void;
}

/** Abort reason when leadership was lost rather than given up. */
export class LeadershipLostError extends Error {
  override readonly name = 'LeadershipLostError';
  readonly reason = 'LeadershipLost';
}

/** Result of one renewal attempt. */
type RenewResult = 'renewed' | 'refused' | 'unreachable';

interface TaskOutcome {
  /** True if leadership was lost and should be acquired again. */
  readonly isLost: boolean;
  /** Note for the next leader. */
  readonly note: string | undefined;
}

/** The delay between attempts is 1 to 2.2 retry periods. Source: client-go, leaderelection.JitterFactor. */
const JITTER_FACTOR = 1.2;
const RELEASE_TIMEOUT_MS = 5_000;
const WATCH_SECONDS = 300;
/**
 * Time limit for one request, as a share of the attempt's. The client then reports a 429 that it has retried, before the
 * attempt ends as if the server had not answered.
 */
const REQUEST_SHARE = 0.8;

/**
 * Leader election with a Lease, following the rules of client-go. At most one process leads: the holder of the Lease. A
 * leader stops before a standby can take over, because the renew deadline is shorter than the lease duration and starts
 * when the renewal request is sent.
 *
 * Unlike client-go, a standby also watches the Lease and takes over as soon as it is released. If the Lease is deleted,
 * a standby that has seen it still waits until it would have expired.
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
  readonly #releaseTimeoutMs: () => number;
  readonly #metrics: LeaderMetrics | undefined;
  readonly #record: LeaseRecord;
  readonly #updates: EpisodeLog;
  readonly #watches: EpisodeLog;
  /** Renew deadline. Monotonic. */
  #leadsUntilMs = -Infinity;
  /** When a renewal last got no answer. Monotonic. */
  #lastUnreachableMs = -Infinity;
  #wake: () => void = () => undefined;

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
    this.#client = urgentClient(options.client, (renewDeadlineMs / 2) * REQUEST_SHARE);
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
    this.#releaseTimeoutMs = options.releaseTimeoutMs ?? (() => RELEASE_TIMEOUT_MS);
    this.#metrics = options.metrics;
    // After an outage, a standby must give the leader time to renew.
    this.#record = new LeaseRecord(
      options.clock,
      this.#keepsLeadershipWhileUnreachable ? renewDeadlineMs : Infinity,
    );
    this.#updates = new EpisodeLog(options.log, this.#logFields(), {
      failed: 'reading or writing the Lease failed',
      recovered: 'Lease reachable again',
    });
    this.#watches = new EpisodeLog(options.log, this.#logFields(), {
      failed: 'watching the Lease failed; polling instead',
      recovered: 'Lease reachable again',
    });
  }

  /** False once the renew deadline has passed, even if timers fire late. */
  get isLeader(): boolean {
    return this.leadsForMs > 0;
  }

  /** Time until the renew deadline. 0 if this process is not the leader. */
  get leadsForMs(): number {
    return Math.max(0, this.#leadsUntilMs - this.#clock.monotonicMs());
  }

  /** Holder of the Lease when it was last seen. */
  get leader(): string | undefined {
    return this.#record.holder;
  }

  /**
   * Acquires the Lease, then calls `task`. If leadership is lost, starts over. Resolves when `signal` has aborted or
   * `task` resolves without an abort. The Lease is renewed until `task` settles, then released.
   *
   * @param task its signal aborts with the reason of `signal`, or with a `LeadershipLostError`. The task must then stop
   *   and settle. Rejecting with the abort reason counts as resolving. The task may resolve with a note for the next
   *   leader.
   * @throws what `task` throws, after the release.
   */
  async run(task: LeaderTask, signal: AbortSignal): Promise<void> {
    this.#metrics?.leading(false);
    let note: string | undefined;
    try {
      for (;;) {
        const term = await this.#acquire(signal);
        if (term === undefined) return;
        const outcome = await this.#runTask(task, term, signal);
        if (outcome.isLost) continue;
        ({ note } = outcome);
        return;
      }
    } finally {
      await this.#release(note);
    }
  }

  /** @returns undefined if `signal` has aborted. */
  async #acquire(signal: AbortSignal): Promise<Term | undefined> {
    const watchController = new AbortController();
    let watching: Promise<void> | undefined;
    try {
      while (!signal.aborted) {
        const woken = new AbortController();
        // Set first, because the watch may report a release during the attempt.
        this.#wake = () => woken.abort();
        const term = await this.#tryToAcquire(signal);
        if (term !== undefined) return term;
        // A closed watch is reopened only here, so at most once per attempt.
        watching ??= this.#watch(watchController.signal).finally(() => {
          watching = undefined;
        });
        await this.#pause(woken, signal);
      }
      return undefined;
    } finally {
      watchController.abort();
      await watching;
    }
  }

  async #tryToAcquire(signal: AbortSignal): Promise<Term | undefined> {
    using attempt = this.#attemptDeadline(signal);
    let term: Term | undefined;
    try {
      const lease = await this.#read(attempt.signal);
      if (this.#record.canBeAcquiredBy(this.#identity)) {
        term = this.#nextTerm(lease);
        await this.#write(lease, term.number, attempt.signal);
      }
      this.#updates.succeeded();
    } catch (error) {
      // Another process may have been faster.
      if (!signal.aborted && !hasReason(error, 'Conflict', 'AlreadyExists')) this.#updates.failed(error);
    }
    return this.isLeader ? term : undefined;
  }

  #nextTerm(lease: Lease | undefined): Term {
    const note =
      this.#noteAnnotation === undefined ? undefined : lease?.metadata.annotations?.[this.#noteAnnotation];
    // If the Lease was deleted, the last record still counts.
    const last = lease ?? this.#record.lease;
    if (last === undefined) return { number: 0, note };
    const isOwn = holderOf(lease) === this.#identity;
    return { number: transitionsOf(last) + (isOwn ? 0 : 1), note };
  }

  /** Sleeps until the next attempt is due or `woken` aborts. */
  async #pause(woken: AbortController, signal: AbortSignal): Promise<void> {
    const periodMs = this.#retryPeriodMs * (1 + JITTER_FACTOR * this.#random());
    const { expiresInMs } = this.#record;
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
    const watch = watchObjects<Lease>(
      {
        client: this.#client,
        clock: this.#clock,
        resource: LEASE,
        namespace: this.#namespace,
        fieldSelector: `metadata.name=${this.#name}`,
        resourceVersion: this.#record.lease?.metadata.resourceVersion,
        timeoutSeconds: WATCH_SECONDS,
      },
      signal,
    );
    try {
      for await (const { type, object } of watch) {
        this.#watches.succeeded();
        if (type === 'BOOKMARK') continue;
        if (this.#observe(object) && this.#record.canBeAcquiredBy(this.#identity)) this.#wake();
      }
    } catch (error) {
      if (!signal.aborted && !hasReason(error, 'Expired', 'Gone')) this.#watches.failed(error);
    }
  }

  async #runTask(task: LeaderTask, term: Term, signal: AbortSignal): Promise<TaskOutcome> {
    this.#log.info(this.#logFields(), 'became the leader');
    this.#metrics?.leading(true);
    const leadership = new AbortController();
    const renewal = new AbortController();
    const onAbort = (): void => leadership.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    const renewing = this.#keepRenewing(term, leadership, renewal.signal);
    let note: string | undefined;
    try {
      note = (await task(leadership.signal, term)) ?? undefined;
    } catch (error) {
      if (!leadership.signal.aborted || error !== leadership.signal.reason) throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
      renewal.abort();
      await renewing;
      this.#stepDown();
    }
    return { isLost: leadership.signal.reason instanceof LeadershipLostError && !signal.aborted, note };
  }

  /** Renews the Lease until `taskEnded` aborts. If the Lease is lost, aborts `leadership`. */
  async #keepRenewing(term: Term, leadership: AbortController, taskEnded: AbortSignal): Promise<void> {
    try {
      for (;;) {
        const isRenewed = await this.#renewBeforeDeadline(term, taskEnded);
        if (!isRenewed) await this.#renewAfterOutage(term, taskEnded);
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
   * @throws {LeadershipLostError} if another process led since. @throws the reason of `taskEnded`.
   */
  async #renewBeforeDeadline(term: Term, taskEnded: AbortSignal): Promise<boolean> {
    using deadline = this.#clock.deadline(this.leadsForMs, taskEnded);
    try {
      do {
        await this.#clock.sleep(this.#retryPeriodMs, deadline.signal);
      } while ((await this.#tryToRenew(term, deadline.signal)) !== 'renewed');
      return true;
    } catch (error) {
      if (deadline.signal.aborted && !taskEnded.aborted) return false;
      throw error;
    }
  }

  /**
   * Retries the renewal after the deadline while the API server does not answer. Resolves when the Lease is renewed.
   * @throws {LeadershipLostError} if the renewal is refused or another process led since.
   * @throws the reason of `taskEnded`.
   */
  async #renewAfterOutage(term: Term, taskEnded: AbortSignal): Promise<void> {
    this.#stepDown();
    const lostError = new LeadershipLostError(
      `Lease ${this.#namespace}/${this.#name} was not renewed in time, or another process holds it.`,
    );
    if (!this.#keepsLeadershipWhileUnreachable) throw lostError;
    // Try first: if this process was suspended, it has not tried to renew yet.
    for (let isLogged = false; ;) {
      const result = await this.#tryToRenew(term, taskEnded);
      if (result === 'renewed') break;
      // A server that is starting may refuse valid requests, so tolerate refusals for `renewDeadlineMs` after an
      // outage.
      if (this.#clock.monotonicMs() - this.#lastUnreachableMs >= this.#renewDeadlineMs) throw lostError;
      if (!isLogged)
        this.#log.warn(this.#logFields(), 'API server unavailable; still leading without the Lease');
      isLogged = true;
      await this.#clock.sleep(this.#retryPeriodMs, taskEnded);
    }
    this.#metrics?.leading(true);
    this.#log.info(this.#logFields(), 'renewed the Lease after the outage');
  }

  /** @throws {LeadershipLostError} if another process led since. @throws the reason of `signal`. */
  async #tryToRenew(term: Term, signal: AbortSignal): Promise<RenewResult> {
    using attempt = this.#attemptDeadline(signal);
    try {
      await this.#renew(term, attempt.signal);
      this.#updates.succeeded();
      return 'renewed';
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof LeadershipLostError) throw error;
      this.#updates.failed(error);
      if (!isUnreachable(error)) return 'refused';
      this.#lastUnreachableMs = this.#clock.monotonicMs();
      return 'unreachable';
    }
  }

  async #renew({ number }: Term, signal: AbortSignal): Promise<void> {
    try {
      await this.#write(this.#record.lease, number, signal);
    } catch (error) {
      if (!hasReason(error, 'Conflict', 'NotFound')) throw error;
      const lease = await this.#read(signal);
      const isHeld = holderOf(lease) === this.#identity;
      // If nobody holds the Lease, another process may have led and released it.
      const hasBeenLost =
        lease !== undefined && !isHeld && (holderOf(lease) !== undefined || transitionsOf(lease) !== number);
      if (hasBeenLost) throw new LeadershipLostError('Another process holds or held the Lease.');
      await this.#write(lease, number, signal);
    }
  }

  /** Releases the Lease, so that standbys need not wait until it expires. Never throws. */
  async #release(note: string | undefined): Promise<void> {
    if (this.leader !== this.#identity) return;
    using deadline = this.#clock.deadline(this.#releaseTimeoutMs());
    try {
      // An aborted renewal may still have changed the Lease.
      const lease = await this.#read(deadline.signal);
      if (lease === undefined || this.leader !== this.#identity) return;
      const spec = releasedSpec(lease, this.#clock.now());
      const released = { ...this.#withNote(lease, note), spec };
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
  async #write(lease: Lease | undefined, transitions: number, signal: AbortSignal): Promise<void> {
    const startMs = this.#clock.monotonicMs();
    const spec: LeaseSpec = heldSpec(lease, {
      identity: this.#identity,
      durationMs: this.#leaseDurationMs,
      transitions,
      nowMs: this.#clock.now(),
    });
    const metadata = { namespace: this.#namespace, name: this.#name };
    const written =
      lease === undefined
        ? await createObject<Lease>(this.#client, LEASE, { metadata, spec }, signal)
        : await replaceObject<Lease>(this.#client, LEASE, { ...this.#withNote(lease), spec }, signal);
    this.#observe(written);
    this.#leadsUntilMs = startMs + this.#renewDeadlineMs;
  }

  /** Replaces the note in the annotations of the Lease, or removes it if `note` is undefined. */
  #withNote(lease: Lease, note?: string): Lease {
    return this.#noteAnnotation === undefined ? lease : withAnnotation(lease, this.#noteAnnotation, note);
  }

  /** Stores the Lease that was read or written. @returns true if its record has changed. */
  #observe(lease: Lease): boolean {
    const previousLeader = this.leader;
    const isChanged = this.#record.observe(lease);
    const { leader } = this;
    if (leader !== undefined && leader !== previousLeader && leader !== this.#identity)
      this.#log.info({ ...this.#logFields(), leader }, 'new leader elected');
    return isChanged;
  }

  #logFields(): object {
    return { lease: `${this.#namespace}/${this.#name}`, identity: this.#identity };
  }
}

/** Requests about the Lease must not wait for other requests. */
function urgentClient(client: KubeClient, timeoutMs: number): KubeClient {
  return {
    request: (request, signal) => client.request({ ...request, timeoutMs, isUrgent: true }, signal),
    stream: (request, signal) => client.stream(request, signal),
    close: () => client.close(),
  };
}
