import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type Minio, runMc, startMinio } from '../../deploy/local/minio.ts';
import { uniqueName } from '../support/unique-name.ts';
import { resultOf, runCli } from './cli.ts';
import { type OpenIdProvider, startOpenIdProvider } from './openid-provider.ts';
import { startOperator } from './operator.ts';
import { conditionOf, createProbeNamespace } from './probes.ts';
import { bucketsOf, probeOf } from './store.ts';

const AUDIENCE = 'minio';
const POLICY = new URL('../../deploy/local/minio/probe-policy.json', import.meta.url).pathname;
const RUN = ['run', '-f', '-', '-o', 'json', '--log-level', 'debug'];

const started = new AsyncDisposableStack();
let provider: OpenIdProvider;
let minio: Minio;
let dir: string;

beforeAll(async () => {
  dir = started.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-identity-'))).path;
  provider = started.use(await startOpenIdProvider());
  minio = started.use(
    await startMinio({
      dir: join(dir, 'minio'),
      env: {
        MINIO_IDENTITY_OPENID_CONFIG_URL: provider.configUrl,
        MINIO_IDENTITY_OPENID_CLIENT_ID: AUDIENCE,
        MINIO_IDENTITY_OPENID_CLAIM_NAME: 'policy',
      },
    }),
  );
  await runMc(minio, ['admin', 'policy', 'create', 'local', 'probe', POLICY]);
});
afterAll(() => started.disposeAsync());

/** Writes a token to a file, as Kubernetes does in a pod. */
async function tokenFile(
  claims: Readonly<Record<string, unknown>> = {},
): Promise<[file: string, token: string]> {
  const token = provider.issue({ sub: 'storage-probe', aud: AUDIENCE, policy: 'probe', ...claims });
  const file = join(dir, uniqueName('token'));
  await writeFile(file, token);
  return [file, token];
}

function probeWithIdentity(name: string): string {
  return probeOf(name, minio.url, { targets: [targetWithIdentity(name)] });
}

function specWithIdentity(name: string): object {
  return { schedule: { interval: '1s' }, targets: [targetWithIdentity(name)] };
}

function targetWithIdentity(name: string): object {
  return { name, endpoint: minio.url, webIdentity: {} };
}

describe('run', () => {
  it.each([
    { name: 'a probe file', args: RUN, input: probeWithIdentity },
    {
      name: 'an endpoint',
      args: () => ['run', '--endpoint', minio.url, '-o', 'json', '--log-level', 'debug'],
      input: () => '',
    },
  ])('exchanges the token of $name for credentials', async ({ args, input }) => {
    const [file, token] = await tokenFile();
    const name = uniqueName('identity');
    const exit = await runCli(typeof args === 'function' ? args() : args, {
      env: { AWS_WEB_IDENTITY_TOKEN_FILE: file },
      input: input(name),
    });
    expect(exit).toMatchObject({ code: 0 });
    expect(resultOf(exit)).toMatchObject({ verdict: 'Passed' });
    expect(await bucketsOf(name, minio)).toEqual([]);
    expect(`${exit.stdout}${exit.stderr}`).not.toContain(token.split('.')[2]);
  });

  it.each([
    { name: 'has expired', claims: { exp: 1_000_000_000 } },
    { name: 'is for another audience', claims: { aud: 'other' } },
    { name: 'names a policy that does not exist', claims: { policy: 'missing' } },
  ])('reports that the store refused a token that $name', async ({ claims }) => {
    const [file, token] = await tokenFile(claims);
    const exit = await runCli(RUN, {
      env: { AWS_WEB_IDENTITY_TOKEN_FILE: file },
      input: probeWithIdentity(uniqueName('identity')),
    });
    expect(exit.code).toBe(1);
    expect(resultOf(exit)).toMatchObject({
      verdict: 'Failed',
      reason: 'WebIdentityRejected',
      failedStep: 'CHECK_BUCKET',
      message: expect.stringMatching(/AssumeRoleWithWebIdentity: 127\.0\.0\.1:\d+ returned 4\d\d /),
    });
    for (const part of token.split('.')) expect(`${exit.stdout}${exit.stderr}`).not.toContain(part);
  });

  it('reports a missing token file without a verdict about the store', async () => {
    const exit = await runCli(RUN, {
      env: { AWS_WEB_IDENTITY_TOKEN_FILE: '/no/such/token' },
      input: probeWithIdentity(uniqueName('identity')),
    });
    expect(exit.code).toBe(2);
    expect(resultOf(exit)).toMatchObject({
      verdict: 'Unknown',
      reason: 'WebIdentityUnavailable',
      message: expect.stringContaining('the web identity token cannot be read: /no/such/token (ENOENT)'),
    });
  });

  it('names the variable if there is no token', async () => {
    const name = uniqueName('identity');
    const exit = await runCli(RUN, { input: probeWithIdentity(name) });
    expect(exit).toMatchObject({
      code: 2,
      stderr: `storage-probe: storage/${name}, target ${name}: webIdentity needs a token; accepted: AWS_WEB_IDENTITY_TOKEN_FILE with the path of a file\n`,
    });
  });
});

describe('the operator', () => {
  it('runs probes with credentials for its token', async () => {
    const [file, token] = await tokenFile();
    const namespace = await createProbeNamespace('identity');
    await using operator = await startOperator({
      namespaces: [namespace.name],
      flags: [`--web-identity-token-file=${file}`, `--web-identity-sts-endpoints=${minio.url}`],
    });
    const name = uniqueName('identity');
    await namespace.apply(name, specWithIdentity(name));
    await namespace.untilHealthy(name);
    expect(operator.output()).not.toContain(token.split('.')[2]);
    expect((await operator.stop()).code).toBe(0);
  });

  it.each([
    { name: 'has no token', flags: [], message: 'web identity is not enabled in the operator' },
    {
      name: 'may not send it to the store',
      flags: ['--web-identity-token-file=/token', '--web-identity-sts-endpoints=https://sts.example.com'],
      message: "the operator's --web-identity-sts-endpoints does not include http://127.0.0.1:",
    },
  ])('runs no such probe if it $name', async ({ flags, message }) => {
    const namespace = await createProbeNamespace('identity');
    await using _ = await startOperator({ namespaces: [namespace.name], flags });
    const name = uniqueName('identity');
    await namespace.apply(name, specWithIdentity(name));
    const { status } = await namespace.until(
      'to be not Ready',
      name,
      (probe) => conditionOf(probe.status, 'Ready')?.status === 'False',
    );
    expect(conditionOf(status, 'Ready')).toMatchObject({
      reason: 'WebIdentityUnavailable',
      message: expect.stringContaining(message),
    });
  });
});
