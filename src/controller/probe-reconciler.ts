import { check } from '../api/check.ts';
import { type ProbePlan, planProbe } from '../api/plan.ts';
import { type ProbeStatus, readStatus, runRequestOf } from '../api/probe-status.ts';
import { formatProblem } from '../api/problem.ts';
import { API_VERSION, KIND, STORAGE_PROBES, StorageProbe } from '../api/storage-probe.ts';
import type { Clock } from '../clock/clock.ts';
import type { Reconciler, ReconcileResult } from '../kube/controller.ts';
import { hasReason, type KubeClient } from '../kube/kube-client.ts';
import type { KubeObject, ObjectReference } from '../kube/objects.ts';
import { Outage } from '../kube/outage.ts';
import { applyStatus } from '../kube/resources.ts';
import { timetable } from '../scheduler/next-due.ts';
import type { Scheduler } from '../scheduler/scheduler.ts';
import type { TargetRef, TargetState } from '../telemetry/target-series.ts';
import type { Leftovers } from './leftovers.ts';
import { probeKey, type ProbeEntries, type ProbeEntry, runKey, type TargetEntry } from './probe-entries.ts';
import { eventsOf, type ProbeEvent } from './probe-events.ts';
import type { ProbeRunner } from './probe-runner.ts';
import { invalidStatus, isNews, statusOf } from './status.ts';
import { emptyRecord, healthOf, recordFrom, type TargetRecord } from './target-record.ts';

/** A StorageProbe as the API server holds it. */
export interface ProbeObject extends KubeObject {
  readonly spec?: unknown;
  readonly status?: unknown;
}

export interface ProbeReconcilerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** [0, 1) */
  readonly random: () => number;
  readonly entries: ProbeEntries;
  /** The resource as it was last seen. */
  readonly probeAt: (key: string) => ProbeObject | undefined;
  readonly scheduler: Scheduler;
  readonly runner: Pick<ProbeRunner, 'resolve'>;
  readonly leftovers: Pick<Leftovers, 'removeAfter'>;
  readonly recordEvent: (event: ProbeEvent & { readonly regarding: ObjectReference }) => void;
  readonly setTarget: (ref: TargetRef, state: TargetState) => void;
  /** Drops all that telemetry keeps of a target. */
  readonly forgetTarget: (ref: TargetRef) => void;
  /** Whether this prober may still write. */
  readonly isLeader: () => boolean;
  /** Longest age of a status in which only numbers have moved on. */
  readonly heartbeatMs: number;
  /** Wall time up to which the prober before met all due times, if it ended in good order. */
  readonly startedUntilMs?: number | undefined;
}

const FIELD_MANAGER = 'storage-probe';
/** A resource that somebody else has changed is looked at again after this. */
const WATCH_AWAITED_MS = 200;
/** Who could not renew the Lease asks again after this whether it may write. */
const LEAD_AWAITED_MS = 5_000;
/** A Secret that is not there is looked for again after this, and then at growing distances. */
const FIRST_LOOKUP_MS = 1_000;
const MAX_LOOKUP_MS = 15_000;
/** So late a status is written at most once the API server is back. */
const MAX_REST_MS = 5_000;

/** Brings what is run, and what is told of it, in line with one StorageProbe. */
export class ProbeReconciler implements Reconciler {
  readonly #deps: ProbeReconcilerDeps;
  readonly #outage: Outage;

  constructor(deps: ProbeReconcilerDeps) {
    this.#deps = deps;
    this.#outage = new Outage({ ...deps, maxMs: MAX_REST_MS });
  }

  async reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult> {
    const { entries, probeAt } = this.#deps;
    const object = probeAt(key);
    const isGone = object === undefined || object.metadata.deletionTimestamp !== undefined;
    const known = entries.get(key);
    if (known !== undefined && (isGone || known.uid !== object.metadata.uid)) this.#letGo(known);
    if (isGone) return;

    const entry = entries.get(key) ?? this.#takeUp(object);
    const { generation = 0 } = object.metadata;
    if (entry.generation !== generation) await this.#replan(entry, object, generation, signal);
    else await this.#lookAgain(entry, signal);
    this.#runIfRequested(entry, object);
    return await this.#tell(entry, signal);
  }

