import type { WebIdentityPlan } from '../../api/plan.ts';
import { ReasonedError } from '../../api/reasons.ts';
import type { RunTarget } from '../../api/run.ts';
import type { StsDeps } from '../../s3/sts.ts';
import { WebIdentity } from '../../s3/web-identity.ts';
import { readTokenFile } from '../token-file.ts';
import type { RunEnvironment } from './environment.ts';

/** @returns undefined if the environment has no token. */
export function createWebIdentity(
  { webIdentity, proxyFor }: RunEnvironment,
  deps: StsDeps,
): WebIdentity | undefined {
  if (webIdentity === undefined) return undefined;
  return new WebIdentity({
    ...deps,
    readToken: (signal) => readTokenFile(webIdentity.tokenFile, signal),
    proxyFor,
  });
}

/** Adds credentials to a target with a web identity. If there are none, the run fails with the reason. */
export async function withCredentials(
  target: RunTarget,
  plan: WebIdentityPlan | undefined,
  webIdentity: WebIdentity | undefined,
  signal: AbortSignal,
): Promise<RunTarget> {
  if (plan === undefined || webIdentity === undefined) return target;
  try {
    return { ...target, ...(await webIdentity.credentialsFor(plan, target, signal)) };
  } catch (error) {
    if (error instanceof ReasonedError) return { ...target, credentialsFault: error };
    if (signal.aborted) return target;
    throw error;
  }
}
