import { MAX_RECENT_RUNS, type ProbeStatus, type RunSummary, summarizeRun } from '../api/probe-status.ts';
import type { Reason } from '../api/reasons.ts';
import type { RunResult } from '../api/run.ts';

export type TargetStatus = NonNullable<ProbeStatus['targets']>[number];

/** State of one target: its status, and the run that explains why it is unhealthy. */
export interface TargetRecord {
  readonly status: TargetStatus;
  /**
   * The run that made the target unhealthy or last changed the reason. Later runs with the same reason do not replace
   * it.
   */
  readonly cause?: RunSummary;
}

export type TargetHealth = 'Healthy' | 'Unhealthy' | 'Unknown';

export function emptyRecord(name: string): TargetRecord {
  return { status: { name, verdict: 'Unknown', consecutiveFailures: 0 } };
}

/** Restores the record from a status that an earlier prober wrote. */
export function recordFrom(status: TargetStatus): TargetRecord {
  return { status, ...(status.lastRun?.verdict === 'Failed' && { cause: status.lastRun }) };
}

/** Adds a run to the record. A run with verdict `Unknown` does not count against the target. */
export function withRun(
  { status, cause }: TargetRecord,
  result: RunResult,
  failureThreshold: number,
): TargetRecord {
  const lastRun = summarizeRun(result);
  const { message: _, ...recent } = lastRun;
  const failures = { Passed: 0, Failed: status.consecutiveFailures + 1, Unknown: status.consecutiveFailures };
  const consecutiveFailures = failures[result.verdict];
  const lastSuccessTime = result.verdict === 'Passed' ? result.startTime : status.lastSuccessTime;
  const isNewCause = cause?.reason !== result.reason || consecutiveFailures === failureThreshold;
  const causes = { Passed: undefined, Failed: isNewCause ? lastRun : cause, Unknown: cause };
  const nextCause = causes[result.verdict];
  return {
    status: {
      name: status.name,
      verdict: result.verdict,
      ...(result.reason !== undefined && { reason: result.reason }),
      consecutiveFailures,
      ...(lastSuccessTime !== undefined && { lastSuccessTime }),
      lastRun,
      recentRuns: [recent, ...(status.recentRuns ?? [])].slice(0, MAX_RECENT_RUNS),
    },
    ...(nextCause !== undefined && { cause: nextCause }),
  };
}

/** Records that the target cannot be probed. Its last verdict may be out of date. */
export function withObstacle({ status, cause }: TargetRecord, reason: Reason): TargetRecord {
  return {
    status: { ...status, verdict: 'Unknown', reason },
    ...(cause !== undefined && { cause }),
  };
}

/** A target that has passed before stays healthy until `failureThreshold` runs in a row have failed. */
export function healthOf({ status }: TargetRecord, failureThreshold: number): TargetHealth {
  if (status.consecutiveFailures >= failureThreshold) return 'Unhealthy';
  if (status.verdict === 'Passed') return 'Healthy';
  return status.verdict === 'Failed' && status.lastSuccessTime !== undefined ? 'Healthy' : 'Unknown';
}
