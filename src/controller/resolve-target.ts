import type { TargetPlan } from '../api/plan.ts';
import { ReasonedError } from '../api/reasons.ts';
import type { Credentials, RunTarget } from '../api/run.ts';
import type { SecretData, SecretReader } from './secret-reader.ts';

/**
 * Adds the credentials and the CA bundle to a target, from Secrets in the probe's namespace.
 *
 * @param previous the resolved target of an earlier run. Returned as the same object if nothing has changed, so that
 *   signing keys cached for it can be reused.
 * @throws {ReasonedError} `SecretMissing`, `SecretInvalid`, or `ProberError`.
 */
export async function resolveTarget(
  plan: TargetPlan,
  namespace: string,
  secrets: SecretReader,
  previous: RunTarget | undefined,
  signal: AbortSignal,
): Promise<RunTarget> {
  const { name, endpoint, region, credentialsSecret, caSecret } = plan;
  const [credentials, ca] = await Promise.all([
    secrets
      .read(namespace, credentialsSecret, signal)
      .then((data) => credentialsIn(data, `${namespace}/${credentialsSecret}`)),
    caSecret === undefined
      ? undefined
      : secrets
          .read(namespace, caSecret.name, signal)
          .then((data) => required(data, caSecret.key, `${namespace}/${caSecret.name}`)),
  ]);
  const target = { name, endpoint, region, credentials, ...(ca !== undefined && { tls: { ca } }) };
  return previous !== undefined && isSame(previous, target) ? previous : target;
}

function credentialsIn(data: SecretData, secret: string): Credentials {
  const accessKey = credential(data, 'accessKey', secret);
  const secretKey = credential(data, 'secretKey', secret);
  if (!data['sessionToken']) return { accessKey, secretKey };
  return { accessKey, secretKey, sessionToken: credential(data, 'sessionToken', secret) };
}

/** Strips the trailing line break that `kubectl create secret --from-file` keeps from the file. */
function credential(data: SecretData, name: string, secret: string): string {
  const value = required(data, name, secret).replace(/\r?\n$/, '');
  if (/^[\x21-\x7e]+$/.test(value)) return value;
  throw new ReasonedError(
    'SecretInvalid',
    `${name} in Secret ${secret} must be printable ASCII without spaces`,
  );
}

function required(data: SecretData, name: string, secret: string): string {
  const value = Buffer.from(data[name] ?? '', 'base64').toString('utf8');
  if (value !== '') return value;
  throw new ReasonedError('SecretInvalid', `Secret ${secret} has no ${name}`);
}

function isSame(a: RunTarget, b: RunTarget): boolean {
  return (
    a.endpoint === b.endpoint &&
    a.region === b.region &&
    a.tls?.ca === b.tls?.ca &&
    a.credentials.accessKey === b.credentials.accessKey &&
    a.credentials.secretKey === b.credentials.secretKey &&
    a.credentials.sessionToken === b.credentials.sessionToken
  );
}
