import type { ProbePlan } from './plan.ts';
import type { RunRequest, RunTarget } from './run.ts';

/** All of a {@link RunRequest} but who runs it, and the run's own id. */
export type RunTemplate = Omit<RunRequest, 'owner' | 'runId'>;

/** A run that was broken off gets this long to remove what it made. */
const CLEAN_UP_TIMEOUT_MS = 10_000;

export function runTemplate(plan: ProbePlan, target: RunTarget): RunTemplate {
  const { namespace, name, bucket, objectSizesBytes, timeoutMs } = plan;
  const probe = { namespace, name };
  return { probe, target, bucket, objectSizesBytes, timeoutMs, cleanUpTimeoutMs: CLEAN_UP_TIMEOUT_MS };
}
