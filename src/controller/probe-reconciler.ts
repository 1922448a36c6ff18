import { check } from '../api/check.ts';
import { type ProbePlan, planProbe } from '../api/plan.ts';
import { type ProbeStatus, readStatus, runRequestOf } from '../api/probe-status.ts';
import { formatProblem } from '../api/problem.ts';
import { API_VERSION, KIND, STORAGE_PROBES, StorageProbe } from '../api/storage-probe.ts';
import type { Clock } from '../clock/clock.ts';
import type { Reconciler, ReconcileResult } from '../kube/controller.ts';
import { hasReason, type KubeClient } from '../kube/kube-client.ts';
import type { KubeObject, ObjectReference } from '../kube/objects.ts';
import { OutageBackoff } from '../kube/outage-backoff.ts';
import { applyStatus } from '../kube/resources.ts';
import { timetableFor } from '../scheduler/next-due.ts';
import type { Scheduler } from '../scheduler/scheduler.ts';
import type { TargetRef, TargetState } from '../telemetry/target-series.ts';
import type { HeartbeatPacer } from './heartbeat-pacer.ts';
import type { LeftoverCleaner } from './leftover-cleaner.ts';
import { probeKey, type ProbeEntries, type ProbeEntry, runKey, type TargetEntry } from './probe-entries.ts';
import { eventsOf, type ProbeEvent } from './probe-events.ts';
import type { ProbeRunner } from './probe-runner.ts';
import { invalidStatus, isSignificantChange, statusOf } from './status.ts';
import { emptyRecord, healthOf, recordFrom, type TargetRecord } from './target-record.ts';

/** A StorageProbe as stored in the API server, not yet validated. */
export interface ProbeObject extends KubeObject {
  readonly spec?: unknown;
  readonly status?: unknown;
}

export interface ProbeReconcilerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Random number in [0, 1), for jitter. */
  readonly random: () => number;
  readonly entries: ProbeEntries;
  /** Returns the cached resource. */
  readonly probeAt: (key: string) => ProbeObject | undefined;
  readonly scheduler: Scheduler;
  readonly runner: Pick<ProbeRunner, 'resolve'>;
  readonly leftoverCleaner: Pick<LeftoverCleaner, 'cleanUpAfter'>;
  readonly recordEvent: (event: ProbeEvent & { readonly regarding: ObjectReference }) => void;
  readonly setTarget: (ref: TargetRef, state: TargetState) => void;
  /** Removes the telemetry of a target. */
  readonly forgetTarget: (ref: TargetRef) => void;
  /** Returns true if this prober may write. */
  readonly isLeader: () => boolean;
  /** Minimum time between two status writes in which only numbers have changed. */
  readonly heartbeatMs: number;
  readonly heartbeatPacer: Pick<HeartbeatPacer, 'reserve' | 'maxStalenessMs'>;
  /** Wall time up to which the previous leader started all due runs, if it stopped cleanly. */
  readonly startedUntilMs?: number | undefined;
}

const FIELD_MANAGER = 'storage-probe';
/** Delay after a write conflict, to let the watch deliver the change. */
const CONFLICT_RETRY_MS = 200;
/** How long a prober that failed to renew its Lease waits before it checks again whether it may write. */
const LEADERSHIP_RETRY_MS = 5_000;
/** First delay before a missing or invalid Secret is read again. Doubles up to the maximum. */
const FIRST_SECRET_RETRY_MS = 1_000;
const MAX_SECRET_RETRY_MS = 15_000;
/** Maximum delay before a status is written once the API server has recovered. */
const MAX_BACKOFF_MS = 5_000;

/** Brings the scheduled runs, the status, the Events and the metrics in line with one StorageProbe. */
export class ProbeReconciler implements Reconciler {
  readonly #deps: ProbeReconcilerDeps;
  readonly #outage: OutageBackoff;

  constructor(deps: ProbeReconcilerDeps) {
    this.#deps = deps;
    this.#outage = new OutageBackoff({ ...deps, maxMs: MAX_BACKOFF_MS });
  }

  async reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { entries, probeAt } = this.#deps;
    const object = probeAt(key);
    const isDeleted = object === undefined || object.metadata.deletionTimestamp !== undefined;
    const existing = entries.get(key);
    if (existing !== undefined && (isDeleted || existing.uid !== object.metadata.uid))
      this.#removeEntry(existing);
    if (isDeleted) return;

