import { expect, it } from 'vitest';

import type { OperationName } from '../../src/s3/operations.ts';
import { FakeS3 } from './fake-s3.ts';
import { serveHttp } from './http-server.ts';
import { RECORDED_ANSWERS } from './recorded-answers.ts';
import { runOnce } from './run-once.ts';

it.each(RECORDED_ANSWERS)('$store, $situation: $reason', async ({ mode = 'Ephemeral', answers, reason }) => {
  const store = new FakeS3();
  if (mode === 'Existing') store.buckets.set('canary', new Map());
  let firstHead = true;
  const { url } = await serveHttp((request, response) => {
    const operation = operationOf(request.method, request.url);
    const answer = operation === 'Other' ? undefined : answers[operation];
    // The second HEAD of the bucket is made after the bucket was created.
    const isDone = operation === 'HeadBucket' && !firstHead;
    if (operation === 'HeadBucket') firstHead = false;
    if (answer === undefined || isDone) return void store.handle(request, response);
    request.resume();
    response.writeHead(answer.status, answer.headers).end(request.method === 'HEAD' ? '' : answer.text);
  });
  const result = await runOnce(url, { mode });
  expect(result.reason).toBe(reason);
});

function operationOf(method = '', target = ''): OperationName | 'Other' {
  const [path = '', query = ''] = target.split('?', 2);
  const isObject = path.split('/').length > 2;
  if (isObject) return OBJECT_OPERATIONS[method] ?? 'Other';
  if (query !== '') return query.startsWith('location') ? 'GetBucketLocation' : 'Other';
  return BUCKET_OPERATIONS[method] ?? 'Other';
}

const OBJECT_OPERATIONS: Readonly<Record<string, OperationName>> = {
  HEAD: 'HeadObject',
  GET: 'GetObject',
  PUT: 'PutObject',
  DELETE: 'DeleteObject',
};
const BUCKET_OPERATIONS: Readonly<Record<string, OperationName>> = {
  HEAD: 'HeadBucket',
  PUT: 'CreateBucket',
  DELETE: 'DeleteBucket',
};
