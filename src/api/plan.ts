import type { BucketPlan } from './run.ts';

/** A reference to one or more keys of a Secret in the probe's own namespace. */
export interface SecretKeyRef {
  readonly name: string;
  readonly key: string;
}

export interface TargetPlan {
  readonly name: string;
  readonly endpoint: string;
  readonly region: string;
  /** Name of the Secret with `accessKey`, `secretKey` and, optionally, `sessionToken`. */
  readonly credentialsSecret: string;
  readonly caSecret?: SecretKeyRef;
}

export type SchedulePlan =
  | { readonly intervalMs: number }
  | { readonly cron: string; readonly timeZone: string };

/** What a StorageProbe asks for: defaults applied, units resolved, checked, without secrets. */
export interface ProbePlan {
  readonly namespace: string;
  readonly name: string;
  readonly schedule: SchedulePlan;
  readonly timeoutMs: number;
  readonly targets: readonly TargetPlan[];
  readonly bucket: BucketPlan;
  readonly objectSizesBytes: readonly number[];
  readonly failureThreshold: number;
  readonly suspend: boolean;
}