    const entry = entries.get(key) ?? this.#addEntry(object);
    const { generation = 0 } = object.metadata;
    if (entry.generation !== generation) await this.#applySpec(entry, object, generation, signal);
    else await this.#retrySecrets(entry, signal);
    this.#runIfRequested(entry, object);
    return await this.#reportStatus(entry, signal);
  }

  /** Writes the status now if a change is still waiting for the heartbeat. */
  async flush(entry: ProbeEntry, signal: AbortSignal): Promise<void> {
    const status = this.#statusOf(entry);
    if (this.#deps.isLeader() && hasTargetChanges(entry.status, status))
      await this.#write(entry, status, signal);
  }

  /** Removes the telemetry of a probe that another prober takes over. */
  forget(entry: ProbeEntry): void {
    for (const target of entry.targets.values()) this.#deps.forgetTarget(refOf(entry, target));
  }

  #addEntry({ metadata, status: raw }: ProbeObject): ProbeEntry {
    const { clock, entries, heartbeatMs, random } = this.#deps;
    const status = readStatus(raw) ?? {};
    const entry: ProbeEntry = {
      uid: metadata.uid ?? '',
      namespace: metadata.namespace ?? '',
      name: metadata.name,
      generation: -1,
      targets: new Map(),
      ...(status.lastRunRequest !== undefined && { lastRunRequest: status.lastRunRequest }),
      status,
      // Spreads the heartbeats, so that a restart does not write a thousand statuses at once.
      lastWriteMs: clock.monotonicMs() - random() * heartbeatMs,
      needsPromptStatus: false,
      conditions: status.conditions ?? [],
      failedSecretReads: 0,
    };
    entries.add(entry);
    return entry;
  }

  #removeEntry(entry: ProbeEntry): void {
    this.#deps.entries.delete(entry);
    for (const target of entry.targets.values()) this.#removeTarget(entry, entry.plan, target);
  }

  #removeTarget(entry: ProbeEntry, plan: ProbePlan | undefined, target: TargetEntry): void {
    const { forgetTarget, leftoverCleaner, scheduler } = this.#deps;
    const lastRun = scheduler.remove(runKey(entry, target.plan.name));
    leftoverCleaner.cleanUpAfter(lastRun, { entry, plan, target });
    forgetTarget(refOf(entry, target));
  }

  async #applySpec(
    entry: ProbeEntry,
    object: ProbeObject,
    generation: number,
    signal: AbortSignal,
  ): Promise<void> {
    const { plan: previousPlan, targets: previousTargets } = entry;
    const isEdited = previousPlan !== undefined || entry.status.observedGeneration !== generation;
    entry.generation = generation;
    entry.targets = this.#loadSpec(entry, object);
    for (const [name, target] of previousTargets) {
      // Aborts a run in progress, which still uses the old spec.
      if (entry.targets.has(name)) void this.#deps.scheduler.remove(runKey(entry, name));
      else this.#removeTarget(entry, previousPlan, target);
    }
    const targets = [...entry.targets.values()];
    if (isEdited || !isReady(entry.status)) await this.#resolve(entry, targets, signal);
    for (const target of targets) this.#schedule(entry, target, isEdited);
  }

  /** Returns the targets of the spec with their known state. Sets the plan, or the error if the spec is invalid. */
  #loadSpec(entry: ProbeEntry, object: ProbeObject): Map<string, TargetEntry> {
    // Items of a list response have no apiVersion or kind.
    const checked = check(StorageProbe, { ...object, apiVersion: API_VERSION, kind: KIND });
    if ('problems' in checked) {
      delete entry.plan;
      entry.specError = checked.problems.map(formatProblem).join('; ');
      return new Map();
    }
    delete entry.specError;
    entry.plan = planProbe(checked.value);
    const { latestMs, nextMs } = timetableFor(entry.plan.schedule, entry.uid)(this.#deps.clock.now());
    if (Number.isFinite(nextMs - latestMs)) entry.periodMs = nextMs - latestMs;
    else delete entry.periodMs;
    const statuses = new Map(entry.status.targets?.map((status) => [status.name, status]));
    return new Map(
      entry.plan.targets.map((plan): [string, TargetEntry] => {
        const existing = entry.targets.get(plan.name);
        if (existing !== undefined) return [plan.name, { ...existing, plan }];
        const status = statuses.get(plan.name);
        const record = status === undefined ? emptyRecord(plan.name) : recordFrom(status);
        return [plan.name, { plan, record, isClean: status?.lastRun === undefined }];
      }),
    );
  }

  /** Reads missing or invalid Secrets again, and starts a run of each target whose Secrets are now valid. */
  async #retrySecrets(entry: ProbeEntry, signal: AbortSignal): Promise<void> {
    const blocked = [...entry.targets.values()].filter(({ obstacle }) => obstacle !== undefined);
    await this.#resolve(entry, blocked, signal);
    for (const target of blocked) {
      if (target.obstacle === undefined) this.#deps.scheduler.runNow(runKey(entry, target.plan.name));
    }
  }

  async #resolve(entry: ProbeEntry, targets: readonly TargetEntry[], signal: AbortSignal): Promise<void> {
    const { runner } = this.#deps;
    await Promise.all(targets.map((target) => runner.resolve(entry, target, signal)));
    const hasObstacle = targets.some(({ obstacle }) => obstacle !== undefined);
    entry.failedSecretReads = hasObstacle ? entry.failedSecretReads + 1 : 0;
  }

  #schedule({ uid, namespace, plan }: ProbeEntry, target: TargetEntry, startsAtOnce: boolean): void {
    if (plan === undefined) return;
    const { lastRun } = target.record.status;
    this.#deps.scheduler.set({
      key: runKey({ uid }, target.plan.name),
      group: namespace,
      schedule: plan.schedule,
      seed: uid,
      suspended: plan.suspend,
      startsAtOnce,
      lastStartStalenessMs: this.#deps.heartbeatPacer.maxStalenessMs,
      startedUntilMs: this.#deps.startedUntilMs,
      ...(lastRun !== undefined && { lastStartMs: Date.parse(lastRun.startTime) }),
      ...(plan.startingDeadlineMs !== undefined && { startingDeadlineMs: plan.startingDeadlineMs }),
    });
  }

  #runIfRequested(entry: ProbeEntry, { metadata }: ProbeObject): void {
    const request = runRequestOf(metadata.annotations);
    if (request === undefined || request === entry.lastRunRequest) return;
    entry.lastRunRequest = request;
    for (const name of entry.targets.keys()) this.#deps.scheduler.runNow(runKey(entry, name));
  }

  async #reportStatus(entry: ProbeEntry, signal: AbortSignal): Promise<ReconcileResult> {
    const { isLeader } = this.#deps;
    const status = this.#statusOf(entry);
    this.#publish(entry, status);
    const isChanged = hasTargetChanges(entry.status, status);
    const isUrgent = isSignificantChange(entry.status, status) || (isChanged && entry.needsPromptStatus);
    const heartbeatInMs = isChanged && !isUrgent ? this.#heartbeatInMs(entry) : Infinity;
    const isDue = isUrgent || heartbeatInMs <= 0;
    if (isDue && !isLeader()) return { requeueAfterMs: LEADERSHIP_RETRY_MS };
    if (isDue && this.#outage.remainingMs > 0) return { requeueAfterMs: this.#outage.remainingMs };
    if (isDue && !(await this.#write(entry, status, signal))) return { requeueAfterMs: CONFLICT_RETRY_MS };

    const delays: number[] = [];
    if (isChanged && !isDue) delays.push(heartbeatInMs);
    if (entry.failedSecretReads > 0)
      delays.push(Math.min(FIRST_SECRET_RETRY_MS * 2 ** (entry.failedSecretReads - 1), MAX_SECRET_RETRY_MS));
    return delays.length === 0 ? undefined : { requeueAfterMs: Math.min(...delays) };
  }

  #heartbeatInMs(entry: ProbeEntry): number {
    const { clock, heartbeatMs, heartbeatPacer } = this.#deps;
    const reservedMs = entry.heartbeatAtMs ?? heartbeatPacer.reserve(entry.lastWriteMs);
    if (reservedMs !== undefined) entry.heartbeatAtMs = reservedMs;
    return (reservedMs ?? entry.lastWriteMs + heartbeatMs) - clock.monotonicMs();
  }

  #statusOf(entry: ProbeEntry): ProbeStatus {
    const { clock, scheduler } = this.#deps;
    const { generation, plan, conditions, lastRunRequest } = entry;
    const nowMs = clock.now();
    if (plan === undefined) {
      return invalidStatus(
        { ...entry.status, conditions: [...conditions] },
        { generation, nowMs, message: entry.specError ?? '' },
      );
    }
    const targets = [...entry.targets.values()];
    const due = targets.flatMap((target) => scheduler.nextDueMs(runKey(entry, target.plan.name)) ?? []);
    return statusOf({
      generation,
      plan,
      records: targets.map(({ record }) => record),
      obstacles: targets.flatMap(({ obstacle }) => obstacle ?? []),
      nextRunMs: due.length === 0 ? undefined : Math.min(...due),
      lastRunRequest,
      conditions,
      nowMs,
    });
  }

  /** Publishes Events and metrics, which do not depend on the status write. */
  #publish(entry: ProbeEntry, { conditions = [] }: ProbeStatus): void {
    const { recordEvent, setTarget } = this.#deps;
    const { uid, namespace, name, plan } = entry;
    const regarding = { apiVersion: API_VERSION, kind: KIND, uid, namespace, name };
    for (const event of eventsOf(entry.conditions, conditions)) recordEvent({ ...event, regarding });
    entry.conditions = conditions;
    if (plan === undefined) return;
    for (const target of entry.targets.values()) {
      setTarget(refOf(entry, target), {
        ...targetState(target.record, plan, entry.periodMs),
        nextRunMs: () => this.#nextRunMs(entry, target),
      });
    }
  }

  #nextRunMs(entry: ProbeEntry, { plan, obstacle }: TargetEntry): number | undefined {
    return obstacle === undefined ? this.#deps.scheduler.nextDueMs(runKey(entry, plan.name)) : undefined;
  }

  /** @returns false if the resource has changed or no longer exists. */
  async #write(entry: ProbeEntry, status: ProbeStatus, signal: AbortSignal): Promise<boolean> {
    const { client, clock, probeAt } = this.#deps;
    const { namespace, name } = entry;
    const seenVersion = probeAt(probeKey(entry))?.metadata.resourceVersion;
    const isCacheStale = entry.lastWrite !== undefined && entry.lastWrite.seenVersion === seenVersion;
    // A status write has no UID precondition. The version prevents a write to a new probe with the same name.
    const resourceVersion = isCacheStale ? entry.lastWrite?.version : seenVersion;
    try {
      const { metadata } = await applyStatus(
        client,
        STORAGE_PROBES,
        { metadata: { name, namespace, ...(resourceVersion !== undefined && { resourceVersion }) }, status },
        { fieldManager: FIELD_MANAGER },
        signal,
      );
      entry.lastWrite = { seenVersion, version: metadata.resourceVersion };
    } catch (error) {
      // The probe was changed, deleted or replaced by another client. The watch will deliver the change.
      if (hasReason(error, 'NotFound', 'Conflict')) return false;
      this.#outage.recordError(error);
      throw error;
    }
    entry.status = status;
    entry.lastWriteMs = clock.monotonicMs();
    delete entry.heartbeatAtMs;
    entry.needsPromptStatus = false;
    return true;
  }
}

function refOf({ namespace, name }: ProbeEntry, { plan }: TargetEntry): TargetRef {
  return { namespace, probe: name, target: plan.name };
}

function targetState(
  record: TargetRecord,
  { failureThreshold, suspend }: ProbePlan,
  periodMs: number | undefined,
): TargetState {
  const { consecutiveFailures, lastRun, lastSuccessTime } = record.status;
  const health = healthOf(record, failureThreshold);
  return {
    healthy: suspend || health === 'Unknown' ? undefined : health === 'Healthy',
    consecutiveFailures,
    scheduleIntervalMs: suspend ? undefined : periodMs,
    lastRunMs: lastRun && Date.parse(lastRun.startTime),
    lastSuccessMs: lastSuccessTime === undefined ? undefined : Date.parse(lastSuccessTime),
  };
}

function isReady({ conditions = [] }: ProbeStatus): boolean {
  return conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
}

function hasTargetChanges(before: ProbeStatus, after: ProbeStatus): boolean {
  return JSON.stringify(before.targets) !== JSON.stringify(after.targets);
}
