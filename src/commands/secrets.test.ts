import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { temporaryFolder } from '../../test/support/command-context.ts';
import { InputError } from './context.ts';
import { credentialsFromEnv, lookupIn, readGivenSecrets } from './secrets.ts';

const VALUE = 'hunter2';
const CA = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';

/** The keys of `my-secret` as `--secret my-secret=SOURCE` gives them. */
async function keysOf(source: string, keys = ['accessKey', 'secretKey', 'sessionToken']): Promise<object> {
  const secret = (await readGivenSecrets([`my-secret=${source}`])).get('my-secret');
  return Object.fromEntries(
    keys.map((key) => [key, secret?.(key)]).filter(([, value]) => value !== undefined),
  );
}

async function fileWith(text: string): Promise<string> {
  const file = join(await temporaryFolder(), 'secret.env');
  await writeFile(file, text);
  return file;
}

describe('a Secret given as text', () => {
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
    expect(await keysOf(source)).toEqual(want);
  });
});

describe('a Secret given as a file', () => {
  it.each([
    { name: 'lines', text: 'accessKey=a\nsecretKey=s\n' },
    { name: 'lines of Windows, after a byte order mark', text: '\uFEFFaccessKey=a\r\nsecretKey=s\r\n' },
    { name: 'comments, blank lines and spaces around', text: '# keys\n\n  accessKey=a  \n \nsecretKey=s' },
  ])('of $name', async ({ text }) => {
    expect(await keysOf(await fileWith(text))).toEqual({ accessKey: 'a', secretKey: 's' });
  });

  it('is a CA bundle under whichever key is asked for', async () => {
    expect(await keysOf(await fileWith(CA), ['ca.crt', 'tls.crt'])).toEqual({ 'ca.crt': CA, 'tls.crt': CA });
  });
});

describe('a Secret given as a folder', () => {
  it('has a file for each key, as Kubernetes mounts it', async () => {
    const folder = await temporaryFolder();
    const data = join(folder, '..2026_11_22');
    await mkdir(data);
    await writeFile(join(data, 'accessKey'), 'a\n');
    await writeFile(join(data, 'secretKey'), ' s s \n');
    await symlink('..2026_11_22', join(folder, '..data'));
    for (const key of ['accessKey', 'secretKey']) await symlink(`..data/${key}`, join(folder, key));
    expect(await keysOf(folder)).toEqual({ accessKey: 'a', secretKey: 's s' });
  });
});

describe('what is not a Secret', () => {
  it.each([
    { name: 'a name alone', argument: 'my-secret' },
    { name: 'no name', argument: `=${VALUE}` },
    { name: 'no source', argument: 'my-secret=' },
    { name: 'a value in place of a source', argument: `my-secret=${VALUE}` },
    { name: 'keys in another order of words', argument: `my-secret=key=${VALUE}` },
  ])('is told of without its value: $name', async ({ argument }) => {
    const error: unknown = await readGivenSecrets([argument]).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(InputError);
    expect((error as InputError).lines).toHaveLength(1);
    expect((error as InputError).message).toMatch(/^--secret.*accepted: NAME=FILE/);
    expect((error as InputError).message).not.toContain(VALUE);
  });

  it.each([
    { name: 'a line that is none', text: `accessKey=a\n${VALUE}\n` },
    { name: 'YAML', text: `secretKey: ${VALUE}\n` },
  ])('is told of without its value: a file with $name', async ({ text }) => {
    const reading = keysOf(await fileWith(text));
    await expect(reading).rejects.toThrow('--secret my-secret: a line is not KEY=VALUE');
    await expect(reading).rejects.not.toThrow(VALUE);
  });

  it('is a file that is too large', async () => {
    await expect(keysOf(await fileWith(`${CA}${'x'.repeat(1_048_576)}`))).rejects.toThrow('is too large');
  });

  it('is a file without an end', async () => {
    await expect(keysOf('/dev/zero')).rejects.toThrow(InputError);
  });
});

