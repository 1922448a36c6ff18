import { createHash } from 'node:crypto';

import type { RunRequest } from '../api/run.ts';

/** What the probe makes lies under this name, in every store. */
const OWN_PREFIX = 'storage-probe';

type Identity = Pick<RunRequest, 'owner' | 'probe'> & { readonly target: { readonly name: string } };

/**
 * The bucket of an `Ephemeral` run. It is the same for every run of one prober, probe and target, so that a crash
 * leaks at most one, and the next run finds it. At most 63 characters, lower case, no dots: valid in every S3.
 */
export function ephemeralBucket(identity: Identity): string {
  const readable = identity.probe.name
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]/g, '-')
    .slice(0, 24);
  return `${OWN_PREFIX}-${readable}-${fingerprint(identity)}`;
}

/** Where this prober's objects for this probe and target lie, whichever run made them. */
export function keyPrefix(identity: Identity): string {
  return `${OWN_PREFIX}/${identity.probe.name}-${fingerprint(identity)}/`;
}

/** Unique to the run, without spaces: it ties the store's own logs and traces to the run. */
export function objectKey(
  request: Identity & Pick<RunRequest, 'runId'>,
  index: number,
  sizeBytes: number,
): string {
  return `${keyPrefix(request)}${request.runId}/${index}-${sizeBytes}`;
}

/** True for what {@link objectKey} gives, for any run: nobody else's objects look like it. */
export function isOwnKey(identity: Identity, key: string): boolean {
  const prefix = keyPrefix(identity);
  return key.startsWith(prefix) && /^[\w-]+\/\d+-\d+$/.test(key.slice(prefix.length));
}

function fingerprint({ owner, probe, target }: Identity): string {
  const parts = [owner, probe.namespace, probe.name, target.name];
  return createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 12);
}
