import type { ConditionStatus } from '../api/conditions.ts';
import type { ProbePlan } from '../api/plan.ts';
import type { RunSummary } from '../api/probe-status.ts';
import type { Reason } from '../api/reasons.ts';
import { healthOf, type TargetRecord } from './target-record.ts';

/** Why a target of a valid probe cannot be probed. */
export interface Obstacle {
  readonly target: string;
  readonly reason: Reason;
  /** One line, without secrets. */
  readonly message: string;
}

/** Value of a condition, without its type and times. */
export interface ConditionValue {
  readonly status: ConditionStatus;
  /** A key of `REASONS` or of `CONDITION_REASONS`. */
  readonly reason: string;
  readonly message: string;
}

/** Condition `Ready`: True if the probe's runs can start. */
export function readyCondition(
  { suspend }: Pick<ProbePlan, 'suspend'>,
  obstacles: readonly Obstacle[],
  isEverDue: boolean,
): ConditionValue {
  if (obstacles.length > 0) return { status: 'False', ...summarizeObstacles(obstacles) };
  if (suspend) {
    return { status: 'True', reason: 'Suspended', message: 'No runs start because spec.suspend is true.' };
  }
  if (!isEverDue) {
    return { status: 'False', reason: 'NeverDue', message: 'spec.schedule.cron matches no future time.' };
  }
  return { status: 'True', reason: 'Scheduled', message: 'Runs start on schedule.' };
}

/** Condition `Healthy`: False if any target is unhealthy. Otherwise Unknown if the health of any target is unknown. */
export function healthyCondition(
  { suspend, failureThreshold }: Pick<ProbePlan, 'suspend' | 'failureThreshold'>,
  records: readonly TargetRecord[],
  obstacles: readonly Obstacle[],
): ConditionValue {
  if (suspend) {
    return {
      status: 'Unknown',
      reason: 'Suspended',
      message: 'Health is unknown because spec.suspend is true.',
    };
  }
  const unhealthy = records.filter((record) => healthOf(record, failureThreshold) === 'Unhealthy');
  if (unhealthy.length > 0) return { status: 'False', ...summarizeUnhealthy(unhealthy, records.length) };
  if (obstacles.length > 0) return { status: 'Unknown', ...summarizeObstacles(obstacles) };
  const unknown = records.find((record) => healthOf(record, failureThreshold) === 'Unknown');
  if (unknown === undefined) {
    return { status: 'True', reason: 'Passed', message: passedMessage(records) };
  }
  const { name, lastRun, reason } = unknown.status;
  if (reason === undefined) {
    return { status: 'Unknown', reason: 'NotYetRun', message: `${name} has not been probed yet.` };
  }
  const message =
    reason === lastRun?.reason
      ? describeRun(name, lastRun)
      : `${name} has not been probed since its Secrets became available.`;
  return { status: 'Unknown', reason, message };
}

function causeOf({ cause, status }: TargetRecord): RunSummary | undefined {
  return cause ?? status.lastRun;
}

function summarizeObstacles(obstacles: readonly Obstacle[]): Pick<ConditionValue, 'reason' | 'message'> {
  return {
    reason: commonReason(obstacles.map(({ reason }) => reason)),
    message: [...new Set(obstacles.map(({ message }) => message))].join('; '),
  };
}

function summarizeUnhealthy(
  unhealthy: readonly TargetRecord[],
  targetCount: number,
): Pick<ConditionValue, 'reason' | 'message'> {
  const each = unhealthy.map((record) => describeRun(record.status.name, causeOf(record))).join('; ');
  return {
    reason: commonReason(unhealthy.map((record) => causeOf(record)?.reason ?? 'ProberError')),
    message: targetCount === 1 ? each : `${unhealthy.length} of ${targetCount} targets unhealthy: ${each}`,
  };
}

function commonReason(reasons: readonly string[]): string {
  const [first = 'ProberError', ...others] = new Set(reasons);
  return others.length === 0 ? first : 'SeveralReasons';
}

function describeRun(target: string, run: RunSummary | undefined): string {
  if (run === undefined) return target;
  const step = run.failedStep === undefined ? '' : ` at ${run.failedStep}`;
  const message = run.message === undefined ? '' : `: ${run.message}`;
  return `${target} ${run.reason ?? run.verdict}${step}${message} (trace ${run.traceId})`;
}

function passedMessage(records: readonly TargetRecord[]): string {
  const [only] = records;
  if (records.length === 1 && only !== undefined) {
    const trace = only.status.verdict === 'Passed' ? ` (trace ${only.status.lastRun?.traceId})` : '';
    return `${only.status.name} passed${trace}`;
  }
  return `All ${records.length} targets are healthy.`;
}
