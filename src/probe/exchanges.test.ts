import type http from 'node:http';

import fc from 'fast-check';
import { expect, it } from 'vitest';

import { CANARY, expectNoCanary } from '../../test/support/canary.ts';
import { behaviour, type Behaviour, type GeneratedResponse } from '../../test/support/exchanges.ts';
import { FakeS3 } from '../../test/support/fake-s3.ts';
import { serveHttp } from '../../test/support/http-server.ts';
import { runOnce } from '../../test/support/run-once.ts';

const RUNS = 400;
/** Short, because every generated server that hangs takes this long. */
const TIMEOUT_MS = 100;
/** Evidence of S3 in a generated response. */
const EVIDENCE = /x-amz-|x-minio-|"etag"|<Error|<ListBucketResult|<LocationConstraint/;
/** Margin for a busy machine. */
const MARGIN_MS = 5_000;

function bytesOf({ status, headers, text }: GeneratedResponse): Buffer {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const body = Buffer.from(text);
  return Buffer.concat([
    Buffer.from(`HTTP/1.1 ${status} Whatever\r\n${lines.join('')}content-length: ${body.length}\r\n\r\n`),
    body,
  ]);
}

function perform(
  sent: Behaviour,
  store: FakeS3,
  request: http.IncomingMessage,
  response: http.ServerResponse,
): void {
  const { socket } = request;
  if (sent.kind === 'store') return void store.handle(request, response);
  request.resume();
  if (sent.kind === 'garbage') return void socket.end(sent.bytes);
  const bytes = bytesOf(sent.response);
  if (sent.kind === 'respond') return void socket.write(bytes);
  socket.write(bytes.subarray(0, Math.floor(bytes.length * sent.share)));
  if (sent.kind === 'hang') return;
  if (sent.reset) socket.resetAndDestroy();
  else socket.end();
}

it('gives a verdict in time whatever the server does, without blaming the prober or showing a secret', async () => {
  let behaviours: readonly Behaviour[] = [];
  let calls = 0;
  let store = new FakeS3();
  let hasProvedS3 = false;
  const { url } = await serveHttp((request, response) => {
    const sent = behaviours[calls % behaviours.length] ?? { kind: 'store' };
    calls += 1;
    hasProvedS3 ||= sent.kind === 'store' || EVIDENCE.test(JSON.stringify(sent));
    perform(sent, store, request, response);
  });
  const credentials = { accessKey: 'access', secretKey: CANARY, sessionToken: CANARY };
  await fc.assert(
    fc.asyncProperty(
      fc.array(behaviour([CANARY]), { minLength: 1, maxLength: 9 }),
      fc.constantFrom('Ephemeral' as const, 'Existing' as const),
      async (generated, mode) => {
        behaviours = generated;
        calls = 0;
        hasProvedS3 = false;
        store = new FakeS3();
        store.buckets.set('canary', new Map());
        const startMs = performance.now();
        const result = await runOnce(url, { mode, credentials, timeoutMs: TIMEOUT_MS, sizeBytes: 64 });
        expect(performance.now() - startMs).toBeLessThan(2 * TIMEOUT_MS + MARGIN_MS);
        expect(['Passed', 'Failed']).toContain(result.verdict);
        expect(result.reason).not.toBe('ProberError');
        expect(result.reason !== 'ContentMismatch' || hasProvedS3).toBe(true);
        expectNoCanary({ result: JSON.stringify(result) });
      },
    ),
    { numRuns: RUNS, endOnFailure: true },
  );
}, 120_000);
