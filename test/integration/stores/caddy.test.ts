import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { whyMissing } from '../../../deploy/local/binary.ts';
import { startCaddy, type Caddy } from '../../../deploy/local/caddy.ts';
import { type CertificateAuthority, createAuthority } from '../../../deploy/local/certificates.ts';
import { createMinioUser, startMinio, type Minio, type MinioUser } from '../../../deploy/local/minio.ts';
import { SERVERS } from '../../../deploy/local/servers.ts';
import { uniqueName } from '../../support/unique-name.ts';
import { type CliExit, resultOf, runCli } from '../cli.ts';
import { bucketsOf, probeOf, targetOf } from '../store.ts';

const POLICY = new URL('../../../deploy/local/minio/probe-policy.json', import.meta.url).pathname;
/** Names below localhost resolve to this machine without DNS (RFC 6761). */
const HOST = 'store.localhost';
const missing = await whyMissing('caddy');

describe.skipIf(missing !== undefined)(
  `MinIO behind ${SERVERS.caddy.title}${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    const started = new AsyncDisposableStack();
    let minio: Minio;
    let user: MinioUser;
    let caddy: Caddy;
    let authority: CertificateAuthority;
    beforeAll(async () => {
      const { path: dir } = started.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-caddy-')));
      authority = await createAuthority();
      minio = started.use(await startMinio({ dir: join(dir, 'minio'), env: { MINIO_DOMAIN: HOST } }));
      user = await createMinioUser(minio, POLICY);
      caddy = started.use(
        await startCaddy({
          dir: join(dir, 'caddy'),
          upstreamUrl: minio.url,
          host: HOST,
          tls: await authority.issue({ hosts: [HOST, `*.${HOST}`] }),
          clientCa: authority.certificate,
        }),
      );
    });
    afterAll(() => started.disposeAsync());

    async function run(name: string, tls: object = {}): Promise<CliExit> {
      const client = await authority.issue({ hosts: ['the-probe'], usage: 'clientAuth' });
      const targets = [
        targetOf(name, caddy.url, {
          addressing: 'VirtualHost',
          tls: { caConfigMapRef: { name: 'my-ca' }, ...tls },
        }),
      ];
      const documents = [
        probeOf(name, caddy.url, { targets, objects: [{ size: '4Ki' }, { size: '16Mi' }] }),
        document('ConfigMap', 'my-ca', { data: { 'ca.crt': authority.certificate } }),
        document('Secret', 'my-client', { stringData: { 'tls.crt': client.cert, 'tls.key': client.key } }),
      ];
      return runCli(['run', '-f', '-', '-o', 'json'], {
        credentials: user,
        input: documents.join('\n---\n'),
      });
    }

    it('passes with a client certificate, a private CA and virtual hosts, one connection per call', async () => {
      const name = uniqueName('caddy');
      const exit = await run(name, { clientCertificateSecretRef: { name: 'my-client' } });
      expect(exit).toMatchObject({ code: 0, stderr: '' });
      const { steps, leftBehind } = resultOf(exit);
      const calls = steps.flatMap((step) => step.calls);
      expect(new Set(calls.map(({ reusedConnection }) => reusedConnection))).toEqual(new Set([false]));
      expect(leftBehind).toEqual([]);
      expect(await bucketsOf(name, minio)).toEqual([]);
    });

    it('reports a missing client certificate', async () => {
      const exit = await run(uniqueName('no-client'));
      expect(exit).toMatchObject({ code: 1, stderr: '' });
      expect(resultOf(exit)).toMatchObject({
        reason: 'ClientCertificateRequired',
        failedStep: 'CHECK_BUCKET',
        leftBehind: [],
      });
    });
  },
);

function document(kind: string, name: string, content: object): string {
  return JSON.stringify({ apiVersion: 'v1', kind, metadata: { name, namespace: 'storage' }, ...content });
}
