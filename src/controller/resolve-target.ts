import type { TargetPlan } from '../api/plan.ts';
import { ReasonedError } from '../api/reasons.ts';
import type { Credentials, RunTarget } from '../api/run.ts';
import type { SecretData, SecretReader } from './secret-reader.ts';

/**
 * The target with its credentials and CA bundle, out of Secrets of the probe's own namespace.
 *
 * @param before what it was for an earlier run: the same object is given back where nothing has changed, so that keys
 *   made of it can be used again.
 * @throws {ReasonedError} `SecretMissing`, `SecretInvalid`, or `ProberError`.
 */
export async function resolveTarget(
  plan: TargetPlan,
  namespace: string,
  secrets: SecretReader,
  before: RunTarget | undefined,
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
  const target = { name, endpoint, region, credentials, ...(ca !== undefined && { ca }) };
  return before !== undefined && isSame(before, target) ? before : target;
}

function credentialsIn(data: SecretData, secret: string): Credentials {
  const accessKey = key(data, 'accessKey', secret);
  const secretKey = key(data, 'secretKey', secret);
  if (!data['sessionToken']) return { accessKey, secretKey };
  return { accessKey, secretKey, sessionToken: key(data, 'sessionToken', secret) };
}

/** A key as a store gives it: `kubectl create secret --from-file` brings the file's last line break along. */
function key(data: SecretData, name: string, secret: string): string {
  const value = required(data, name, secret).replace(/\r?\n$/, '');
  if (/^[\x21-\x7e]+$/.test(value)) return value;
  throw new ReasonedError(
    'SecretInvalid',
    `${name} of Secret ${secret} holds spaces or characters that no key has; accepted: printable ASCII`,
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
    a.ca === b.ca &&
    a.credentials.accessKey === b.credentials.accessKey &&
    a.credentials.secretKey === b.credentials.secretKey &&
    a.credentials.sessionToken === b.credentials.sessionToken
  );
}
