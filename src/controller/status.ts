import { type Condition, type Finding, setCondition } from '../api/conditions.ts';
import { formatDuration } from '../api/duration.ts';
import type { ProbePlan, SchedulePlan } from '../api/plan.ts';
import type { ProbeStatus } from '../api/probe-status.ts';
import { type Answer, health, type Obstacle, readiness } from './health.ts';
import { healthOf, type TargetRecord } from './target-record.ts';

/** All that a status is made of. */
export interface StatusInput {
  readonly generation: number;
  readonly plan: ProbePlan;
  /** In the order of the spec. */
  readonly records: readonly TargetRecord[];
  readonly obstacles: readonly Obstacle[];
  /** Wall ms; absent where nothing is due any more. */
  readonly nextRunMs: number | undefined;
  readonly lastRunRequest: string | undefined;
  /** What was said before. */
  readonly conditions: readonly Condition[];
  /** Wall ms. */
  readonly nowMs: number;
}

export function statusOf(input: StatusInput): ProbeStatus {
  const { generation, plan, records, obstacles, nextRunMs, lastRunRequest } = input;
  const shown = shownRecord(records, plan.failureThreshold)?.status;
  const isDue = nextRunMs !== undefined && !plan.suspend;
  const isHindered = records.length === obstacles.length;
  return {
    observedGeneration: generation,
    conditions: conditionsOf(input, {
      Ready: readiness(plan, obstacles, isDue),
      Healthy: health(plan, records, obstacles),
    }),
    schedule: scheduleText(plan.schedule),
    ...(isDue && !isHindered && { nextRunTime: new Date(nextRunMs).toISOString() }),
    ...(shown?.lastRun !== undefined && { lastRun: { target: shown.name, ...shown.lastRun } }),
    ...(lastRunRequest !== undefined && { lastRunRequest }),
    targets: records.map(({ status }) => status),
  };
}

/** The status of a resource that the operator cannot work with: its past stays as it was. */
export function invalidStatus(
  before: ProbeStatus,
  { generation, nowMs, message }: Pick<StatusInput, 'generation' | 'nowMs'> & { readonly message: string },
): ProbeStatus {
  const { nextRunTime: _, ...rest } = before;
  const answer: Answer = { status: 'False', reason: 'InvalidSpec', message };
  return {
    ...rest,
    observedGeneration: generation,
    conditions: conditionsOf(
      { generation, nowMs, conditions: before.conditions ?? [] },
      { Ready: answer, Healthy: { ...answer, status: 'Unknown' } },
    ),
  };
}

function conditionsOf(
  { conditions, generation, nowMs }: Pick<StatusInput, 'conditions' | 'generation' | 'nowMs'>,
  answers: Readonly<Record<Finding['type'], Answer>>,
): Condition[] {
  const now = new Date(nowMs).toISOString();
  let found: Condition[] = [...conditions];
  for (const type of ['Ready', 'Healthy'] as const) {
    found = setCondition(found, { type, ...answers[type], observedGeneration: generation }, now);
  }
  return found;
}

/** The target whose run the columns show: the first that is unhealthy, else the one that ran last. */
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

/** Whether the status tells something new: what only moves on with each run waits for the heartbeat. */
export function isNews(before: ProbeStatus, after: ProbeStatus): boolean {
  return JSON.stringify(essence(before)) !== JSON.stringify(essence(after));
}

function essence({
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
