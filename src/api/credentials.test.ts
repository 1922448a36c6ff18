import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { type CredentialKeys, credentialsFrom } from './credentials.ts';
import { ReasonedError } from './reasons.ts';
import type { Credentials } from './run.ts';

const PAIR = { accessKey: 'probe', secretKey: 'hush/hush+hush=' };

function credentialsIn(
  values: Readonly<Record<string, string | Uint8Array>>,
  keys?: CredentialKeys,
): Credentials {
  const data = Object.entries(values).map(([key, value]) => [key, Buffer.from(value as string)]);
  return credentialsFrom(Object.fromEntries(data), { keys, secret: 'Secret storage/keys' });
}

function messageOf(values: Readonly<Record<string, string | Uint8Array>>, keys?: CredentialKeys): string {
  const error = errorOf(() => credentialsIn(values, keys));
  if (error?.reason !== 'SecretInvalid') throw new Error('not rejected', { cause: error });
  return error.message;
}

function errorOf(read: () => unknown): ReasonedError | undefined {
  try {
    read();
  } catch (error) {
    if (error instanceof ReasonedError) return error;
    throw error;
  }
  return undefined;
}

describe('recognises the keys', () => {
  it.each([
    ['accessKey', 'secretKey'],
    ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'],
    ['aws_access_key_id', 'aws_secret_access_key'],
    ['rootUser', 'rootPassword'],
    ['root-user', 'root-password'],
    ['MINIO_ROOT_USER', 'MINIO_ROOT_PASSWORD'],
    ['MINIO_ACCESS_KEY', 'MINIO_SECRET_KEY'],
    ['CONSOLE_ACCESS_KEY', 'CONSOLE_SECRET_KEY'],
    ['access_key', 'secret_key'],
    ['accesskey', 'secretkey'],
    ['access-key', 'secret-key'],
    ['accessKeyId', 'secretAccessKey'],
    ['access_key_id', 'access_key_secret'],
    ['COSI_S3_ACCESS_KEY_ID', 'COSI_S3_ACCESS_SECRET_KEY'],
    ['S3_ACCESS_KEY', 'S3_SECRET_KEY'],
  ])('%s and %s', (access, secret) => {
    expect(
      credentialsIn({ endpoint: 'x', [access]: PAIR.accessKey, [secret]: PAIR.secretKey, zone: 'y' }),
    ).toEqual(PAIR);
  });

  it.each([
    {
      name: 'sessionToken',
      values: { ...PAIR, sessionToken: 'token' },
    },
    {
      name: 'AWS_SESSION_TOKEN',
      values: {
        AWS_ACCESS_KEY_ID: PAIR.accessKey,
        AWS_SECRET_ACCESS_KEY: PAIR.secretKey,
        AWS_SESSION_TOKEN: 'token',
      },
    },
  ])('$name', ({ values }) => {
    expect(credentialsIn(values)).toEqual({ ...PAIR, sessionToken: 'token' });
  });

  it('of the first complete pair, and does not mix pairs', () => {
    const values = {
      accessKey: '',
      secretKey: 'other',
      AWS_ACCESS_KEY_ID: 'other',
      rootUser: PAIR.accessKey,
      rootPassword: PAIR.secretKey,
      AWS_SESSION_TOKEN: 'other',
    };
    expect(credentialsIn(values)).toEqual(PAIR);
  });

  it.each([
    {
      name: 'config.env of the MinIO operator',
      values: {
        'config.env': `# tenant\nexport MINIO_BROWSER="on"\nexport MINIO_ROOT_USER="probe"\r\nexport MINIO_ROOT_PASSWORD='hush/hush+hush='\n`,
      },
    },
    {
      name: 'cloud of Velero',
      values: {
        cloud: `[default]\naws_access_key_id = probe\naws_secret_access_key = hush/hush+hush=\n[other]\naws_access_key_id = other\n`,
      },
    },
    {
      name: 'BucketInfo of COSI',
      values: {
        BucketInfo: JSON.stringify({
          metadata: { name: 'bc' },
          spec: {
            bucketName: 'b',
            secretS3: { endpoint: 'x', accessKeyID: 'probe', accessSecretKey: 'hush/hush+hush=' },
          },
        }),
      },
    },
  ])('in $name', ({ values }) => {
    expect(credentialsIn(values)).toEqual(PAIR);
  });
});

describe('named keys', () => {
  const keys = { accessKey: 'id', secretKey: 'password', sessionToken: 'token' };

  it('override the usual ones', () => {
    expect(
      credentialsIn({ id: 'probe', password: 'hush', token: 't', accessKey: 'x', secretKey: 'x' }, keys),
    ).toEqual({ accessKey: 'probe', secretKey: 'hush', sessionToken: 't' });
  });

  it('must exist', () => {
    expect(messageOf({ id: 'probe', password: 'hush', accessKey: 'x' }, keys)).toBe(
      'Secret storage/keys has no token; found: accessKey, id, password',
    );
    expect(messageOf({}, { accessKey: 'constructor', secretKey: 'b' })).toBe(
      'Secret storage/keys has no constructor; it is empty',
    );
  });
});

