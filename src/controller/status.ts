import { type Condition, type Finding, setCondition } from '../api/conditions.ts';
import { formatDuration } from '../api/duration.ts';
import type { ProbePlan, SchedulePlan } from '../api/plan.ts';
import type { ProbeStatus } from '../api/probe-status.ts';
import { type ConditionValue, healthyCondition, type Obstacle, readyCondition } from './health.ts';
import { healthOf, type TargetRecord } from './target-record.ts';

/** Input for computing a status. */
export interface StatusInput {
  readonly generation: number;
  readonly plan: ProbePlan;
  /** In the order of the spec. */
  readonly records: readonly TargetRecord[];
  readonly obstacles: readonly Obstacle[];
  /** Wall time of the next run. Undefined if no run is due. */
  readonly nextRunMs: number | undefined;
  readonly lastRunRequest: string | undefined;
  /** The previous conditions. */
  readonly conditions: readonly Condition[];
  /** Wall time. */
  readonly nowMs: number;
}

export function statusOf(input: StatusInput): ProbeStatus {
  const { generation, plan, records, obstacles, nextRunMs, lastRunRequest } = input;
  const shown = shownRecord(records, plan.failureThreshold)?.status;
  const isDue = nextRunMs !== undefined && !plan.suspend;
  const areAllBlocked = records.length === obstacles.length;
  return {
    observedGeneration: generation,
    conditions: conditionsOf(input, {
      Ready: readyCondition(plan, obstacles, isDue),
      Healthy: healthyCondition(plan, records, obstacles),
    }),
    schedule: scheduleText(plan.schedule),
    ...(isDue && !areAllBlocked && { nextRunTime: new Date(nextRunMs).toISOString() }),
    ...(shown?.lastRun !== undefined && { lastRun: { target: shown.name, ...shown.lastRun } }),
    ...(lastRunRequest !== undefined && { lastRunRequest }),
    targets: records.map(({ status }) => status),
  };
}

/** The status of a probe with an invalid spec. Past results are kept. */
export function invalidStatus(
  before: ProbeStatus,
  { generation, nowMs, message }: Pick<StatusInput, 'generation' | 'nowMs'> & { readonly message: string },
): ProbeStatus {
  const { nextRunTime: _, ...rest } = before;
  const ready: ConditionValue = { status: 'False', reason: 'InvalidSpec', message };
  return {
    ...rest,
    observedGeneration: generation,
    conditions: conditionsOf(
      { generation, nowMs, conditions: before.conditions ?? [] },
      { Ready: ready, Healthy: { ...ready, status: 'Unknown' } },
    ),
  };
}

function conditionsOf(
  { conditions, generation, nowMs }: Pick<StatusInput, 'conditions' | 'generation' | 'nowMs'>,
  values: Readonly<Record<Finding['type'], ConditionValue>>,
): Condition[] {
  const now = new Date(nowMs).toISOString();
  let found: Condition[] = [...conditions];
  for (const type of ['Ready', 'Healthy'] as const) {
    found = setCondition(found, { type, ...values[type], observedGeneration: generation }, now);
  }
  return found;
}

/**
 * The target whose run `kubectl get` shows: the first unhealthy target or, if there is none, the target that ran last.
 */
function shownRecord(records: readonly TargetRecord[], failureThreshold: number): TargetRecord | undefined {
  const unhealthy = records.find((record) => healthOf(record, failureThreshold) === 'Unhealthy');
  return unhealthy ?? records.toSorted(byLastStart)[0];
}

function byLastStart(a: TargetRecord, b: TargetRecord): number {
  return Date.parse(b.status.lastRun?.startTime ?? '') - Date.parse(a.status.lastRun?.startTime ?? '') || 0;
}

function scheduleText(schedule: SchedulePlan): string {
  if ('intervalMs' in schedule) return formatDuration(schedule.intervalMs);
  return schedule.timeZone === 'UTC' ? schedule.cron : `${schedule.cron} ${schedule.timeZone}`;
}

/** True if the status must be written now. Fields that change with every run wait for the heartbeat. */
export function isSignificantChange(before: ProbeStatus, after: ProbeStatus): boolean {
  return JSON.stringify(significantFields(before)) !== JSON.stringify(significantFields(after));
}

function significantFields({
  observedGeneration,
  conditions,
  schedule,
  lastRunRequest,
  targets,
}: ProbeStatus): unknown {
  return [
    observedGeneration,
    conditions?.map(({ type, status, reason }) => [type, status, reason]),
    schedule,
    lastRunRequest,
    targets?.map(({ name, verdict, reason }) => [name, verdict, reason]),
  ];
}
