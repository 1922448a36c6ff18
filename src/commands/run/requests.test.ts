import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';

import { describe, expect, it } from 'vitest';

import { contextOf, temporaryFolder } from '../../../test/support/command-context.ts';
import { InputError } from '../context.ts';
import type { RunFlags } from './flags.ts';
import type { RunTemplate } from '../../api/run-template.ts';
import { durationFlag, runTemplates } from './requests.ts';

const FLAGS: RunFlags = { output: 'text', count: '1', flushTimeout: '5s', logLevel: 'silent' };
const KEYS = { AWS_ACCESS_KEY_ID: 'env-access', AWS_SECRET_ACCESS_KEY: 'env-secret' };
const FROM_ENV = { accessKey: 'env-access', secretKey: 'env-secret' };

const FILE = `\
apiVersion: storageprobe.dev/v1alpha1
kind: StorageProbe
metadata: { name: my-probe, namespace: storage }
spec:
  timeout: 7s
  bucket: { mode: Existing, name: canary }
  objects: [{ size: 4Ki }, { size: 1Mi }]
  targets:
    - name: one
      endpoint: https://one:9000
      region: eu-central-1
      credentialsSecretRef: { name: one-keys }
      tls: { caSecretRef: { name: one-ca, key: ca.crt } }
    - name: two
      endpoint: http://two:9000
      credentialsSecretRef: { name: two-keys }
`;
const SECRETS = `---
apiVersion: v1
kind: Secret
metadata: { name: one-keys, namespace: storage }
stringData: { accessKey: doc-access, secretKey: doc-secret, sessionToken: doc-token }
---
apiVersion: v1
kind: Secret
metadata: { name: one-ca, namespace: storage }
stringData: { ca.crt: the-bundle }
`;

function templatesOf(
  flags: Partial<RunFlags>,
  { env = {}, file = '' }: { env?: Record<string, string>; file?: string } = {},
): Promise<RunTemplate[]> {
  return runTemplates({ ...FLAGS, ...flags }, contextOf({ env, stdin: Readable.from([file]) }));
}

async function linesOf(templates: Promise<unknown>): Promise<readonly string[]> {
  const error: unknown = await templates.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(InputError);
  return (error as InputError).lines;
}

function onlyThe(target: string[]): Promise<RunTemplate[]> {
  return templatesOf({ filename: ['-'], target }, { env: KEYS, file: FILE + SECRETS });
}

describe('a file', () => {
  it('gives a run for each target, with all that it needs', async () => {
    const templates = await templatesOf({ filename: ['-'] }, { env: KEYS, file: FILE + SECRETS });
    const common = {
      probe: { namespace: 'storage', name: 'my-probe' },
      bucket: { mode: 'Existing', name: 'canary' },
      objectSizesBytes: [4_096, 1_048_576],
      timeoutMs: 7_000,
      cleanUpTimeoutMs: 10_000,
    };
    expect(templates).toEqual([
      {
        ...common,
        target: {
          name: 'one',
          endpoint: 'https://one:9000',
          region: 'eu-central-1',
          credentials: { accessKey: 'doc-access', secretKey: 'doc-secret', sessionToken: 'doc-token' },
          ca: 'the-bundle',
        },
      },
      {
        ...common,
        target: { name: 'two', endpoint: 'http://two:9000', region: 'us-east-1', credentials: FROM_ENV },
      },
    ]);
  });

  it('takes a Secret of the command line before its own, and all of it', async () => {
    const [one] = await templatesOf(
      { filename: ['-'], secret: ['one-keys=accessKey=given,secretKey=given'] },
      { env: KEYS, file: FILE + SECRETS },
    );
    expect(one?.target.credentials).toEqual({ accessKey: 'given', secretKey: 'given' });
  });

  it('lists all that is missing, once, and echoes no value', async () => {
    const secret = ['two-keys=secretKey=hunter2', 'one-keys=accessKey=hunter2,secretKey='];
    const lines = await linesOf(templatesOf({ filename: ['-'], secret }, { file: FILE }));
    expect(lines).toEqual([
      'storage/my-probe, target one: Secret one-keys has no secretKey; accepted: accessKey and secretKey',
      'storage/my-probe, target two: Secret two-keys has no accessKey; accepted: accessKey and secretKey',
    ]);
  });

  it('needs credentials, and the CA bundle that it names', async () => {
    expect(await linesOf(templatesOf({ filename: ['-'] }, { file: FILE }))).toEqual([
      expect.stringMatching(
        /^storage\/my-probe, target one: Secret one-keys is not there; accepted: --secret/,
      ),
      expect.stringMatching(
        /^storage\/my-probe, target two: Secret two-keys is not there; accepted: --secret/,
      ),
    ]);
    expect(await linesOf(templatesOf({ filename: ['-'] }, { env: KEYS, file: FILE }))).toEqual([
      expect.stringMatching(
        /target one: key ca\.crt of Secret one-ca is not there; accepted: --secret one-ca=/,
      ),
    ]);
  });
});