describe('removes what tools add to a value', () => {
  it.each([
    { name: 'a line break', wrap: (text: string) => `${text}\n` },
    { name: 'a Windows line break', wrap: (text: string) => `${text}\r\n` },
    { name: 'several line breaks', wrap: (text: string) => `${text}\n\n` },
    { name: 'surrounding spaces', wrap: (text: string) => `  ${text}\t` },
    { name: 'double quotes', wrap: (text: string) => `"${text}"\n` },
    { name: 'single quotes', wrap: (text: string) => `'${text}'` },
    { name: 'a UTF-8 byte order mark', wrap: (text: string) => `\uFEFF${text}` },
    { name: 'UTF-16 from PowerShell', wrap: (text: string) => Buffer.from(`\uFEFF${text}\r\n`, 'utf16le') },
  ])('$name', ({ wrap }) => {
    expect(credentialsIn({ accessKey: wrap(PAIR.accessKey), secretKey: wrap(PAIR.secretKey) })).toEqual(PAIR);
  });

  it('keeps spaces and letters with accents inside a secret key', () => {
    expect(credentialsIn({ ...PAIR, secretKey: 'mot de passé' }).secretKey).toBe('mot de passé');
  });
});

describe('rejects, without showing a value,', () => {
  it.each([
    {
      name: 'half a pair',
      values: { accessKey: 'hunter2', AWS_SECRET_ACCESS_KEY: 'hunter2' },
      want: /^Secret storage\/keys has accessKey but no secret key; found: AWS_SECRET_ACCESS_KEY, accessKey; accepted: accessKey and secretKey, .* or the names in credentialsSecretRef\.keys$/,
    },
    {
      name: 'the other half of a pair',
      values: { 'config.env': 'MINIO_ROOT_PASSWORD=hunter2' },
      want: /has MINIO_ROOT_PASSWORD but no access key; found: config\.env; /,
    },
    {
      name: 'other keys',
      values: { user: 'hunter2' },
      want: /no pair of keys that is recognised; found: user; /,
    },
    { name: 'an empty Secret', values: {}, want: /recognised; it is empty; accepted: / },
    { name: 'an empty value', values: { ...PAIR, secretKey: '' }, want: /found: accessKey; / },
    { name: 'only spaces', values: { ...PAIR, secretKey: ' \n' }, want: /has no secretKey/ },
    {
      name: 'an access key with spaces',
      values: { ...PAIR, accessKey: 'hunter2 x' },
      want: /^accessKey in Secret storage\/keys must be printable ASCII without spaces$/,
    },
    {
      name: 'a secret key of two lines',
      values: { ...PAIR, secretKey: 'hunter2\nhunter2' },
      want: /^secretKey in Secret storage\/keys must be one line of text$/,
    },
    {
      name: 'bytes that are not text',
      values: { ...PAIR, secretKey: Buffer.from([0x68, 0xff, 0x80]) },
      want: /^secretKey in Secret storage\/keys is not text; accepted: UTF-8$/,
    },
    { name: 'invalid JSON', values: { BucketInfo: '{"hunter2' }, want: /found: BucketInfo; / },
    { name: 'JSON null', values: { BucketInfo: 'null' }, want: /found: BucketInfo; / },
    {
      name: 'a key that may be a secret, because it has no value',
      values: { hunter2: '', hunter22: '==' },
      want: /it is empty/,
    },
  ])('$name', ({ values, want }) => {
    const message = messageOf(values);
    expect(message).toMatch(want);
    expect(message).not.toContain('hunter2');
  });

  it('a long list of keys', () => {
    const values = Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`k${index}`, 'x']));
    expect(messageOf(values)).toMatch(/found: k0, k1, .* and 8 more; accepted/);
  });
});

it('never throws anything but SecretInvalid, and never quotes a value, whatever the Secret contains', () => {
  const text = fc.string({ minLength: 12, maxLength: 40, unit: 'binary' });
  const document = fc.constantFrom('accessKey', 'config.env', 'BucketInfo', 'cloud');
  fc.assert(
    fc.property(document, text, text, (key, accessKey, secretKey) => {
      const error = errorOf(() => credentialsIn({ [key]: accessKey, secretKey }));
      expect(error?.reason ?? 'SecretInvalid').toBe('SecretInvalid');
      expect(error?.message ?? '').not.toContain(accessKey);
      expect(error?.message ?? '').not.toContain(secretKey);
    }),
  );
});
