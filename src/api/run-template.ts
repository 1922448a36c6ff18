import type { ProbePlan } from './plan.ts';
import type { RunRequest, RunTarget } from './run.ts';

/** A {@link RunRequest} without its owner and run ID. */
export type RunTemplate = Omit<RunRequest, 'owner' | 'runId'>;

/** Time limit for the clean-up of a run that failed or was aborted. */
const CLEAN_UP_TIMEOUT_MS = 10_000;

export function runTemplate(plan: ProbePlan, target: RunTarget): RunTemplate {
  const { namespace, name, bucket, objectSizesBytes, timeoutMs } = plan;
  const probe = { namespace, name };
  return { probe, target, bucket, objectSizesBytes, timeoutMs, cleanUpTimeoutMs: CLEAN_UP_TIMEOUT_MS };
}
