import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  type CertificateAuthority,
  type LeafOptions,
  makeAuthority,
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
  authority = await makeAuthority();
  caFile = join(path, 'ca.pem');
  await writeFile(caFile, authority.certificate);
});
afterAll(() => started.disposeAsync());

function trusting(name: string, endpoint: string): string {
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

describe('a store with a certificate of a private authority', () => {
  let minio: Minio;
  beforeAll(async () => {
    const { path: dir } = started.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-https-')));
    minio = started.use(await startMinio({ dir, tls: await authority.issue() }));
  });

  it.each([
    { name: '--secret', given: () => ({ args: [...RUN, '--secret', `my-minio-ca=${caFile}`], more: [] }) },
    {
      name: 'a Secret document',
      given: () => ({
        args: RUN,
        more: [secretDocument('my-minio-ca', { 'ca.crt': authority.certificate })],
      }),
    },
  ])('passes with the authority given by $name', async ({ given }) => {
    const { args, more } = given();
    const end = await runCli(args, {
      credentials: { accessKey: minio.rootUser, secretKey: minio.rootPassword },
      input: [trusting(uniqueName('https'), minio.url), ...more].join('\n---\n'),
    });
    expect(end).toMatchObject({ code: 0, stderr: '' });

    const [connecting, ...reusing] = resultOf(end).steps.flatMap(({ calls }) => calls);
    expect(connecting).toMatchObject({
      operation: 'HeadBucket',
      tlsProtocol: 'TLSv1.3',
      certificateNotAfter: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      phases: { connectMs: expect.any(Number), tlsMs: expect.any(Number) },
    });
    expect(reusing.every(({ reusedConnection }) => reusedConnection)).toBe(true);
  });

  it('passes a quick look with --ca-file', async () => {
    const end = await runCli(['run', '--endpoint', minio.url, '--ca-file', caFile], {
      credentials: { accessKey: minio.rootUser, secretKey: minio.rootPassword },
    });
    expect(end).toMatchObject({ code: 0, stderr: '' });
    expect(end.stdout).toContain(' · tls ');
  });

  it('does not pass as http', async () => {
    const input = probeOf(uniqueName('http-to-https'), minio.url.replace('https:', 'http:'));
    const end = await runCli(RUN, { credentials: user, input });
    expect(end.code).toBe(1);
    expect(resultOf(end)).toMatchObject({ verdict: 'Failed', reason: 'NotS3', leftBehind: [] });
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
    name: 'an authority that is not known',
    certificate: {},
    trusted: false,
    reason: 'TLSUnknownAuthority',
    message: /unable to verify the first certificate/,
  },
  {
    name: 'a certificate that has expired',
    certificate: { notBefore: hoursFromNow(-48), notAfter: hoursFromNow(-24) },
    trusted: true,
    reason: 'TLSCertificateExpired',
    message: /certificate has expired/,
  },
  {
    name: 'a certificate of tomorrow',
    certificate: { notBefore: hoursFromNow(24), notAfter: hoursFromNow(48) },
    trusted: true,
    reason: 'TLSCertificateNotYetValid',
    message: /certificate is not yet valid/,
  },
  {
    name: 'a certificate of another host',
    certificate: { hosts: ['somewhere-else.example'] },
    trusted: true,
    reason: 'TLSHostnameMismatch',
    message: /127\.0\.0\.1 is not in the cert's list/,
  },
])('$name is $reason', async ({ certificate, trusted, reason, message }) => {
  await using proxy = await startFaultProxy(sharedStore.url, { tls: await authority.issue(certificate) });
  const name = uniqueName('tls');
  const end = await runCli(trusted ? [...RUN, '--secret', `my-minio-ca=${caFile}`] : RUN, {
    credentials: user,
    input: trusted ? trusting(name, proxy.url) : probeOf(name, proxy.url),
  });
  expect(end).toMatchObject({ code: 1, stderr: '' });
  expect(resultOf(end)).toMatchObject({
    verdict: 'Failed',
    reason,
    failedStep: 'CHECK_BUCKET',
    message: expect.stringMatching(message),
    leftBehind: [],
  });
  expect(proxy.requests).toEqual([]);
});

it('https to a port that speaks http is TLSFailed', async () => {
  const input = probeOf(uniqueName('https-to-http'), sharedStore.url.replace('http:', 'https:'));
  const end = await runCli(RUN, { credentials: user, input });
  expect(end).toMatchObject({ code: 1, stderr: '' });
  expect(resultOf(end)).toMatchObject({ verdict: 'Failed', reason: 'TLSFailed', leftBehind: [] });
});

it('a CA bundle that is none cannot tell anything of the store', async () => {
  const end = await runCli(RUN, {
    credentials: user,
    input: [
      trusting(uniqueName('no-ca'), 'https://127.0.0.1:1'),
      secretDocument('my-minio-ca', { 'ca.crt': 'my CA' }),
    ].join('\n---\n'),
  });
  expect(end).toMatchObject({ code: 2, stderr: '' });
  expect(resultOf(end)).toMatchObject({
    verdict: 'Unknown',
    reason: 'SecretInvalid',
    message: 'the CA bundle holds no certificate in PEM form',
  });
});

function hoursFromNow(hours: number): Date {
  return new Date(Date.now() + hours * HOUR_MS);
}
