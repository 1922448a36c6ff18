import { Client } from 'minio';
import { AssumeRoleProvider } from 'minio/dist/esm/AssumeRoleProvider.mjs';
import { inject } from 'vitest';

import type { Credentials } from '../../src/api/run.ts';
import { API_VERSION, KIND } from '../../src/api/storage-probe.ts';
import { uniqueName } from '../support/unique-name.ts';
import type { Store } from './servers.ts';

export const { store: sharedStore, user } = inject('servers');

/** Manifest of a StorageProbe with one target of the same name. Fields in `spec` override it. */
export function probeOf(name: string, endpoint: string, spec: object = {}): string {
  return JSON.stringify({
    apiVersion: API_VERSION,
    kind: KIND,
    metadata: { name, namespace: 'storage' },
    spec: { targets: [targetOf(name, endpoint)], ...spec },
  });
}

export function targetOf(name: string, endpoint: string, more: object = {}): object {
  return { name, endpoint, credentialsSecretRef: { name: 'probe-user' }, ...more };
}

/** S3 client with root credentials. */
export function adminOf({ url, rootUser, rootPassword, region = 'us-east-1' }: Store = sharedStore): Client {
  const { hostname, port } = new URL(url);
  return new Client({
    endPoint: hostname,
    port: Number(port),
    useSSL: false,
    accessKey: rootUser,
    secretKey: rootPassword,
    region,
  });
}

/** Ephemeral buckets of a probe that still exist. */
export async function bucketsOf(probe: string, store: Store = sharedStore): Promise<string[]> {
  const buckets = await adminOf(store).listBuckets();
  return buckets.map(({ name }) => name).filter((name) => name.startsWith(`storage-probe-${probe}-`));
}

/** Removes Ephemeral buckets that a probe could not remove. */
export async function removeBuckets(probe: string): Promise<void> {
  const admin = adminOf();
  for (const bucket of await bucketsOf(probe)) {
    for (const key of await keysIn(bucket)) await admin.removeObject(bucket, key);
    await admin.removeBucket(bucket);
  }
}

/** Keys of all object versions and delete markers in a bucket. */
export async function keysIn(bucket: string, store: Store = sharedStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const { name } of adminOf(store).listObjects(bucket, '', true, { IncludeVersion: true }))
    keys.push(String(name));
  return keys;
}

/** Creates a bucket that contains {@link FOREIGN_OBJECT}. Disposing the bucket removes it with its content. */
export async function createBucket(
  options: { versioned?: boolean } = {},
): Promise<AsyncDisposable & { name: string }> {
  const admin = adminOf();
  const name = uniqueName('existing');
  await admin.makeBucket(name);
  if (options.versioned === true) await admin.setBucketVersioning(name, { Status: 'Enabled' });
  await admin.putObject(name, FOREIGN_OBJECT, 'not from a probe');
  return {
    name,
    async [Symbol.asyncDispose]() {
      for await (const { name: key, versionId } of admin.listObjects(name, '', true, {
        IncludeVersion: true,
      }))
        await admin.removeObject(name, String(key), { versionId });
      await admin.removeBucket(name);
    },
  };
}

/** Object of another client in every bucket of {@link createBucket}. Its key has the probe's prefix. */
export const FOREIGN_OBJECT = 'storage-probe/other-client-object';

/** Temporary credentials with only the rights that the statements allow. */
export async function temporaryCredentials(
  statements: readonly Statement[],
  { url, rootUser, rootPassword }: Store = sharedStore,
): Promise<Credentials> {
  const provider = new AssumeRoleProvider({
    stsEndpoint: url,
    accessKey: rootUser,
    secretKey: rootPassword,
    policy: JSON.stringify({
      Version: '2012-10-17',
      Statement: statements.map((statement) => ({ Effect: 'Allow', ...statement })),
    }),
  });
  const { accessKey, secretKey, sessionToken } = await provider.getCredentials();
  if (sessionToken === undefined) throw new Error('the store returned no session token');
  return { accessKey, secretKey, sessionToken };
}

export interface Statement {
  readonly Action: readonly string[];
  readonly Resource: readonly string[];
}
