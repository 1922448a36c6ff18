import type { IncomingMessage, ServerResponse } from 'node:http';
import { gunzipSync } from 'node:zlib';

import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { describe, expect, it } from 'vitest';

import { createAuthority } from '../../deploy/local/certificates.ts';
import { grpcError, startGrpcReceiver, statusWithDetail } from '../../test/support/grpc-receiver.ts';
import { closedPort, serveHttp, serveTcp } from '../../test/support/http-server.ts';
import { otlpSettings, type OtlpTls } from './otlp-settings.ts';
import { type Delivery, otlpTransportFactory } from './otlp-transport.ts';

const NEVER = new AbortController().signal;
/** ExportTraceServiceResponse: two rejected spans, and the message `full`. */
const PARTIAL_SUCCESS = Buffer.from([0x0a, 8, 0x08, 2, 0x12, 4, ...Buffer.from('full')]);
const ACCEPTED: Delivery = { outcome: 'accepted', rejectedSpans: 0 };

function someSpans(): ReadableSpan[] {
  const exporter = new InMemorySpanExporter();
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'my-minio' }),
    spanProcessors: [new SimpleSpanProcessor({ exporter })],
  });
  for (const name of ['a', 'b', 'c']) provider.getTracer('test').startSpan(name).end();
  return exporter.getFinishedSpans();
}

interface SendOptions {
  readonly signal?: AbortSignal;
  readonly tls?: OtlpTls;
  readonly env?: Record<string, string>;
}

