import { microTime } from './micro-time.ts';
import type { KubeObject, ResourceType } from './objects.ts';

export const LEASE: ResourceType = {
  group: 'coordination.k8s.io',
  version: 'v1',
  plural: 'leases',
  kind: 'Lease',
};

export interface LeaseSpec {
  holderIdentity?: string;
  leaseDurationSeconds?: number;
  acquireTime?: string;
  renewTime?: string;
  leaseTransitions?: number;
}

export interface Lease extends KubeObject {
  spec?: LeaseSpec;
}

/** Undefined if nobody holds the Lease. */
export function holderOf(lease: Lease | undefined): string | undefined {
  return lease?.spec?.holderIdentity || undefined;
}

/** Number of times that the Lease has changed hands. Each holder has its own. */
export function transitionsOf(lease: Lease): number {
  return lease.spec?.leaseTransitions ?? 0;
}

export interface Holding {
  readonly identity: string;
  readonly durationMs: number;
  readonly transitions: number;
  /** Wall time. */
  readonly nowMs: number;
}

/** @param lease the Lease before, if it exists. */
export function heldSpec(
  lease: Lease | undefined,
  { identity, durationMs, transitions, nowMs }: Holding,
): LeaseSpec {
  const now = microTime(nowMs);
  const isRenewal = holderOf(lease) === identity;
  return {
    ...lease?.spec,
    holderIdentity: identity,
    leaseDurationSeconds: Math.ceil(durationMs / 1_000),
    acquireTime: (isRenewal && lease?.spec?.acquireTime) || now,
    renewTime: now,
    leaseTransitions: transitions,
  };
}

/** @param nowMs wall time. */
export function releasedSpec(lease: Lease, nowMs: number): LeaseSpec {
  const now = microTime(nowMs);
  return { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1, acquireTime: now, renewTime: now };
}

/** Sets the annotation, or removes it if `value` is undefined. */
export function withAnnotation(lease: Lease, name: string, value: string | undefined): Lease {
  const { [name]: _, ...others } = lease.metadata.annotations ?? {};
  const annotations = value === undefined ? others : { ...others, [name]: value };
  return { ...lease, metadata: { ...lease.metadata, annotations } };
}
