import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  type CertificateAuthority,
  type LeafOptions,
  createAuthority,
} from '../../deploy/local/certificates.ts';
import { type Minio, startMinio } from '../../deploy/local/minio.ts';
import type { Reason } from '../../src/api/reasons.ts';
import { uniqueName } from '../support/unique-name.ts';
import { resultOf, runCli } from './cli.ts';
import { startFaultProxy } from './fault-proxy.ts';
import { probeOf, sharedStore, targetOf, user } from './store.ts';

const RUN = ['run', '-f', '-', '-o', 'json'];
const HOUR_MS = 3_600_000;

let authority: CertificateAuthority;
let caFile: string;
const started = new AsyncDisposableStack();
beforeAll(async () => {
  const { path } = started.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-tls-')));
  authority = await createAuthority();
  caFile = join(path, 'ca.pem');
  await writeFile(caFile, authority.certificate);
});
afterAll(() => started.disposeAsync());

function probeWithCa(name: string, endpoint: string): string {
  const tls = { caSecretRef: { name: 'my-minio-ca' } };
  return probeOf(name, endpoint, { targets: [targetOf(name, endpoint, { tls })] });
}

function secretDocument(name: string, values: Readonly<Record<string, string>>): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace: 'storage' },
    stringData: values,
  });
}

describe('a store with a certificate from a private CA', () => {
  let minio: Minio;
  beforeAll(async () => {
    const { path: dir } = started.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-https-')));
    minio = started.use(await startMinio({ dir, tls: await authority.issue() }));
  });

  it.each([
    {
      name: '--secret',
      inputs: () => ({ args: [...RUN, '--secret', `my-minio-ca=${caFile}`], documents: [] }),
    },
    {
      name: 'a Secret document',
      inputs: () => ({
        args: RUN,
        documents: [secretDocument('my-minio-ca', { 'ca.crt': authority.certificate })],
      }),
    },
  ])('passes with the CA from $name', async ({ inputs }) => {
    const { args, documents } = inputs();
    const exit = await runCli(args, {
      credentials: { accessKey: minio.rootUser, secretKey: minio.rootPassword },
      input: [probeWithCa(uniqueName('https'), minio.url), ...documents].join('\n---\n'),
    });
    expect(exit).toMatchObject({ code: 0, stderr: '' });

    const [firstCall, ...laterCalls] = resultOf(exit).steps.flatMap(({ calls }) => calls);
    expect(firstCall).toMatchObject({
      operation: 'HeadBucket',
      tlsProtocol: 'TLSv1.3',
      certificateNotAfter: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      phases: { connectMs: expect.any(Number), tlsMs: expect.any(Number) },
    });
    expect(laterCalls.every(({ reusedConnection }) => reusedConnection)).toBe(true);
  });

  it('passes without a file, with the CA from --ca-file', async () => {
    const exit = await runCli(['run', '--endpoint', minio.url, '--ca-file', caFile], {
      credentials: { accessKey: minio.rootUser, secretKey: minio.rootPassword },
    });
    expect(exit).toMatchObject({ code: 0, stderr: '' });
    expect(exit.stdout).toContain(' · tls ');
  });

  it('fails over plain HTTP', async () => {
    const input = probeOf(uniqueName('http-to-https'), minio.url.replace('https:', 'http:'));
    const exit = await runCli(RUN, { credentials: user, input });
    expect(exit.code).toBe(1);
    expect(resultOf(exit)).toMatchObject({ verdict: 'Failed', reason: 'NotS3', leftBehind: [] });
  });
});

interface Case {
  readonly name: string;
  readonly certificate: LeafOptions;
  readonly trusted: boolean;
  readonly reason: Reason;
  readonly message: RegExp;
}

it.each<Case>([
  {
    name: 'an unknown CA',
    certificate: {},
    trusted: false,
    reason: 'TLSUnknownAuthority',
    message: /unable to verify the first certificate/,
  },
  {
    name: 'an expired certificate',
    certificate: { notBefore: hoursFromNow(-48), notAfter: hoursFromNow(-24) },
    trusted: true,
    reason: 'TLSCertificateExpired',
    message: /certificate has expired/,
  },
  {
    name: 'a certificate that is not yet valid',
    certificate: { notBefore: hoursFromNow(24), notAfter: hoursFromNow(48) },
    trusted: true,
    reason: 'TLSCertificateNotYetValid',
    message: /certificate is not yet valid/,
  },
  {
    name: 'a certificate for another host',
    certificate: { hosts: ['other-host.example'] },
    trusted: true,
    reason: 'TLSHostnameMismatch',
    message: /127\.0\.0\.1 is not in the cert's list/,
  },
])('$name is reported as $reason', async ({ certificate, trusted, reason, message }) => {
  await using proxy = await startFaultProxy(sharedStore.url, { tls: await authority.issue(certificate) });
  const name = uniqueName('tls');
  const exit = await runCli(trusted ? [...RUN, '--secret', `my-minio-ca=${caFile}`] : RUN, {
    credentials: user,
    input: trusted ? probeWithCa(name, proxy.url) : probeOf(name, proxy.url),
  });
  expect(exit).toMatchObject({ code: 1, stderr: '' });
  expect(resultOf(exit)).toMatchObject({
    verdict: 'Failed',
    reason,
    failedStep: 'CHECK_BUCKET',
    message: expect.stringMatching(message),
    leftBehind: [],
  });
  expect(proxy.requests).toEqual([]);
});

it('HTTPS to a plain HTTP port is reported as TLSFailed', async () => {
  const input = probeOf(uniqueName('https-to-http'), sharedStore.url.replace('http:', 'https:'));
  const exit = await runCli(RUN, { credentials: user, input });
  expect(exit).toMatchObject({ code: 1, stderr: '' });
  expect(resultOf(exit)).toMatchObject({ verdict: 'Failed', reason: 'TLSFailed', leftBehind: [] });
});

it('an invalid CA bundle makes the verdict Unknown', async () => {
  const exit = await runCli(RUN, {
    credentials: user,
    input: [
      probeWithCa(uniqueName('no-ca'), 'https://127.0.0.1:1'),
      secretDocument('my-minio-ca', { 'ca.crt': 'my CA' }),
    ].join('\n---\n'),
  });
  expect(exit).toMatchObject({ code: 2, stderr: '' });
  expect(resultOf(exit)).toMatchObject({
    verdict: 'Unknown',
    reason: 'SecretInvalid',
    message: 'the CA bundle contains no PEM certificate',
  });
});

function hoursFromNow(hours: number): Date {
  return new Date(Date.now() + hours * HOUR_MS);
}
