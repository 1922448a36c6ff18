import { describe, expect, it } from 'vitest';

import type { TargetPlan } from '../api/plan.ts';
import { ReasonedError } from '../api/reasons.ts';
import { resolveTarget } from './resolve-target.ts';
import type { SecretReader } from './secret-reader.ts';

const signal = new AbortController().signal;
const plan: TargetPlan = {
  name: 'my-minio',
  endpoint: 'http://my-minio.storage.svc:9000',
  region: 'us-east-1',
  credentialsSecret: 'keys',
};

/** A reader of Secrets in the namespace `storage`, given in plain text. */
function secretsOf(contents: Readonly<Record<string, Readonly<Record<string, string>>>>): SecretReader {
  return {
    read: (namespace, name) => {
      const found = namespace === 'storage' ? contents[name] : undefined;
      if (found === undefined) return Promise.reject(new ReasonedError('SecretMissing', 'not found'));
      const encoded = Object.entries(found).map(([key, text]) => [key, Buffer.from(text).toString('base64')]);
      return Promise.resolve(Object.fromEntries(encoded));
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
    const full = { ...plan, caSecret: { name: 'ca', key: 'ca.crt' } };
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
    { name: 'no accessKey', keys: { secretKey: 'hush' }, message: 'Secret storage/keys has no accessKey' },
    {
      name: 'an empty secretKey',
      keys: { ...keys, secretKey: '' },
      message: 'Secret storage/keys has no secretKey',
    },
    {
      name: 'a secretKey with spaces',
      keys,
      message: 'secretKey in Secret storage/keys must be printable ASCII without spaces',
    },
  ])('rejects a Secret with $name, without showing its values', async ({ keys: values, message }) => {
    const resolved = resolveTarget(plan, 'storage', secretsOf({ keys: values }), undefined, signal);
    await expect(resolved).rejects.toMatchObject({ reason: 'SecretInvalid', message });
  });

  it('reads Secrets only from the namespace of the probe', async () => {
    const resolved = resolveTarget(plan, 'other', secretsOf({ keys }), undefined, signal);
    await expect(resolved).rejects.toMatchObject({ reason: 'SecretMissing' });
  });
});