describe('looking up a key', () => {
  const documents = new Map([
    [
      'storage/my-secret',
      { accessKey: 'doc', secretKey: new TextEncoder().encode('dÖc'), sessionToken: 'doc', empty: '' },
    ],
  ]);

  it('finds what the files hold, by namespace', () => {
    const lookup = lookupIn(new Map(), documents);
    expect(lookup('storage', 'my-secret', 'accessKey')).toBe('doc');
    expect(lookup('storage', 'my-secret', 'secretKey')).toBe('dÖc');
    expect(lookup('storage', 'my-secret', 'other')).toBeUndefined();
    expect(lookup('default', 'my-secret', 'accessKey')).toBeUndefined();
  });

  it('takes a given Secret in place of that of the files, as a whole', async () => {
    const given = await readGivenSecrets(['my-secret=accessKey=given,secretKey=given']);
    const lookup = lookupIn(given, documents);
    expect(lookup('storage', 'my-secret', 'accessKey')).toBe('given');
    expect(lookup('storage', 'my-secret', 'sessionToken')).toBeUndefined();
    expect(lookup('any', 'my-secret', 'secretKey')).toBe('given');
  });

  it('takes an empty value for none', async () => {
    const lookup = lookupIn(await readGivenSecrets(['given=accessKey=,secretKey=s']), documents);
    expect(lookup('storage', 'given', 'accessKey')).toBeUndefined();
    expect(lookup('storage', 'my-secret', 'empty')).toBeUndefined();
  });
});

describe('credentials of the environment', () => {
  const AWS = { AWS_ACCESS_KEY_ID: 'aws', AWS_SECRET_ACCESS_KEY: 'aws-secret' };
  const MINIO = { MINIO_ACCESS_KEY: 'minio', MINIO_SECRET_KEY: 'minio-secret' };
  const ROOT = { MINIO_ROOT_USER: 'root', MINIO_ROOT_PASSWORD: 'root-secret' };
  const TOKEN = { AWS_SESSION_TOKEN: 'token' };

  it.each([
    { name: 'none', env: {}, want: undefined },
    { name: "AWS's", env: AWS, want: { accessKey: 'aws', secretKey: 'aws-secret' } },
    {
      name: "AWS's, temporary",
      env: { ...AWS, ...TOKEN },
      want: { accessKey: 'aws', secretKey: 'aws-secret', sessionToken: 'token' },
    },
    { name: "MinIO's", env: MINIO, want: { accessKey: 'minio', secretKey: 'minio-secret' } },
    { name: "MinIO's root", env: ROOT, want: { accessKey: 'root', secretKey: 'root-secret' } },
    {
      name: "AWS's first",
      env: { ...ROOT, ...MINIO, ...AWS },
      want: { accessKey: 'aws', secretKey: 'aws-secret' },
    },
    {
      name: "MinIO's, without the token of AWS",
      env: { ...MINIO, ...TOKEN },
      want: { accessKey: 'minio', secretKey: 'minio-secret' },
    },
    {
      name: 'the first whole pair',
      env: { AWS_ACCESS_KEY_ID: 'aws', ...MINIO },
      want: { accessKey: 'minio', secretKey: 'minio-secret' },
    },
    { name: 'two halves', env: { AWS_ACCESS_KEY_ID: 'aws', MINIO_SECRET_KEY: 'minio' }, want: undefined },
    { name: 'an empty half', env: { ...AWS, AWS_SECRET_ACCESS_KEY: '' }, want: undefined },
    {
      name: 'an empty token',
      env: { ...AWS, AWS_SESSION_TOKEN: '' },
      want: { accessKey: 'aws', secretKey: 'aws-secret' },
    },
  ])('$name', ({ env, want }) => {
    expect(credentialsFromEnv(env)).toEqual(want);
  });

  it.each([
    {
      name: 'the secret key beside an access key that is given',
      given: { accessKey: 'given' },
      env: { ...TOKEN, AWS_SECRET_ACCESS_KEY: 'aws-secret' },
      want: { accessKey: 'given', secretKey: 'aws-secret' },
    },
    {
      name: 'the access key beside a secret key that is given',
      given: { secretKey: 'given' },
      env: MINIO,
      want: { accessKey: 'minio', secretKey: 'given' },
    },
    {
      name: 'nothing where both are given',
      given: { accessKey: 'given', secretKey: 'given' },
      env: { ...AWS, ...TOKEN },
      want: { accessKey: 'given', secretKey: 'given' },
    },
  ])('give $name', ({ given, env, want }) => {
    expect(credentialsFromEnv(env, given)).toEqual(want);
  });
});