describe('--target', () => {
  it('leaves the others out', async () => {
    expect((await onlyThe(['two'])).map(({ target }) => target.name)).toEqual(['two']);
    expect(await onlyThe(['two', 'one'])).toHaveLength(2);
  });

  it('names what there is when none fits', async () => {
    expect(await linesOf(onlyThe(['three']))).toEqual(['--target: three is not there; accepted: one, two']);
  });
});

describe('a quick look', () => {
  it('needs an endpoint and keys, and no more', async () => {
    expect(await templatesOf({ endpoint: 'http://my-minio.storage.svc:9000' }, { env: KEYS })).toEqual([
      {
        probe: { namespace: 'default', name: 'quick-look' },
        target: {
          name: 'my-minio',
          endpoint: 'http://my-minio.storage.svc:9000',
          region: 'us-east-1',
          credentials: FROM_ENV,
        },
        bucket: { mode: 'Ephemeral' },
        objectSizesBytes: [4_096],
        timeoutMs: 20_000,
        cleanUpTimeoutMs: 10_000,
      },
    ]);
  });

  it('takes what the flags say before the environment', async () => {
    const ca = join(await temporaryFolder(), 'ca.pem');
    await writeFile(ca, 'the-bundle');
    const flags = {
      endpoint: 'https://store:9000',
      accessKey: 'flag',
      secretKey: 'flag',
      region: 'eu-central-1',
      caFile: ca,
      bucket: 'canary',
      size: ['1', '2Ki'],
      timeout: '3s',
    };
    const env = {
      ...KEYS,
      AWS_SESSION_TOKEN: 'token',
      AWS_REGION: 'other',
      AWS_CA_BUNDLE: '/missing',
      AWS_ENDPOINT_URL: 'http://other:9000',
    };
    const [template] = await templatesOf(flags, { env });
    expect(template).toMatchObject({
      target: { endpoint: 'https://store:9000', region: 'eu-central-1', ca: 'the-bundle' },
      bucket: { mode: 'Existing', name: 'canary' },
      objectSizesBytes: [1, 2_048],
      timeoutMs: 3_000,
    });
    expect(template?.target.credentials).toEqual({ accessKey: 'flag', secretKey: 'flag' });
  });

  it('takes the secret key of the environment beside --access-key, as its help says', async () => {
    const [template] = await templatesOf(
      { endpoint: 'http://store:9000', accessKey: 'flag' },
      { env: { MINIO_SECRET_KEY: 'env-secret' } },
    );
    expect(template?.target.credentials).toEqual({ accessKey: 'flag', secretKey: 'env-secret' });
  });

  it.each([
    { name: 'AWS_ENDPOINT_URL_S3', value: 'http://a:9000', want: 'a' },
    { name: 'AWS_ENDPOINT_URL', value: 'http://b:9000', want: 'b' },
    { name: 'MINIO_ENDPOINT', value: 'http://10.0.0.7:9000', want: '10-0-0-7' },
    { name: 'MINIO_ENDPOINT', value: 'http://[::1]:9000', want: '1' },
    { name: 'MINIO_ENDPOINT', value: 'http://MY-Store.example.com', want: 'my-store' },
  ])('takes the endpoint of $name, and names the target $want', async ({ name, value, want }) => {
    const [template] = await templatesOf({}, { env: { ...KEYS, [name]: value } });
    expect(template?.target).toMatchObject({ name: want, endpoint: value });
  });

  it.each([
    {
      name: 'nothing at all',
      flags: {},
      env: {},
      want: /^nothing to probe; accepted: -f FILE, or --endpoint URL$/,
    },
    {
      name: 'no keys',
      flags: { endpoint: 'http://a:9000' },
      env: {},
      want: /^--endpoint: needs credentials;/,
    },
    { name: 'a bad endpoint', flags: { endpoint: 'a:9000' }, env: KEYS, want: /^--endpoint: .*accepted: / },
    { name: 'a bad size', flags: { endpoint: 'http://a', size: ['4KB'] }, env: KEYS, want: /^--size: .*4KB/ },
    { name: 'a bad bucket', flags: { endpoint: 'http://a', bucket: 'A' }, env: KEYS, want: /^--bucket: / },
    { name: 'a bad region', flags: { endpoint: 'http://a', region: 'a b' }, env: KEYS, want: /^--region: / },
    { name: 'a bad timeout', flags: { endpoint: 'http://a', timeout: '5' }, env: KEYS, want: /^--timeout: / },
    {
      name: 'no such CA bundle',
      flags: { endpoint: 'http://a', caFile: '/missing.pem' },
      env: KEYS,
      want: /^\/missing\.pem: no such file$/,
    },
  ])('is refused with one line: $name', async ({ flags, env, want }) => {
    expect(await linesOf(templatesOf(flags, { env }))).toEqual([expect.stringMatching(want)]);
  });
});

describe('a duration', () => {
  it('is read as in a file', () => {
    expect(durationFlag('--every', '1m30s')).toBe(90_000);
  });

  it.each(['', '5', 'soon', '-1s'])('that is none is refused by the name of its flag: "%s"', (text) => {
    expect(() => durationFlag('--every', text)).toThrow(InputError);
    expect(() => durationFlag('--every', text)).toThrow(/^--every: /);
  });
});
