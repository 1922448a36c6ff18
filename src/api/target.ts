import { credentialsFrom } from './credentials.ts';
import { type ObjectData, requiredText } from './object-data.ts';
import type { CredentialsPlan, KeyRef, ProxyPlan, TargetPlan, TlsPlan } from './plan.ts';
import { ReasonedError } from './reasons.ts';
import type { Credentials, RunTarget, TargetProxy, TargetTls } from './run.ts';

export type ObjectKind = KeyRef['kind'];

export interface TargetSources {
  /**
   * Reads a Secret or ConfigMap of the probe's namespace.
   *
   * @param keys keys that are needed, for a source that has one value for all keys.
   * @throws {ReasonedError} `SecretMissing` if it does not exist.
   */
  readonly read: (kind: ObjectKind, name: string, keys: readonly string[]) => Promise<ObjectData>;
  /** Describes an object in messages, for example `Secret storage/keys`. */
  readonly describe: (kind: ObjectKind, name: string) => string;
}

/**
 * Adds to a target what its spec only references: credentials, certificates and keys. `run` and the operator both use this
 * function, so a Secret or ConfigMap means the same in both.
 *
 * @param credentialsOf returns the credentials. It may use the connection, for example to call an STS service.
 * @throws {ReasonedError} `SecretMissing` or `SecretInvalid`, or what `credentialsOf` throws.
 */
export async function completeTarget(
  plan: TargetPlan,
  sources: TargetSources,
  credentialsOf: (plan: CredentialsPlan, connection: Promise<Connection>) => Promise<CredentialsOrFault>,
): Promise<RunTarget> {
  const { name, addressing, encryption } = plan;
  const connection = completeConnection(plan, sources);
  // Avoids an unhandled rejection if the credentials fail first.
  connection.catch(() => undefined);
  const credentials = await credentialsOf(plan.credentials, connection);
  return {
    name,
    ...(await connection),
    ...(addressing !== undefined && { addressing }),
    ...(encryption !== undefined && { encryption }),
    ...credentials,
  };
}

/** How to connect to a target. */
export type Connection = Pick<RunTarget, 'endpoint' | 'region' | 'tls' | 'proxy'>;

/** The credentials of a target, or why there are none. */
export type CredentialsOrFault = Pick<RunTarget, 'credentials' | 'credentialsFault'>;

async function completeConnection(plan: TargetPlan, sources: TargetSources): Promise<Connection> {
  const [tls, proxy] = await Promise.all([
    plan.tls && completeTls(plan.tls, sources),
    plan.proxy && completeProxy(plan.proxy, sources),
  ]);
  return {
    endpoint: plan.endpoint,
    region: plan.region,
    ...(tls !== undefined && { tls }),
    ...(proxy !== undefined && { proxy }),
  };
}

/** @throws {ReasonedError} `SecretMissing` or `SecretInvalid`. */
export async function secretCredentials(
  { secret, keys }: Extract<CredentialsPlan, { readonly secret: string }>,
  { read, describe }: TargetSources,
): Promise<Credentials> {
  return credentialsFrom(await read('Secret', secret, []), { keys, secret: describe('Secret', secret) });
}

async function completeTls(
  { ca, clientCertificateSecret, serverName }: TlsPlan,
  sources: TargetSources,
): Promise<TargetTls | undefined> {
  const [bundle, clientCertificate] = await Promise.all([
    ca && readKey(ca, sources),
    clientCertificateSecret === undefined
      ? undefined
      : readClientCertificate(clientCertificateSecret, sources),
  ]);
  if (bundle === undefined && clientCertificate === undefined && serverName === undefined) return undefined;
  return {
    ...(bundle !== undefined && { ca: bundle }),
    ...(clientCertificate !== undefined && { clientCertificate }),
    ...(serverName !== undefined && { serverName }),
  };
}

/** Source of the keys' names: Kubernetes documentation, "TLS Secrets". */
async function readClientCertificate(
  name: string,
  { read, describe }: TargetSources,
): Promise<NonNullable<TargetTls['clientCertificate']>> {
  const data = await read('Secret', name, ['tls.crt', 'tls.key']);
  const secret = describe('Secret', name);
  return {
    certificate: requiredText(data, 'tls.crt', secret),
    privateKey: requiredText(data, 'tls.key', secret),
  };
}

/** Source of the keys' names: Kubernetes documentation, "Basic authentication Secret". */
async function completeProxy(
  { url, credentialsSecret }: ProxyPlan,
  { read, describe }: TargetSources,
): Promise<TargetProxy> {
  if (credentialsSecret === undefined) return { url };
  const data = await read('Secret', credentialsSecret, []);
  const secret = describe('Secret', credentialsSecret);
  const username = withoutLineBreak(requiredText(data, 'username', secret));
  const password = withoutLineBreak(requiredText(data, 'password', secret));
  // Source: RFC 7617, section 2.
  if (username.includes(':')) {
    throw new ReasonedError('SecretInvalid', `username in ${secret} must not contain a colon`);
  }
  return { url, credentials: { username, password } };
}

async function readKey({ kind, name, key }: KeyRef, { read, describe }: TargetSources): Promise<string> {
  return requiredText(await read(kind, name, [key]), key, describe(kind, name));
}

function withoutLineBreak(text: string): string {
  return text.replace(/[\r\n]+$/, '');
}
