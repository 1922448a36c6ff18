import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { temporaryFolder } from '../../test/support/command-context.ts';
import { InputError } from './context.ts';
import { credentialsFromEnv, readSecretFlags, secretLookup } from './secrets.ts';

const VALUE = 'hunter2';
const CA = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';

/** Reads the keys of `--secret my-secret=SOURCE`. */
async function keysFrom(source: string, keys = ['accessKey', 'secretKey', 'sessionToken']): Promise<object> {
  const secret = (await readSecretFlags([`my-secret=${source}`])).get('my-secret');
  return Object.fromEntries(
    keys.map((key) => [key, secret?.(key)]).filter(([, value]) => value !== undefined),
  );
}

async function fileWith(text: string): Promise<string> {
  const file = join(await temporaryFolder(), 'secret.env');
  await writeFile(file, text);
  return file;
}

describe('a Secret given as text is parsed', () => {
  it.each([
    { source: `accessKey=a,secretKey=${VALUE}`, want: { accessKey: 'a', secretKey: VALUE } },
    { source: `secretKey=${VALUE},accessKey=a`, want: { accessKey: 'a', secretKey: VALUE } },
    {
      source: 'sessionToken=t,accessKey=a,secretKey=s',
      want: { accessKey: 'a', secretKey: 's', sessionToken: 't' },
    },
    { source: 'accessKey=a,secretKey=s,t=u,v', want: { accessKey: 'a', secretKey: 's,t=u,v' } },
    { source: 'accessKey=a,secretKey=a+/b==', want: { accessKey: 'a', secretKey: 'a+/b==' } },
    { source: 'accessKey=a', want: { accessKey: 'a' } },
  ])('$source', async ({ source, want }) => {
    expect(await keysFrom(source)).toEqual(want);
  });
});

describe('a Secret given as a file', () => {
  it.each([
    { name: 'key=value lines', text: 'accessKey=a\nsecretKey=s\n' },
    { name: 'Windows line endings and a byte order mark', text: '\uFEFFaccessKey=a\r\nsecretKey=s\r\n' },
    {
      name: 'comments, blank lines and surrounding spaces',
      text: '# keys\n\n  accessKey=a  \n \nsecretKey=s',
    },
  ])('can have $name', async ({ text }) => {
    expect(await keysFrom(await fileWith(text))).toEqual({ accessKey: 'a', secretKey: 's' });
  });

  it('can be a CA bundle, which is returned for every key', async () => {
    expect(await keysFrom(await fileWith(CA), ['ca.crt', 'tls.crt'])).toEqual({
      'ca.crt': CA,
      'tls.crt': CA,
    });
  });
});

describe('a Secret given as a directory', () => {
  it('has one file per key, as in a Kubernetes volume', async () => {
    const folder = await temporaryFolder();
    const data = join(folder, '..2026_11_22');
    await mkdir(data);
    await writeFile(join(data, 'accessKey'), 'a\n');
    await writeFile(join(data, 'secretKey'), ' s s \n');
    await symlink('..2026_11_22', join(folder, '..data'));
    for (const key of ['accessKey', 'secretKey']) await symlink(`..data/${key}`, join(folder, key));
    expect(await keysFrom(folder)).toEqual({ accessKey: 'a', secretKey: 's s' });
  });
});

describe('an invalid Secret', () => {
  it.each([
    { name: 'name only', argument: 'my-secret' },
    { name: 'no name', argument: `=${VALUE}` },
    { name: 'no source', argument: 'my-secret=' },
    { name: 'a value instead of a source', argument: `my-secret=${VALUE}` },
    { name: 'an unknown key', argument: `my-secret=key=${VALUE}` },
  ])('is reported without its value: $name', async ({ argument }) => {
    const error: unknown = await readSecretFlags([argument]).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(InputError);
    expect((error as InputError).lines).toHaveLength(1);
    expect((error as InputError).message).toMatch(/^--secret.*accepted: NAME=FILE/);
    expect((error as InputError).message).not.toContain(VALUE);
  });

  it.each([
    { name: 'a line that is not KEY=VALUE', text: `accessKey=a\n${VALUE}\n` },
    { name: 'YAML', text: `secretKey: ${VALUE}\n` },
  ])('is reported without its value: a file with $name', async ({ text }) => {
    const reading = keysFrom(await fileWith(text));
    await expect(reading).rejects.toThrow('--secret my-secret: a line is not KEY=VALUE');
    await expect(reading).rejects.not.toThrow(VALUE);
  });

  it('is rejected if its file is too large', async () => {
    await expect(keysFrom(await fileWith(`${CA}${'x'.repeat(1_048_576)}`))).rejects.toThrow('is too large');
  });

  it('is rejected if its file is endless', async () => {
    await expect(keysFrom('/dev/zero')).rejects.toThrow(InputError);
  });
});

