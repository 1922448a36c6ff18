import { describe, expect, it } from 'vitest';

import type { TargetPlan } from '../api/plan.ts';
import { ReasonedError } from '../api/reasons.ts';
import { resolveTarget } from './resolve-target.ts';
import type { ObjectReader } from './object-reader.ts';

const signal = new AbortController().signal;
const plan: TargetPlan = {
  name: 'my-minio',
  endpoint: 'http://my-minio.storage.svc:9000',
  region: 'us-east-1',
  credentials: { secret: 'keys' },
};

type Contents = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** A reader of Secrets and ConfigMaps in the namespace `storage`, given in plain text. */
function secretsOf(secrets: Contents, configMaps: Contents = {}): { objects: ObjectReader } {
  return {
    objects: {
      read: (kind, { namespace, name }) => {
        const found =
          namespace === 'storage' ? { Secret: secrets, ConfigMap: configMaps }[kind][name] : undefined;
        if (found === undefined) return Promise.reject(new ReasonedError('SecretMissing', 'not found'));
        const encoded = Object.entries(found).map(([key, text]) => [key, Buffer.from(text)]);
        return Promise.resolve(Object.fromEntries(encoded));
      },
    },
  };
}

const keys = { accessKey: 'probe', secretKey: 'very secret' };

describe('resolveTarget', () => {
  it('adds the credentials and the CA bundle', async () => {
    const secrets = secretsOf({
      keys: { accessKey: 'probe', secretKey: 'hush', sessionToken: 'token' },
      ca: { 'ca.crt': 'PEM\n' },
    });
    const full = { ...plan, tls: { ca: { kind: 'Secret', name: 'ca', key: 'ca.crt' } } } as const;
    expect(await resolveTarget(full, 'storage', secrets, undefined, signal)).toEqual({
      name: 'my-minio',
      endpoint: 'http://my-minio.storage.svc:9000',
      region: 'us-east-1',
      credentials: { accessKey: 'probe', secretKey: 'hush', sessionToken: 'token' },
      tls: { ca: 'PEM\n' },
    });
  });

  it('strips a trailing line break from the keys', async () => {
    const secrets = secretsOf({ keys: { accessKey: 'probe\n', secretKey: 'hush\r\n', sessionToken: '' } });
    const target = await resolveTarget(plan, 'storage', secrets, undefined, signal);
    expect(target.credentials).toEqual({ accessKey: 'probe', secretKey: 'hush' });
  });

  it('returns the same object until something changes', async () => {
    const previous = await resolveTarget(
      plan,
      'storage',
      secretsOf({ keys: { accessKey: 'a', secretKey: 'b' } }),
      undefined,
      signal,
    );
    const unchanged = await resolveTarget(
      plan,
      'storage',
      secretsOf({ keys: { accessKey: 'a', secretKey: 'b' } }),
      previous,
      signal,
    );
    const rotated = await resolveTarget(
      plan,
      'storage',
      secretsOf({ keys: { accessKey: 'a', secretKey: 'c' } }),
      previous,
      signal,
    );
    expect(unchanged).toBe(previous);
    expect(rotated).not.toBe(previous);
  });

  it.each([
    {
      name: 'no accessKey',
      keys: { secretKey: 'hush' },
      message: /^Secret storage\/keys has secretKey but no access key; found: secretKey; accepted: /,
    },
    {
      name: 'an access key with spaces',
      keys: { ...keys, accessKey: 'very secret' },
      message: /^accessKey in Secret storage\/keys must be printable ASCII without spaces$/,
    },
  ])('rejects a Secret with $name, without showing its values', async ({ keys: values, message }) => {
    const resolved = resolveTarget(plan, 'storage', secretsOf({ keys: values }), undefined, signal);
    await expect(resolved).rejects.toMatchObject({
      reason: 'SecretInvalid',
      message: expect.stringMatching(message),
    });
  });

  it('adds everything that a target can reference', async () => {
    const sources = secretsOf(
      {
        keys: { id: 'probe', password: 'hush' },
        client: { 'tls.crt': 'CERT', 'tls.key': 'KEY' },
        proxy: { username: 'me', password: 'proxy-hush\n' },
      },
      { ca: { 'bundle.pem': 'PEM' } },
    );
    const full: TargetPlan = {
      ...plan,
      endpoint: 'https://store/s3',
      addressing: 'VirtualHost',
      credentials: { secret: 'keys', keys: { accessKey: 'id', secretKey: 'password' } },
      tls: {
        ca: { kind: 'ConfigMap', name: 'ca', key: 'bundle.pem' },
        clientCertificateSecret: 'client',
        serverName: 'my-minio',
      },
      proxy: { url: 'http://proxy:3128', credentialsSecret: 'proxy' },
      encryption: { algorithm: 'AES256' },
    };
    const target = await resolveTarget(full, 'storage', sources, undefined, signal);
    expect(target).toEqual({
      name: 'my-minio',
      endpoint: 'https://store/s3',
      addressing: 'VirtualHost',
      region: 'us-east-1',
      credentials: { accessKey: 'probe', secretKey: 'hush' },
      tls: {
        ca: 'PEM',
        clientCertificate: { certificate: 'CERT', privateKey: 'KEY' },
        serverName: 'my-minio',
      },
      proxy: { url: 'http://proxy:3128', credentials: { username: 'me', password: 'proxy-hush' } },
      encryption: { algorithm: 'AES256' },
    });
    expect(await resolveTarget(full, 'storage', sources, target, signal)).toBe(target);
  });

  it.each([
    {
      name: 'a client certificate without its key',
      more: { tls: { clientCertificateSecret: 'a' } },
      message: 'Secret storage/a has no tls.key; found: tls.crt, username',
    },
    {
      name: 'proxy credentials without a password',
      more: { proxy: { url: 'http://proxy', credentialsSecret: 'a' } },
      message: 'Secret storage/a has no password; found: tls.crt, username',
    },
    {
      name: 'an empty CA bundle',
      more: { tls: { ca: { kind: 'ConfigMap', name: 'ca', key: 'ca.crt' } as const } },
      message: 'ConfigMap storage/ca has no ca.crt; it is empty',
    },
  ])('rejects $name', async ({ more, message }) => {
    const sources = secretsOf({ keys, a: { 'tls.crt': 'hush', username: 'hush' } }, { ca: { 'ca.crt': '' } });
    const resolved = resolveTarget({ ...plan, ...more }, 'storage', sources, undefined, signal);
    await expect(resolved).rejects.toMatchObject({ reason: 'SecretInvalid', message });
  });

  it('uses a web identity only if the administrator has enabled it', async () => {
    const webIdentity = { credentialsFor: () => Promise.resolve({ credentials: keys }) };
    const target: TargetPlan = { ...plan, credentials: { webIdentity: {} } };
    await expect(resolveTarget(target, 'storage', secretsOf({}), undefined, signal)).rejects.toMatchObject({
      reason: 'WebIdentityUnavailable',
    });
    const enabled = { ...secretsOf({}), webIdentity };
    expect(await resolveTarget(target, 'storage', enabled, undefined, signal)).toMatchObject({
      credentials: keys,
    });
  });

  it('reads Secrets only from the namespace of the probe', async () => {
    const resolved = resolveTarget(plan, 'other', secretsOf({ keys }), undefined, signal);
    await expect(resolved).rejects.toMatchObject({ reason: 'SecretMissing' });
  });
});
