import { expect, it } from 'vitest';

import { FakeS3 } from '../../test/support/fake-s3.ts';
import { serveHttp } from '../../test/support/http-server.ts';
import { runOnce } from '../../test/support/run-once.ts';
import { RUN_CASES } from '../../test/support/reason-cases.ts';

it.each(RUN_CASES)('$answer gives $reason', async ({ reason, mode = 'Ephemeral', message, respond }) => {
  const store = new FakeS3();
  if (mode === 'Existing') store.buckets.set('canary', new Map());
  const earlier: string[] = [];
  const { url } = await serveHttp((request, response) => {
    const { method = '', url: target = '' } = request;
    const [path = '', query = ''] = target.split('?', 2);
    const isObject = path.split('/').length > 2;
    const canned = respond({ method, isObject, query, earlier });
    if (isObject) earlier.push(method);
    if (canned?.preamble !== undefined) response.socket?.write(canned.preamble);
    if (canned === undefined || canned.status === 0) return void store.handle(request, response);
    request.resume();
    response.writeHead(canned.status, canned.headers).end(canned.text);
  });
  const result = await runOnce(url, { mode });
  expect(result.reason).toBe(reason);
  expect(result.message ?? 'passed').toMatch(message ?? /^passed$/);
});