  /** Writes what the heartbeat still holds back. */
  async flush(entry: ProbeEntry, signal: AbortSignal): Promise<void> {
    const status = this.#statusOf(entry);
    if (this.#deps.isLeader() && isMoved(entry.status, status)) await this.#write(entry, status, signal);
  }

  /** Drops what telemetry keeps of a probe that another prober has from now on. */
  forget(entry: ProbeEntry): void {
    for (const target of entry.targets.values()) this.#deps.forgetTarget(refOf(entry, target));
  }

  #takeUp({ metadata, status: raw }: ProbeObject): ProbeEntry {
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
      // A restart is no reason to write a thousand statuses at once.
      writtenMs: clock.monotonicMs() - random() * heartbeatMs,
      isAwaited: false,
      conditions: status.conditions ?? [],
      lookups: 0,
    };
    entries.add(entry);
    return entry;
  }

  #letGo(entry: ProbeEntry): void {
    this.#deps.entries.delete(entry);
    for (const target of entry.targets.values()) this.#drop(entry, entry.plan, target);
  }

  #drop(entry: ProbeEntry, plan: ProbePlan | undefined, target: TargetEntry): void {
    const { forgetTarget, leftovers, scheduler } = this.#deps;
    const ended = scheduler.remove(runKey(entry, target.plan.name));
    leftovers.removeAfter(ended, { entry, plan, target });
    forgetTarget(refOf(entry, target));
  }

  async #replan(
    entry: ProbeEntry,
    object: ProbeObject,
    generation: number,
    signal: AbortSignal,
  ): Promise<void> {
    const { plan: planBefore, targets: before } = entry;
    const isEdited = planBefore !== undefined || entry.status.observedGeneration !== generation;
    entry.generation = generation;
    entry.targets = this.#read(entry, object);
    for (const [name, target] of before) {
      // A run under way tells of the spec as it was.
      if (entry.targets.has(name)) void this.#deps.scheduler.remove(runKey(entry, name));
      else this.#drop(entry, planBefore, target);
    }
    const targets = [...entry.targets.values()];
    if (isEdited || !wasReady(entry.status)) await this.#resolve(entry, targets, signal);
    for (const target of targets) this.#schedule(entry, target, isEdited);
  }

  /** The targets of the spec with what is known of them; sets the plan, or removes it where there is none. */
  #read(entry: ProbeEntry, object: ProbeObject): Map<string, TargetEntry> {
    // An item of a list does not say what it is.
    const checked = check(StorageProbe, { ...object, apiVersion: API_VERSION, kind: KIND });
    if ('problems' in checked) {
      delete entry.plan;
      entry.invalid = checked.problems.map(formatProblem).join('; ');
      return new Map();
    }
    delete entry.invalid;
    entry.plan = planProbe(checked.value);
    const { latestMs, nextMs } = timetable(entry.plan.schedule, entry.uid)(this.#deps.clock.now());
    if (Number.isFinite(nextMs - latestMs)) entry.periodMs = nextMs - latestMs;
    else delete entry.periodMs;
    const past = new Map(entry.status.targets?.map((status) => [status.name, status]));
    return new Map(
      entry.plan.targets.map((plan): [string, TargetEntry] => {
        const known = entry.targets.get(plan.name);
        if (known !== undefined) return [plan.name, { ...known, plan }];
        const status = past.get(plan.name);
        const record = status === undefined ? emptyRecord(plan.name) : recordFrom(status);
        return [plan.name, { plan, record, isClean: status?.lastRun === undefined }];
      }),
    );
  }

  /** Whether the Secrets that were missing are there by now. */
  async #lookAgain(entry: ProbeEntry, signal: AbortSignal): Promise<void> {
    const hindered = [...entry.targets.values()].filter(({ obstacle }) => obstacle !== undefined);
    await this.#resolve(entry, hindered, signal);
    for (const target of hindered) {
      if (target.obstacle === undefined) this.#deps.scheduler.runNow(runKey(entry, target.plan.name));
    }
  }

  async #resolve(entry: ProbeEntry, targets: readonly TargetEntry[], signal: AbortSignal): Promise<void> {
    const { runner } = this.#deps;
    await Promise.all(targets.map((target) => runner.resolve(entry, target, signal)));
    const isHindered = targets.some(({ obstacle }) => obstacle !== undefined);
    entry.lookups = isHindered ? entry.lookups + 1 : 0;
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
      lastStartSlackMs: this.#deps.heartbeatMs,
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

  async #tell(entry: ProbeEntry, signal: AbortSignal): Promise<ReconcileResult> {
    const { clock, heartbeatMs, isLeader } = this.#deps;
    const status = this.#statusOf(entry);
    this.#announce(entry, status);
    const heartbeatInMs = entry.writtenMs + heartbeatMs - clock.monotonicMs();
    const hasMoved = isMoved(entry.status, status);
    const mayWait = heartbeatInMs > 0 && !entry.isAwaited;
    const isDue = isNews(entry.status, status) || (hasMoved && !mayWait);
    if (isDue && !isLeader()) return { requeueAfterMs: LEAD_AWAITED_MS };
    if (isDue && this.#outage.restMs > 0) return { requeueAfterMs: this.#outage.restMs };
    if (isDue && !(await this.#write(entry, status, signal))) return { requeueAfterMs: WATCH_AWAITED_MS };

    const delays: number[] = [];
    if (hasMoved && !isDue) delays.push(heartbeatInMs);
    if (entry.lookups > 0) delays.push(Math.min(FIRST_LOOKUP_MS * 2 ** (entry.lookups - 1), MAX_LOOKUP_MS));
    return delays.length === 0 ? undefined : { requeueAfterMs: Math.min(...delays) };
  }

  #statusOf(entry: ProbeEntry): ProbeStatus {
    const { clock, scheduler } = this.#deps;
    const { generation, plan, conditions, lastRunRequest } = entry;
    const nowMs = clock.now();
    if (plan === undefined) {
      return invalidStatus(
        { ...entry.status, conditions: [...conditions] },
        { generation, nowMs, message: entry.invalid ?? '' },
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

  /** Events and metrics, which do not wait for the API server. */
  #announce(entry: ProbeEntry, { conditions = [] }: ProbeStatus): void {
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

  /** @returns false when the resource is not as it was seen last. */
  async #write(entry: ProbeEntry, status: ProbeStatus, signal: AbortSignal): Promise<boolean> {
    const { client, clock, probeAt } = this.#deps;
    const { namespace, name } = entry;
    const seenVersion = probeAt(probeKey(entry))?.metadata.resourceVersion;
    const isBehind = entry.written !== undefined && entry.written.seenVersion === seenVersion;
    // Without it a namesake made meanwhile would be written to: the UID is no precondition for a status.
    const resourceVersion = isBehind ? entry.written?.version : seenVersion;
    try {
      const { metadata } = await applyStatus(
        client,
        STORAGE_PROBES,
        { metadata: { name, namespace, ...(resourceVersion !== undefined && { resourceVersion }) }, status },
        { fieldManager: FIELD_MANAGER },
        signal,
      );
      entry.written = { seenVersion, version: metadata.resourceVersion };
    } catch (error) {
      // Somebody else has written, it is gone, or a namesake has its place: the watch will tell.
      if (hasReason(error, 'NotFound', 'Conflict')) return false;
      this.#outage.observe(error);
      throw error;
    }
    entry.status = status;
    entry.writtenMs = clock.monotonicMs();
    entry.isAwaited = false;
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
  const found = healthOf(record, failureThreshold);
  return {
    healthy: suspend || found === 'Unknown' ? undefined : found === 'Healthy',
    consecutiveFailures,
    scheduleIntervalMs: suspend ? undefined : periodMs,
    lastRunMs: lastRun && Date.parse(lastRun.startTime),
    lastSuccessMs: lastSuccessTime === undefined ? undefined : Date.parse(lastSuccessTime),
  };
}

function wasReady({ conditions = [] }: ProbeStatus): boolean {
  return conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
}

function isMoved(before: ProbeStatus, after: ProbeStatus): boolean {
  return JSON.stringify(before.targets) !== JSON.stringify(after.targets);
}
