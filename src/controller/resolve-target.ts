import { isDeepStrictEqual } from 'node:util';

import type { TargetPlan } from '../api/plan.ts';
import { ReasonedError } from '../api/reasons.ts';
import type { RunTarget } from '../api/run.ts';
import { completeTarget, secretCredentials, type TargetSources } from '../api/target.ts';
import type { WebIdentity } from '../s3/web-identity.ts';
import type { ObjectReader } from './object-reader.ts';

export interface ResolveDeps {
  readonly objects: ObjectReader;
  /** Absent if the administrator has not enabled it. */
  readonly webIdentity?: Pick<WebIdentity, 'credentialsFor'> | undefined;
}

/**
 * Adds credentials, certificates and keys to a target, from Secrets and ConfigMaps in the probe's namespace.
 *
 * @param previous the resolved target of an earlier run. Returned as the same object if nothing has changed, so that
 *   signing keys cached for it can be reused.
 * @throws {ReasonedError} `SecretMissing`, `SecretInvalid`, `WebIdentityUnavailable`, or `ProberError`.
 */
export async function resolveTarget(
  plan: TargetPlan,
  namespace: string,
  { objects, webIdentity }: ResolveDeps,
  previous: RunTarget | undefined,
  signal: AbortSignal,
): Promise<RunTarget> {
  const sources: TargetSources = {
    read: (kind, name) => objects.read(kind, { namespace, name }, signal),
    describe: (kind, name) => `${kind} ${namespace}/${name}`,
  };
  const target = await completeTarget(plan, sources, async (credentials, connection) => {
    if ('secret' in credentials) return { credentials: await secretCredentials(credentials, sources) };
    if (webIdentity !== undefined)
      return webIdentity.credentialsFor(credentials.webIdentity, await connection, signal);
    throw new ReasonedError(
      'WebIdentityUnavailable',
      'web identity is not enabled in the operator: its --web-identity-token-file is not set',
    );
  });
  return isDeepStrictEqual(previous, target) && previous !== undefined ? previous : target;
}