describe('secretLookup', () => {
  const documents = new Map([
    [
      'storage/my-secret',
      { accessKey: 'doc', secretKey: new TextEncoder().encode('dÖc'), sessionToken: 'doc', empty: '' },
    ],
  ]);

  it('finds Secrets from files in their namespace', () => {
    const lookup = secretLookup(new Map(), documents);
    expect(lookup('storage', 'my-secret', 'accessKey')).toBe('doc');
    expect(lookup('storage', 'my-secret', 'secretKey')).toBe('dÖc');
    expect(lookup('storage', 'my-secret', 'other')).toBeUndefined();
    expect(lookup('default', 'my-secret', 'accessKey')).toBeUndefined();
  });

  it('replaces a whole Secret from the files by one from the command line', async () => {
    const given = await readSecretFlags(['my-secret=accessKey=given,secretKey=given']);
    const lookup = secretLookup(given, documents);
    expect(lookup('storage', 'my-secret', 'accessKey')).toBe('given');
    expect(lookup('storage', 'my-secret', 'sessionToken')).toBeUndefined();
    expect(lookup('any', 'my-secret', 'secretKey')).toBe('given');
  });

  it('treats an empty value as missing', async () => {
    const lookup = secretLookup(await readSecretFlags(['given=accessKey=,secretKey=s']), documents);
    expect(lookup('storage', 'given', 'accessKey')).toBeUndefined();
    expect(lookup('storage', 'my-secret', 'empty')).toBeUndefined();
  });
});

describe('credentials from the environment', () => {
  const AWS = { AWS_ACCESS_KEY_ID: 'aws', AWS_SECRET_ACCESS_KEY: 'aws-secret' };
  const MINIO = { MINIO_ACCESS_KEY: 'minio', MINIO_SECRET_KEY: 'minio-secret' };
  const ROOT = { MINIO_ROOT_USER: 'root', MINIO_ROOT_PASSWORD: 'root-secret' };
  const TOKEN = { AWS_SESSION_TOKEN: 'token' };

  it.each([
    { name: 'none without variables', env: {}, want: undefined },
    { name: 'AWS keys', env: AWS, want: { accessKey: 'aws', secretKey: 'aws-secret' } },
    {
      name: 'AWS keys with a session token',
      env: { ...AWS, ...TOKEN },
      want: { accessKey: 'aws', secretKey: 'aws-secret', sessionToken: 'token' },
    },
    { name: 'MinIO keys', env: MINIO, want: { accessKey: 'minio', secretKey: 'minio-secret' } },
    { name: 'MinIO root user', env: ROOT, want: { accessKey: 'root', secretKey: 'root-secret' } },
    {
      name: 'AWS keys before MinIO keys',
      env: { ...ROOT, ...MINIO, ...AWS },
      want: { accessKey: 'aws', secretKey: 'aws-secret' },
    },
    {
      name: 'MinIO keys without the AWS token',
      env: { ...MINIO, ...TOKEN },
      want: { accessKey: 'minio', secretKey: 'minio-secret' },
    },
    {
      name: 'the first complete pair',
      env: { AWS_ACCESS_KEY_ID: 'aws', ...MINIO },
      want: { accessKey: 'minio', secretKey: 'minio-secret' },
    },
    {
      name: 'none from incomplete pairs',
      env: { AWS_ACCESS_KEY_ID: 'aws', MINIO_SECRET_KEY: 'minio' },
      want: undefined,
    },
    { name: 'none with an empty secret key', env: { ...AWS, AWS_SECRET_ACCESS_KEY: '' }, want: undefined },
    {
      name: 'AWS keys without an empty session token',
      env: { ...AWS, AWS_SESSION_TOKEN: '' },
      want: { accessKey: 'aws', secretKey: 'aws-secret' },
    },
  ])('$name', ({ env, want }) => {
    expect(credentialsFromEnv(env)).toEqual(want);
  });

  it.each([
    {
      name: 'the secret key if only the access key is given',
      given: { accessKey: 'given' },
      env: { ...TOKEN, AWS_SECRET_ACCESS_KEY: 'aws-secret' },
      want: { accessKey: 'given', secretKey: 'aws-secret' },
    },
    {
      name: 'the access key if only the secret key is given',
      given: { secretKey: 'given' },
      env: MINIO,
      want: { accessKey: 'minio', secretKey: 'given' },
    },
    {
      name: 'nothing if both keys are given',
      given: { accessKey: 'given', secretKey: 'given' },
      env: { ...AWS, ...TOKEN },
      want: { accessKey: 'given', secretKey: 'given' },
    },
  ])('provide $name', ({ given, env, want }) => {
    expect(credentialsFromEnv(env, given)).toEqual(want);
  });
});
