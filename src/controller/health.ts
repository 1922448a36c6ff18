import type { ConditionStatus } from '../api/conditions.ts';
import type { ProbePlan } from '../api/plan.ts';
import type { RunSummary } from '../api/probe-status.ts';
import type { Reason } from '../api/reasons.ts';
import { healthOf, type TargetRecord } from './target-record.ts';

/** What keeps a target from being probed, though its probe is in order. */
export interface Obstacle {
  readonly target: string;
  readonly reason: Reason;
  /** One line, without secrets. */
  readonly message: string;
}

/** What a condition says; since when is for the status. */
export interface Answer {
  readonly status: ConditionStatus;
  /** A key of `REASONS` or of `CONDITION_REASONS`. */
  readonly reason: string;
  readonly message: string;
}

/** Condition `Ready`: whether the probe's runs start. */
export function readiness(
  { suspend }: Pick<ProbePlan, 'suspend'>,
  obstacles: readonly Obstacle[],
  isEverDue: boolean,
): Answer {
  if (obstacles.length > 0) return { status: 'False', ...told(obstacles) };
  if (suspend) {
    return { status: 'True', reason: 'Suspended', message: 'No runs start while spec.suspend is true.' };
  }
  if (!isEverDue) {
    return { status: 'False', reason: 'NeverDue', message: 'No time to come matches spec.schedule.cron.' };
  }
  return { status: 'True', reason: 'Scheduled', message: 'Runs start on schedule.' };
}

/** Condition `Healthy`: False as soon as one target is not; Unknown while that of one is not known. */
export function health(
  { suspend, failureThreshold }: Pick<ProbePlan, 'suspend' | 'failureThreshold'>,
  records: readonly TargetRecord[],
  obstacles: readonly Obstacle[],
): Answer {
  if (suspend) {
    return {
      status: 'Unknown',
      reason: 'Suspended',
      message: 'Nothing is probed while spec.suspend is true.',
    };
  }
  const unhealthy = records.filter((record) => healthOf(record, failureThreshold) === 'Unhealthy');
  if (unhealthy.length > 0) return { status: 'False', ...toldOf(unhealthy, records.length) };
  if (obstacles.length > 0) return { status: 'Unknown', ...told(obstacles) };
  const unknown = records.find((record) => healthOf(record, failureThreshold) === 'Unknown');
  if (unknown === undefined) {
    return { status: 'True', reason: 'Passed', message: passedMessage(records) };
  }
  const { name, lastRun, reason } = unknown.status;
  if (reason === undefined) {
    return { status: 'Unknown', reason: 'NotYetRun', message: `${name} has not been probed yet.` };
  }
  const message = reason === lastRun?.reason ? describe(name, lastRun) : `${name} has not been probed since.`;
  return { status: 'Unknown', reason, message };
}

function causeOf({ cause, status }: TargetRecord): RunSummary | undefined {
  return cause ?? status.lastRun;
}

/** What keeps several targets, in one word and one line. */
function told(obstacles: readonly Obstacle[]): Pick<Answer, 'reason' | 'message'> {
  return {
    reason: commonReason(obstacles.map(({ reason }) => reason)),
    message: [...new Set(obstacles.map(({ message }) => message))].join('; '),
  };
}

function toldOf(unhealthy: readonly TargetRecord[], targets: number): Pick<Answer, 'reason' | 'message'> {
  const each = unhealthy.map((record) => describe(record.status.name, causeOf(record))).join('; ');
  return {
    reason: commonReason(unhealthy.map((record) => causeOf(record)?.reason ?? 'ProberError')),
    message: targets === 1 ? each : `${unhealthy.length} of ${targets} targets fail: ${each}`,
  };
}

function commonReason(reasons: readonly string[]): string {
  const [first = 'ProberError', ...others] = new Set(reasons);
  return others.length === 0 ? first : 'SeveralReasons';
}

function describe(target: string, run: RunSummary | undefined): string {
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
  return `All ${records.length} targets pass.`;
}
