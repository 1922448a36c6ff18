import { parseDurationMs } from './duration.ts';
import { parseBytes } from './quantity.ts';
import type { BucketPlan } from './run.ts';
import type { StorageProbe } from './storage-probe.ts';

/** A key of a Secret in the probe's namespace. */
export interface SecretKeyRef {
  readonly name: string;
  readonly key: string;
}

export interface TargetPlan {
  readonly name: string;
  /** `http://host[:port]` or `https://host[:port]`, without a path. */
  readonly endpoint: string;
  readonly region: string;
  /** Name of the Secret with `accessKey`, `secretKey` and, optionally, `sessionToken`. */
  readonly credentialsSecret: string;
  readonly caSecret?: SecretKeyRef;
}

export type SchedulePlan =
  | { readonly intervalMs: number }
  | { readonly cron: string; readonly timeZone: string };

/** A validated StorageProbe with defaults applied and units parsed. Contains no secrets. */
export interface ProbePlan {
  readonly namespace: string;
  readonly name: string;
  readonly schedule: SchedulePlan;
  /** Maximum delay of a run. A run that would start later is skipped. */
  readonly startingDeadlineMs?: number;
  readonly timeoutMs: number;
  readonly targets: readonly TargetPlan[];
  readonly bucket: BucketPlan;
  readonly objectSizesBytes: readonly number[];
  readonly failureThreshold: number;
  readonly suspend: boolean;
}

const DEFAULT_TIMEOUT_MS = 20_000;

/** Converts a validated StorageProbe into a plan. */
export function planProbe({ metadata, spec }: StorageProbe): ProbePlan {
  const schedule = planSchedule(spec.schedule);
  const { startingDeadline } = spec.schedule;
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    schedule,
    ...(startingDeadline === undefined ? {} : { startingDeadlineMs: parseDurationMs(startingDeadline) }),
    timeoutMs: spec.timeout === undefined ? defaultTimeoutMs(schedule) : parseDurationMs(spec.timeout),
    targets: spec.targets.map(planTarget),
    bucket: planBucket(spec.bucket),
    objectSizesBytes: spec.objects.map(({ size }) => parseBytes(size)),
    failureThreshold: spec.failureThreshold,
    suspend: spec.suspend,
  };
}

function planSchedule({ interval, cron, timeZone = 'UTC' }: StorageProbe['spec']['schedule']): SchedulePlan {
  if (interval !== undefined) return { intervalMs: parseDurationMs(interval) };
  if (cron !== undefined) return { cron, timeZone };
  throw new Error('unvalidated schedule: it has neither interval nor cron');
}

/** Not a default in the schema, because a CRD default cannot depend on another field. */
function defaultTimeoutMs(schedule: SchedulePlan): number {
  if (!('intervalMs' in schedule)) return DEFAULT_TIMEOUT_MS;
  return Math.min(DEFAULT_TIMEOUT_MS, Math.floor(schedule.intervalMs * 0.8));
}

function planTarget(target: StorageProbe['spec']['targets'][number]): TargetPlan {
  const ca = target.tls?.caSecretRef;
  return {
    name: target.name,
    endpoint: target.endpoint.replace(/\/$/, ''),
    region: target.region,
    credentialsSecret: target.credentialsSecretRef.name,
    ...(ca === undefined ? {} : { caSecret: ca }),
  };
}

function planBucket({ mode, name }: StorageProbe['spec']['bucket']): BucketPlan {
  if (mode === 'Ephemeral') return { mode };
  if (name !== undefined) return { mode, name };
  throw new Error('unvalidated bucket: mode Existing has no name');
}
