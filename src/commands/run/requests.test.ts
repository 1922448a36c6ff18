import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';

import { describe, expect, it } from 'vitest';

import { testContext, temporaryFolder } from '../../../test/support/command-context.ts';
import { InputError } from '../context.ts';
import type { RunFlags } from './flags.ts';
import { durationFlag, type PlannedRun, planRuns } from './requests.ts';

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
): Promise<readonly PlannedRun[]> {
  const context = testContext({ env, stdin: Readable.from([file]) });
  return planRuns({ ...FLAGS, ...flags }, context).then(({ runs }) => runs);
}

async function linesOf(templates: Promise<unknown>): Promise<readonly string[]> {
  const error: unknown = await templates.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(InputError);
  return (error as InputError).lines;
}

function templatesForTargets(target: string[]): Promise<readonly PlannedRun[]> {
  return templatesOf({ filename: ['-'], target }, { env: KEYS, file: FILE + SECRETS });
}

describe('a probe file', () => {
  it('yields one complete run template per target', async () => {
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
          addressing: 'Path',
          region: 'eu-central-1',
          credentials: { accessKey: 'doc-access', secretKey: 'doc-secret', sessionToken: 'doc-token' },
          tls: { ca: 'the-bundle' },
        },
      },
      {
        ...common,
        target: {
          name: 'two',
          endpoint: 'http://two:9000',
          addressing: 'Path',
          region: 'us-east-1',
          credentials: FROM_ENV,
        },
      },
    ]);
  });

  it('lets a Secret from the command line replace the whole Secret from the file', async () => {
    const [one] = await templatesOf(
      { filename: ['-'], secret: ['one-keys=accessKey=given,secretKey=given'] },
      { env: KEYS, file: FILE + SECRETS },
    );
    expect(one?.target.credentials).toEqual({ accessKey: 'given', secretKey: 'given' });
  });

  it('is rejected with one line per incomplete Secret, without secret values', async () => {
    const secret = ['two-keys=secretKey=hunter2', 'one-keys=accessKey=hunter2,secretKey='];
    const lines = await linesOf(templatesOf({ filename: ['-'], secret }, { file: FILE }));
    expect(lines).toEqual([
      expect.stringMatching(
        /^storage\/my-probe, target one: Secret one-keys has accessKey but no secret key; found: accessKey; accepted: accessKey and secretKey, /,
      ),
      expect.stringMatching(
        /^storage\/my-probe, target two: Secret two-keys has secretKey but no access key; found: secretKey; accepted: /,
      ),
    ]);
  });

  it('is rejected if credentials or the CA bundle are missing', async () => {
    expect(await linesOf(templatesOf({ filename: ['-'] }, { file: FILE }))).toEqual([
      expect.stringMatching(/^storage\/my-probe, target one: Secret one-keys not found; accepted: --secret/),
      expect.stringMatching(/^storage\/my-probe, target two: Secret two-keys not found; accepted: --secret/),
    ]);
    expect(await linesOf(templatesOf({ filename: ['-'] }, { env: KEYS, file: FILE }))).toEqual([
      expect.stringMatching(/target one: Secret one-ca not found; accepted: --secret one-ca=/),
    ]);
  });
});

describe('--target', () => {
  it('selects the named targets', async () => {
    expect((await templatesForTargets(['two'])).map(({ target }) => target.name)).toEqual(['two']);
    expect(await templatesForTargets(['two', 'one'])).toHaveLength(2);
  });

  it('lists the known targets if none matches', async () => {
    expect(await linesOf(templatesForTargets(['three']))).toEqual([
      '--target: three not found; accepted: one, two',
    ]);
  });
});

describe('a run without a file', () => {
  it('needs only an endpoint and credentials', async () => {
    expect(await templatesOf({ endpoint: 'http://my-minio.storage.svc:9000' }, { env: KEYS })).toEqual([
      {
        probe: { namespace: 'default', name: 'quick-look' },
        target: {
          name: 'my-minio',
          endpoint: 'http://my-minio.storage.svc:9000',
          addressing: 'Path',
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

  it('prefers flags to environment variables', async () => {
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
      target: { endpoint: 'https://store:9000', region: 'eu-central-1', tls: { ca: 'the-bundle' } },
      bucket: { mode: 'Existing', name: 'canary' },
      objectSizesBytes: [1, 2_048],
      timeoutMs: 3_000,
    });
    expect(template?.target.credentials).toEqual({ accessKey: 'flag', secretKey: 'flag' });
  });

  it('combines --access-key with a secret key from the environment', async () => {
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
  ])('reads the endpoint from $name and names the target $want', async ({ name, value, want }) => {
    const [template] = await templatesOf({}, { env: { ...KEYS, [name]: value } });
    expect(template?.target).toMatchObject({ name: want, endpoint: value });
  });

  it.each([
    {
      name: 'no endpoint',
      flags: {},
      env: {},
      want: /^nothing to probe; accepted: -f FILE or --endpoint URL$/,
    },
    {
      name: 'no credentials',
      flags: { endpoint: 'http://a:9000' },
      env: {},
      want: /^--endpoint: no credentials found;/,
    },
    { name: 'a bad endpoint', flags: { endpoint: 'a:9000' }, env: KEYS, want: /^--endpoint: .*accepted: / },
    { name: 'a bad size', flags: { endpoint: 'http://a', size: ['4KB'] }, env: KEYS, want: /^--size: .*4KB/ },
    { name: 'a bad bucket', flags: { endpoint: 'http://a', bucket: 'A' }, env: KEYS, want: /^--bucket: / },
    { name: 'a bad region', flags: { endpoint: 'http://a', region: 'a b' }, env: KEYS, want: /^--region: / },
    { name: 'a bad timeout', flags: { endpoint: 'http://a', timeout: '5' }, env: KEYS, want: /^--timeout: / },
    {
      name: 'a missing CA bundle',
      flags: { endpoint: 'http://a', caFile: '/missing.pem' },
      env: KEYS,
      want: /^\/missing\.pem: no such file$/,
    },
  ])('is rejected with one line: $name', async ({ flags, env, want }) => {
    expect(await linesOf(templatesOf(flags, { env }))).toEqual([expect.stringMatching(want)]);
  });
});

describe('durationFlag', () => {
  it('parses a duration as in a file', () => {
    expect(durationFlag('--every', '1m30s')).toBe(90_000);
  });

  it.each(['', '5', 'soon', '-1s'])('rejects "%s" and names the flag', (text) => {
    expect(() => durationFlag('--every', text)).toThrow(InputError);
    expect(() => durationFlag('--every', text)).toThrow(/^--every: /);
  });
});
