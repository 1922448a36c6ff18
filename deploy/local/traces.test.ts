import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { waitForTrace } from './traces.ts';

const SPAN = {
  traceID: 'abc',
  spanID: 'def',
  operationName: 'storage probe',
  references: [],
  startTime: 1,
  duration: 2,
  tags: [],
  logs: [],
  processID: 'p1',
};

function traceOf(...spans: readonly (typeof SPAN)[]): string {
  return JSON.stringify({
    data: [{ traceID: 'abc', spans, processes: { p1: { serviceName: 'my-minio' } } }],
  });
}

let server: Server;
let url: string;
/** The server's responses, in order. The last response is repeated. */
let answers: { readonly status: number; readonly body: string }[];

beforeEach(async () => {
  server = createServer((_, response) => {
    const answer = (answers.length > 1 ? answers.shift() : answers[0]) ?? { status: 500, body: '' };
    response.writeHead(answer.status).end(answer.body);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  url = `http://127.0.0.1:${address.port}`;
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

describe('waitForTrace', () => {
  const signal = AbortSignal.timeout(5_000);

  it('polls until the trace has all its spans', async () => {
    answers = [
      { status: 404, body: '{"data":null}' },
      { status: 200, body: traceOf(SPAN) },
      { status: 200, body: traceOf(SPAN, SPAN) },
    ];
    expect((await waitForTrace(url, 'abc', { signal, spans: 2 })).spans).toHaveLength(2);
  });

  it('stops waiting when the signal aborts', async () => {
    answers = [{ status: 404, body: '' }];
    await expect(waitForTrace(url, 'abc', { signal: AbortSignal.timeout(100) })).rejects.toThrow(/timeout/);
  });

  it('reports an error from Jaeger', async () => {
    answers = [{ status: 500, body: 'storage unavailable' }];
    await expect(waitForTrace(url, 'abc', { signal })).rejects.toThrow(/500.*storage unavailable/);
  });

  it('rejects a response that is too large', async () => {
    answers = [{ status: 200, body: 'x'.repeat(9 * 1_024 * 1_024) }];
    await expect(waitForTrace(url, 'abc', { signal })).rejects.toThrow(/larger than/);
  });
});