/** Makes one attempt with a new transport. */
async function send(
  protocol: string,
  endpoint: string,
  { signal = NEVER, tls = {}, env = {} }: SendOptions = {},
): Promise<Delivery> {
  const settings = otlpSettings({
    env: { OTEL_EXPORTER_OTLP_PROTOCOL: protocol, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, ...env },
    readFile: () => Buffer.alloc(0),
  });
  const transport = (await otlpTransportFactory({ ...settings, tls }))();
  try {
    return await transport.send(someSpans(), signal);
  } finally {
    transport.close();
  }
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

function answerWith(
  status: number,
  headers: Record<string, string> = {},
  body: string | Buffer = '',
): Answer {
  return (request, response) => {
    request.resume();
    response.writeHead(status, headers).end(body);
  };
}

describe('OTLP/HTTP', () => {
  it.each(['http/protobuf', 'http/json'])('sends spans and headers over %s', async (protocol) => {
    const bodies: Promise<Buffer>[] = [];
    const server = await serveHttp((request, response) => {
      bodies.push(request.toArray().then((chunks) => Buffer.concat(chunks as Buffer[])));
      response.end();
    });
    const env = { OTEL_EXPORTER_OTLP_HEADERS: 'x-tenant=storage', OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip' };
    expect(await send(protocol, server.url, { env })).toEqual(ACCEPTED);
    expect(server.requests).toEqual(['POST /v1/traces']);
    expect(server.headers[0]).toMatchObject({
      'x-tenant': 'storage',
      'content-encoding': 'gzip',
      'content-type': protocol === 'http/json' ? 'application/json' : 'application/x-protobuf',
    });
    expect(gunzipSync((await bodies[0]) ?? '').toString()).toContain('my-minio');
  });

  it.each([
    { protocol: 'http/protobuf', body: PARTIAL_SUCCESS },
    {
      protocol: 'http/json',
      body: JSON.stringify({ partialSuccess: { rejectedSpans: '2', errorMessage: 'full' } }),
    },
  ])('reads a partial success over $protocol', async ({ protocol, body }) => {
    const { url } = await serveHttp(answerWith(200, {}, body));
    expect(await send(protocol, url)).toEqual({ outcome: 'accepted', rejectedSpans: 2, message: 'full' });
  });

  it.each([
    { name: 'empty', body: '' },
    { name: 'not OTLP', body: 'thank you!' },
    { name: 'an empty partial success', body: Buffer.from([0x0a, 0]) },
    { name: 'huge', body: Buffer.alloc(1_000_000, 'x') },
  ])('accepts a response that is $name', async ({ body }) => {
    const { url } = await serveHttp(answerWith(200, {}, body));
    expect(await send('http/protobuf', url)).toEqual(ACCEPTED);
  });

  it.each([
    { status: 400, isRetryable: false },
    { status: 401, isRetryable: false },
    { status: 403, isRetryable: false },
    { status: 413, isRetryable: false },
    { status: 429, isRetryable: true },
    { status: 500, isRetryable: false },
    { status: 502, isRetryable: true },
    { status: 503, isRetryable: true },
    { status: 504, isRetryable: true },
  ])('retries after HTTP $status: $isRetryable', async ({ status, isRetryable }) => {
    const { url } = await serveHttp(answerWith(status));
    expect(await send('http/protobuf', url)).toEqual({
      outcome: 'failed',
      message: `HTTP ${status} from ${url}/v1/traces`,
      isRetryable,
    });
  });

  it.each([
    { name: 'seconds', headers: { 'retry-after': '7' }, want: 7_000 },
    {
      name: 'a date',
      headers: { 'retry-after': 'Wed, 25 Nov 2026 10:00:30 GMT', date: 'Wed, 25 Nov 2026 10:00:00 GMT' },
      want: 30_000,
    },
    {
      name: 'a past date',
      headers: { 'retry-after': 'Wed, 25 Nov 2026 10:00:00 GMT', date: 'Wed, 25 Nov 2026 10:00:30 GMT' },
      want: 0,
    },
    { name: 'nonsense', headers: { 'retry-after': 'soon' }, want: undefined },
  ])('reads Retry-After: $name', async ({ headers, want }) => {
    const { url } = await serveHttp(answerWith(503, headers));
    const delivery = await send('http/protobuf', url);
    expect(delivery).toMatchObject({ outcome: 'failed', isRetryable: true });
    expect('retryAfterMs' in delivery ? delivery.retryAfterMs : undefined).toBe(want);
  });

  it.each([
    { name: '404', answer: answerWith(404) },
    { name: '405', answer: answerWith(405) },
    { name: 'a web page', answer: answerWith(200, { 'content-type': 'text/html; charset=utf-8' }, '<html>') },
  ])('explains that no receiver is there: $name', async ({ answer }) => {
    const { url } = await serveHttp(answer);
    expect(await send('http/protobuf', url)).toMatchObject({
      isRetryable: false,
      message: expect.stringContaining(`no OTLP receiver at ${url}/v1/traces`) as string,
    });
  });

  it('follows no redirect', async () => {
    const elsewhere = await serveHttp(answerWith(200));
    const { url } = await serveHttp(answerWith(307, { location: elsewhere.url }));
    expect(await send('http/protobuf', url)).toMatchObject({ outcome: 'failed', isRetryable: false });
    expect(elsewhere.requests).toEqual([]);
  });

  it('explains that the port is for gRPC', async () => {
    const { url } = await startGrpcReceiver();
    expect(await send('http/protobuf', url)).toMatchObject({
      isRetryable: false,
      message: expect.stringMatching(
        /^127\.0\.0\.1:\d+ does not answer OTLP\/HTTP .*set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or use the port for HTTP, usually 4318$/,
      ) as string,
    });
  });

  it('explains that the port is for gRPC over TLS', async () => {
    const authority = await createAuthority();
    const { url } = await startGrpcReceiver(undefined, { tls: await authority.issue() });
    const tls = { ca: Buffer.from(authority.certificate) };
    expect(await send('http/protobuf', url, { tls })).toMatchObject({
      message: expect.stringContaining('OTEL_EXPORTER_OTLP_PROTOCOL=grpc') as string,
    });
  });
});

describe('OTLP/gRPC', () => {
  it('sends spans and metadata', async () => {
    const requests: Buffer[] = [];
    const receiver = await startGrpcReceiver((done, request) => {
      requests.push(request);
      done(null, Buffer.alloc(0));
    });
    const env = { OTEL_EXPORTER_OTLP_HEADERS: 'x-tenant=storage', OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip' };
    expect(await send('grpc', receiver.url, { env })).toEqual(ACCEPTED);
    expect(requests[0]?.toString()).toContain('my-minio');
    expect(receiver.metadata[0]?.get('x-tenant')).toEqual(['storage']);
  });

  it('trusts the given CA', async () => {
    const authority = await createAuthority();
    const { url } = await startGrpcReceiver((done) => done(null, Buffer.alloc(0)), {
      tls: await authority.issue(),
    });
    const tls = { ca: Buffer.from(authority.certificate) };
    expect(await send('grpc', url, { tls })).toEqual(ACCEPTED);
  });

  it('reads a partial success', async () => {
    const { url } = await startGrpcReceiver((done) => done(null, PARTIAL_SUCCESS));
    expect(await send('grpc', url)).toEqual({ outcome: 'accepted', rejectedSpans: 2, message: 'full' });
  });

  it.each([
    { name: 'CANCELLED', code: 1, isRetryable: true },
    { name: 'UNKNOWN', code: 2, isRetryable: false },
    { name: 'INVALID_ARGUMENT', code: 3, isRetryable: false },
    { name: 'DEADLINE_EXCEEDED', code: 4, isRetryable: true },
    { name: 'NOT_FOUND', code: 5, isRetryable: false },
    { name: 'PERMISSION_DENIED', code: 7, isRetryable: false },
    { name: 'RESOURCE_EXHAUSTED', code: 8, isRetryable: false },
    { name: 'ABORTED', code: 10, isRetryable: true },
    { name: 'OUT_OF_RANGE', code: 11, isRetryable: true },
    { name: 'UNIMPLEMENTED', code: 12, isRetryable: false },
    { name: 'INTERNAL', code: 13, isRetryable: false },
    { name: 'UNAVAILABLE', code: 14, isRetryable: true },
    { name: 'DATA_LOSS', code: 15, isRetryable: true },
    { name: 'UNAUTHENTICATED', code: 16, isRetryable: false },
  ])('retries after $name: $isRetryable', async ({ name, code, isRetryable }) => {
    const { url } = await startGrpcReceiver((done) => done(grpcError(code)));
    expect(await send('grpc', url)).toEqual({
      outcome: 'failed',
      message: expect.stringContaining(`${code} ${name}: code ${code}`) as string,
      isRetryable,
    });
  });

  it.each([8, 14])('reads RetryInfo of code %i', async (code) => {
    const details = statusWithDetail('google.rpc.RetryInfo', [0x0a, 2, 0x08, 7]);
    const { url } = await startGrpcReceiver((done) => done(grpcError(code, details)));
    expect(await send('grpc', url)).toMatchObject({ isRetryable: true, retryAfterMs: 7_000 });
  });

  it('does not retry RESOURCE_EXHAUSTED without RetryInfo', async () => {
    const details = statusWithDetail('google.rpc.QuotaFailure', []);
    const { url } = await startGrpcReceiver((done) => done(grpcError(8, details)));
    expect(await send('grpc', url)).toMatchObject({ isRetryable: false });
  });

  it('explains that no receiver is there', async () => {
    const { url } = await startGrpcReceiver(undefined, { isOtherService: true });
    expect(await send('grpc', url)).toMatchObject({
      isRetryable: false,
      message: expect.stringContaining(`no OTLP/gRPC receiver at ${new URL(url).host}`) as string,
    });
  });

  it.each(['http', 'https'])('explains that the port is for %s', async (scheme) => {
    const authority = await createAuthority();
    const tls = { ca: Buffer.from(authority.certificate) };
    const { url } = await serveHttp(
      answerWith(200),
      scheme === 'https' ? { tls: await authority.issue() } : {},
    );
    expect(await send('grpc', url, { tls })).toMatchObject({
      isRetryable: false,
      message: expect.stringMatching(
        /^127\.0\.0\.1:\d+ speaks HTTP\/1\.1, not gRPC; set OTEL_EXPORTER_OTLP_PROTOCOL=http\/protobuf, or use the port for gRPC, usually 4317$/,
      ) as string,
    });
  });
});

describe.each(['grpc', 'http/protobuf', 'http/json'])('over %s', (protocol) => {
  it('retries after a refused connection', async () => {
    const url = `http://127.0.0.1:${await closedPort()}`;
    expect(await send(protocol, url)).toMatchObject({
      outcome: 'failed',
      isRetryable: true,
      message: expect.stringContaining('ECONNREFUSED') as string,
    });
  });

  it('retries after a reset connection', async () => {
    const { url } = await serveTcp((socket) => {
      socket.on('error', () => undefined).once('data', () => socket.resetAndDestroy());
    });
    expect(await send(protocol, url)).toMatchObject({ outcome: 'failed', isRetryable: true });
  });

  it('stops when the signal aborts', async () => {
    const stop = new AbortController();
    const { url } = await serveTcp((socket) => {
      socket.on('error', () => undefined).once('data', () => stop.abort());
    });
    expect(await send(protocol, url, { signal: stop.signal })).toMatchObject({ outcome: 'failed' });
  });

  it('rejects a certificate of another authority', async () => {
    const authority = await createAuthority();
    const { url } = await serveHttp(answerWith(200), { tls: await authority.issue() });
    const tls = { ca: Buffer.from((await createAuthority()).certificate) };
    expect(await send(protocol, url, { tls })).toMatchObject({ outcome: 'failed', isRetryable: true });
  });
});
