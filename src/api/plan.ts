import type { CredentialKeys } from './credentials.ts';
import { parseDurationMs } from './duration.ts';
import { parseBytes } from './quantity.ts';
import type { BucketPlan, Encryption, RunTarget } from './run.ts';
import type { StorageProbe } from './storage-probe.ts';

/** A key of a Secret or ConfigMap in the probe's namespace. */
export interface KeyRef {
  readonly kind: 'Secret' | 'ConfigMap';
  readonly name: string;
  readonly key: string;
}

/** Where the credentials of a target come from. */
export type CredentialsPlan =
  | { readonly secret: string; readonly keys?: CredentialKeys }
  | { readonly webIdentity: WebIdentityPlan };

export interface WebIdentityPlan {
  readonly roleArn?: string;
  /** `http://host[:port]` or `https://host[:port]`. Absent: derived from the endpoint. */
  readonly stsEndpoint?: string;
}

export interface TlsPlan {
  readonly ca?: KeyRef;
  /** Name of a Secret with `tls.crt` and `tls.key`. */
  readonly clientCertificateSecret?: string;
  readonly serverName?: string;
}

export interface ProxyPlan {
  readonly url: string;
  /** Name of a Secret with `username` and `password`. */
  readonly credentialsSecret?: string;
}

export interface TargetPlan extends Pick<RunTarget, 'name' | 'region' | 'addressing' | 'encryption'> {
  /** `http://host[:port][/path]` or `https://host[:port][/path]`, without a trailing slash. */
  readonly endpoint: string;
  readonly credentials: CredentialsPlan;
  readonly tls?: TlsPlan;
  readonly proxy?: ProxyPlan;
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

type TargetSpec = StorageProbe['spec']['targets'][number];

function planTarget({ tls, proxy, ...target }: TargetSpec): TargetPlan {
  const { name, region, addressing = 'Path', encryption } = target;
  return {
    name,
    endpoint: withoutSlash(target.endpoint),
    addressing,
    region,
    credentials: planCredentials(target),
    ...(tls !== undefined && { tls: planTls(tls) }),
    ...(proxy !== undefined && { proxy: planProxy(proxy) }),
    ...(encryption !== undefined && { encryption: planEncryption(encryption) }),
  };
}

function planCredentials({ credentialsSecretRef, webIdentity }: TargetSpec): CredentialsPlan {
  if (credentialsSecretRef !== undefined) {
    const { name: secret, keys } = credentialsSecretRef;
    return keys === undefined ? { secret } : { secret, keys };
  }
  if (webIdentity === undefined) throw new Error('unvalidated target: it has no credentials');
  const { roleArn, stsEndpoint } = webIdentity;
  return {
    webIdentity: {
      ...(roleArn !== undefined && { roleArn }),
      ...(stsEndpoint !== undefined && { stsEndpoint: withoutSlash(stsEndpoint) }),
    },
  };
}

function planTls({
  caSecretRef,
  caConfigMapRef,
  clientCertificateSecretRef,
  serverName,
}: NonNullable<TargetSpec['tls']>): TlsPlan {
  return {
    ...(caSecretRef !== undefined && { ca: { kind: 'Secret', ...caSecretRef } }),
    ...(caConfigMapRef !== undefined && {
      ca: { kind: 'ConfigMap', name: caConfigMapRef.name, key: caConfigMapRef.key ?? 'ca.crt' },
    }),
    ...(clientCertificateSecretRef !== undefined && {
      clientCertificateSecret: clientCertificateSecretRef.name,
    }),
    ...(serverName !== undefined && { serverName }),
  };
}

function planProxy({ url, credentialsSecretRef }: NonNullable<TargetSpec['proxy']>): ProxyPlan {
  return {
    url: withoutSlash(url),
    ...(credentialsSecretRef !== undefined && { credentialsSecret: credentialsSecretRef.name }),
  };
}

function planEncryption({ algorithm, kmsKeyId }: NonNullable<TargetSpec['encryption']>): Encryption {
  if (algorithm === 'AES256') return { algorithm };
  return kmsKeyId === undefined ? { algorithm } : { algorithm, kmsKeyId };
}

function withoutSlash(url: string): string {
  return url.replace(/\/$/, '');
}

function planBucket({ mode, name }: StorageProbe['spec']['bucket']): BucketPlan {
  if (mode === 'Ephemeral') return { mode };
  if (name !== undefined) return { mode, name };
  throw new Error('unvalidated bucket: mode Existing has no name');
}
