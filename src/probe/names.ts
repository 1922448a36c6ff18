import { createHash } from 'node:crypto';

import type { RunRequest } from '../api/run.ts';

/** Prefix of all bucket names and object keys that storage-probe creates. */
const OWN_PREFIX = 'storage-probe';

export type Identity = Pick<RunRequest, 'owner' | 'probe'> & { readonly target: { readonly name: string } };

/**
 * Returns the bucket name for mode `Ephemeral`. The name is the same for every run of one prober, probe and target, so
 * a crash leaks at most one bucket and the next run finds it. It has at most 63 characters, all lower case and without
 * dots, so it is valid in every S3 store.
 */
export function ephemeralBucket(identity: Identity): string {
  const readable = identity.probe.name
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]/g, '-')
    .slice(0, 24);
  return `${OWN_PREFIX}-${readable}-${fingerprint(identity)}`;
}

/** Returns the key prefix that this prober uses for a probe and target in every run. */
export function keyPrefix(identity: Identity): string {
  return `${OWN_PREFIX}/${identity.probe.name}-${fingerprint(identity)}/`;
}

/** Returns a key without spaces that is unique to the run, so that it identifies the run in the store's logs. */
export function objectKey(
  request: Identity & Pick<RunRequest, 'runId'>,
  index: number,
  sizeBytes: number,
): string {
  return `${keyPrefix(request)}${request.runId}/${index}-${sizeBytes}`;
}

/** True for a key that {@link objectKey} returned in any run. No other client's keys match. */
export function isOwnKey(identity: Identity, key: string): boolean {
  const prefix = keyPrefix(identity);
  return key.startsWith(prefix) && /^[\w-]+\/\d+-\d+$/.test(key.slice(prefix.length));
}

function fingerprint({ owner, probe, target }: Identity): string {
  const parts = [owner, probe.namespace, probe.name, target.name];
  return createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 12);
}
