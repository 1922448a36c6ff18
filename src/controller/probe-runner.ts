import { randomUUID } from 'node:crypto';

import type { Tracer } from '@opentelemetry/api';
import type { Logger } from 'pino';

import { oneLine } from '../api/one-line.ts';
import { ReasonedError } from '../api/reasons.ts';
import { runTemplate } from '../api/run-template.ts';
import type { RunRequest, RunResult, RunTarget } from '../api/run.ts';
import { cleanUpProbe } from '../probe/clean-up.ts';
import { type ProbeDeps, runProbe } from '../probe/run-probe.ts';
import type { DueRun } from '../scheduler/types.ts';
import { logRun } from '../telemetry/logs.ts';
import type { Obstacle } from './health.ts';
import type { ProbeEntries, ProbeEntry, TargetEntry } from './probe-entries.ts';
import { resolveTarget, type ResolveDeps } from './resolve-target.ts';
import type { RunOwners } from './run-owners.ts';
import { withObstacle, withRun } from './target-record.ts';

export interface ProbeRunnerDeps extends ResolveDeps {
  readonly entries: ProbeEntries;
  readonly owners: RunOwners;
  readonly tracerFor: (target: { readonly namespace: string; readonly name: string }) => Tracer;
  /** Dependencies shared by all runs. */
  readonly probe: Omit<ProbeDeps, 'tracer' | 'onProgress'>;
  readonly recordRun: (result: RunResult) => void;
  /** Called when the state of a probe has changed. */
  readonly onUpdate: (entry: ProbeEntry) => void;
  readonly log: Logger;
}

interface TargetRun {
  readonly key: string;
  /** UID of the StorageProbe. */
  readonly uid: string;
  readonly request: RunRequest;
}

/** Executes the runs that are due and records their results. */
export class ProbeRunner {
  readonly #deps: ProbeRunnerDeps;

  constructor(deps: ProbeRunnerDeps) {
    this.#deps = deps;
  }

  /**
   * Executes one run of the target with this key. If the run is cancelled, or the probe is edited or deleted during the
   * run, the result is logged but not recorded.
   */
  async run({ key, trigger }: DueRun, signal: AbortSignal): Promise<void> {
    const { entries, log, onUpdate, owners, probe, recordRun, tracerFor } = this.#deps;
    const { entry, target } = entries.byRunKey(key) ?? {};
    if (entry?.plan === undefined || target === undefined) return;
    const { generation, plan } = entry;
    const resolved = await this.resolve(entry, target, signal);
    if (resolved === undefined) {
      if (!signal.aborted) onUpdate(entry);
      return;
    }
    const request = { ...runTemplate(plan, resolved), owner: owners.current(entry.uid), runId: randomUUID() };
    const needsSweep = !target.isClean && plan.bucket.mode === 'Existing';
    target.isClean = false;
    const tracer = tracerFor({ namespace: entry.namespace, name: resolved.name });
    const result = await runProbe(request, { ...probe, tracer }, signal);
    target.isClean = result.leftBehind.length === 0 && !needsSweep;
    if (!target.isClean) owners.recordLeftovers(key, entry.uid, request.owner);
    logRun(log, result);
    if (result.verdict === 'Passed') {
      if (needsSweep) await this.#sweep(request, target, signal);
      await this.#removeEarlierLeftovers({ key, uid: entry.uid, request }, signal);
    }
    if (result.reason === 'Cancelled') return;
    if (entries.byRunKey(key)?.target !== target || entry.generation !== generation) return;
    target.record = withRun(target.record, result, plan.failureThreshold);
    recordRun(result);
    if (trigger === 'run-now' || trigger === 'at-once') entry.needsPromptStatus = true;
    onUpdate(entry);
  }

  /** Resolves the target's Secrets. If that fails, sets the target's obstacle and returns undefined. */
  async resolve(
    { namespace }: ProbeEntry,
    target: TargetEntry,
    signal: AbortSignal,
  ): Promise<RunTarget | undefined> {
    try {
      target.resolved = await resolveTarget(target.plan, namespace, this.#deps, target.resolved, signal);
      delete target.obstacle;
      return target.resolved;
    } catch (error) {
      if (signal.aborted) return undefined;
      target.obstacle = obstacleOf(target.plan.name, error);
      target.record = withObstacle(target.record, target.obstacle.reason);
      return undefined;
    }
  }

  /** Removes the objects that a crashed run left in an existing bucket, because no later run would find them. */
  async #sweep(request: RunRequest, target: TargetEntry, signal: AbortSignal): Promise<void> {
    const { error, leftBehind } = await cleanUpProbe(request, this.#deps.probe, signal);
    target.isClean = error === undefined && leftBehind.length === 0;
  }

  /** Removes the leftovers of runs that used other names, within the time limit of one clean-up. */
  async #removeEarlierLeftovers({ key, uid, request }: TargetRun, signal: AbortSignal): Promise<void> {
    const { log, owners, probe } = this.#deps;
    const { cleanUpTimeoutMs, timeoutMs } = request;
    const removable = owners.removable(key, uid, timeoutMs + cleanUpTimeoutMs);
    if (removable.length === 0) return;
    using deadline = probe.clock.deadline(owners.removalMs(cleanUpTimeoutMs), signal);
    for (const owner of removable) {
      const { error, leftBehind, removed } = await cleanUpProbe(
        { ...request, owner },
        probe,
        deadline.signal,
      );
      if (deadline.signal.aborted) return;
      owners.recordRemoval(key, uid, owner, error === undefined && leftBehind.length === 0);
      if (removed.length > 0)
        log.info({ owner, removed: removed.length }, 'removed leftovers of an earlier leader');
    }
  }
}

function obstacleOf(target: string, error: unknown): Obstacle {
  if (error instanceof ReasonedError) return { target, reason: error.reason, message: error.message };
  const message = oneLine(error instanceof Error ? error.message : String(error));
  return { target, reason: 'ProberError', message };
}
