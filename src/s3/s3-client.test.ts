import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type http from 'node:http';
import type net from 'node:net';
import { nextTick } from 'node:process';
import tls from 'node:tls';
import { promisify } from 'node:util';

import fc from 'fast-check';
import { describe, expect, it, onTestFinished, vi } from 'vitest';

import { createAuthority } from '../../deploy/local/certificates.ts';
import { addressesOf, fakeResolver } from '../../test/support/fake-resolver.ts';
import { bodyOf, closedPort, serveHttp, serveTcp } from '../../test/support/http-server.ts';
import { ReasonedError, REASONS, type Reason } from '../api/reasons.ts';
import type { CallResult, Credentials, Phases, RunTarget } from '../api/run.ts';
import { systemClock } from '../clock/system-clock.ts';
import type { ObjectBody, Sink } from './body.ts';
import type { Resolver } from './resolver.ts';
import { S3Client } from './s3-client.ts';
import { S3Error } from './s3-error.ts';
import { sha256Hex } from './signer.ts';
import { TargetKeyring } from './target-keys.ts';

const CREDENTIALS: Credentials = { accessKey: 'the-access-key', secretKey: 'the-secret-key' };
const SESSION_TOKEN = 'IQoJb3JpZ2luX2VjEBYaCXVzLWVhc3QtMSJ+/=';
const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const NEVER = new AbortController().signal;
/** Larger than the kernel's socket buffers. */
const LARGE_BYTES = 32 * 1_024 * 1_024;

interface ClientOptions extends Pick<RunTarget, 'addressing' | 'encryption' | 'proxy'> {
  readonly region?: string;
  readonly sessionToken?: string;
  readonly ca?: string;
  readonly resolver?: Resolver;
}

function clientOf(
  { url }: { readonly url: string },
  { region = 'us-east-1', sessionToken, ca, resolver, ...options }: ClientOptions = {},
): S3Client {
  const credentials = { ...CREDENTIALS, ...(sessionToken !== undefined && { sessionToken }) };
  const target = {
    name: 'my-minio',
    endpoint: url,
    region,
    credentials,
    ...options,
    ...(ca !== undefined && { tls: { ca } }),
  };
  const client = new S3Client(target, 'bucket', {
    clock: systemClock,
    keyring: new TargetKeyring(),
    version: '1.2.3',
    originMs: systemClock.monotonicMs(),
    resolver,
  });
  onTestFinished(() => {
    client.close();
  });
  return client;
}

function bodyOfSize(sizeBytes: number): ObjectBody {
  const bytes = Buffer.alloc(sizeBytes, 'x');
  const chunkBytes = 64 * 1_024;
  return {
    sizeBytes,
    sha256: sha256Hex(bytes),
    md5: createHash('md5').update(bytes).digest('base64'),
    *chunks() {
      for (let start = 0; start < sizeBytes; start += chunkBytes) {
        yield bytes.subarray(start, start + chunkBytes);
      }
    },
  };
}

/** Keeps a response body up to a limit. */
class CollectingSink implements Sink {
  readonly chunks: Buffer[] = [];
  readonly #maxBytes: number;

  constructor(maxBytes = Infinity) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  write(chunk: Buffer): boolean {
    this.chunks.push(chunk);
    return this.bytes.length <= this.#maxBytes;
  }
}

/** Returns the error of a call that must fail. */
async function failureOf(call: Promise<unknown>): Promise<S3Error> {
  const outcome = await call.then(
    () => new Error('the call did not fail'),
    (error: unknown) => error,
  );
  if (!(outcome instanceof S3Error)) throw new Error('not an S3Error', { cause: outcome });
  expect(outcome.call).toMatchObject({ reason: outcome.reason, message: outcome.message });
  return outcome;
}

function durationOf(phases: Phases): number {
  return Object.values(phases).reduce((sum: number, ms: number) => sum + ms, 0);
}

function errorXml(code: string, rest = ''): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code>${rest}</Error>`;
}

interface TestResponse {
  readonly status?: number;
  readonly headers?: http.OutgoingHttpHeaders;
  readonly text?: string;
}

/** Returns a handler that sends the same response to every request. */
function always({ status = 200, headers = {}, text = '' }: TestResponse) {
  return (request: http.IncomingMessage, response: http.ServerResponse): void => {
    request.resume();
    response.writeHead(status, headers).end(text);
  };
}

/** Writes as long as the client reads. */
function writeForever(response: http.ServerResponse): void {
  const chunk = Buffer.alloc(16 * 1_024, 'x');
  const write = (): void => {
    while (response.write(chunk));
  };
  response.on('drain', write);
  write();
}

/** Resolves after a few ticks, before any result from the kernel arrives. */
async function afterTicks(): Promise<void> {
  for (let tick = 0; tick < 5; tick += 1) await promisify(nextTick)();
}

describe('a call', () => {
  it('has connection phases only on a new connection, and its phases add up to the duration', async () => {
    const server = await serveHttp((request, response) => {
      void bodyOf(request).then(() => response.setHeader('x-amz-request-id', '17F0').end('hello'));
    });
    const client = clientOf(server);
    const { call: first } = await client.putObject('key', bodyOfSize(300_000), { signal: NEVER });
    const { call: second } = await client.getObject('key', new CollectingSink(), { signal: NEVER });

    expect(Object.keys(first.phases)).toEqual(['connectMs', 'sendMs', 'firstByteMs', 'bodyMs']);
    expect(first.reusedConnection).toBe(false);
    expect(Object.keys(second.phases)).toEqual(['sendMs', 'firstByteMs', 'bodyMs']);
    expect(second.reusedConnection).toBe(true);
    expect(server.connections).toHaveLength(1);
    for (const { phases, durationMs } of [first, second]) {
      expect(Object.values(phases).every((ms: number) => ms >= 0)).toBe(true);
      expect(durationOf(phases)).toBeCloseTo(durationMs, 6);
    }
    expect(first.startOffsetMs).toBeGreaterThanOrEqual(0);
    expect(second.startOffsetMs).toBeGreaterThanOrEqual(first.startOffsetMs + first.durationMs);
  });

  it('has a DNS phase if the endpoint has a host name', async () => {
    const server = await serveHttp(always({}));
    const client = clientOf({ url: `http://localhost:${server.port}` });
    const { call } = await client.headBucket({ signal: NEVER });
    expect(Object.keys(call.phases)).toEqual(['dnsMs', 'connectMs', 'sendMs', 'firstByteMs', 'bodyMs']);
    expect(durationOf(call.phases)).toBeCloseTo(call.durationMs, 6);
  });

  it('records status, size and IDs of the response', async () => {
    const headers = { 'x-amz-request-id': '17F0', 'x-amz-id-2': 'node-a', server: 'MinIO' };
    const server = await serveHttp(always({ headers, text: 'hello' }));
    const sink = new CollectingSink();
    const { call } = await clientOf(server).getObject('key', sink, { signal: NEVER });
    expect(call).toMatchObject({
      operation: 'GetObject',
      status: 200,
      requestId: '17F0',
      hostId: 'node-a',
      server: 'MinIO',
      remoteAddress: '127.0.0.1',
      remotePort: server.port,
      bytesSent: 0,
      bytesReceived: 5,
    } satisfies Partial<CallResult>);
    expect(sink.bytes.toString()).toBe('hello');
  });

  it.each([0, 1, 65_536, 65_537, 1_000_000])('sends a body of %d bytes unchanged', async (sizeBytes) => {
    let received: Buffer = Buffer.alloc(0);
    const server = await serveHttp((request, response) => {
      void bodyOf(request).then((body) => {
        received = body;
        response.end();
      });
    });
    const body = bodyOfSize(sizeBytes);
    const { call } = await clientOf(server).putObject('key', body, { signal: NEVER });
    expect(call.bytesSent).toBe(sizeBytes);
    expect(received.length).toBe(sizeBytes);
    expect(sha256Hex(received)).toBe(body.sha256);
    expect(server.headers[0]).toMatchObject({
      'content-length': `${sizeBytes}`,
      'x-amz-content-sha256': body.sha256,
    });
  });

  it.each([
    { name: 'in chunks', head: 'transfer-encoding: chunked', body: '3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n' },
    { name: 'with a length', head: 'content-length: 5', body: 'hello' },
    { name: 'until the connection closes', head: 'connection: close', body: 'hello', end: true },
  ])('reads a response body sent $name', async ({ head, body, end }) => {
    const server = await serveTcp((socket) => {
      socket.once('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n${body}`);
        if (end === true) socket.end();
      });
    });
    const sink = new CollectingSink();
    await clientOf(server).getObject('key', sink, { signal: NEVER });
    expect(sink.bytes.toString()).toBe('hello');
  });

  it('ignores 1xx responses', async () => {
    const server = await serveTcp((socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 102 Processing\r\n\r\n');
        socket.write('HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n');
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
      });
    });
    const { call } = await clientOf(server).putObject('key', bodyOfSize(9), { signal: NEVER });
    expect(call).toMatchObject({ status: 200 });
    expect(durationOf(call.phases)).toBeCloseTo(call.durationMs, 6);
  });

  it('opens a new connection if the store closed the old one after its response', async () => {
    const server = await serveHttp(always({ headers: { connection: 'close' } }));
    const client = clientOf(server);
    await client.headBucket({ signal: NEVER });
    const { call } = await client.headBucket({ signal: NEVER });
    expect(call.reusedConnection).toBe(false);
    expect(server.requests).toHaveLength(2);
  });
});

describe('the client', () => {
  it('sends an unsigned traceparent and the storage-probe user agent', async () => {
    const server = await serveHttp(always({}));
    await clientOf(server).headBucket({ signal: NEVER, traceparent: TRACEPARENT });
    const [headers] = server.headers;
    expect(headers).toMatchObject({
      traceparent: TRACEPARENT,
      'user-agent': expect.stringContaining('storage-probe/1.2.3') as string,
    });
    expect(headers?.authorization).toContain('SignedHeaders=host;x-amz-content-sha256;x-amz-date,');
  });

  it('sends a checksum with each object, because buckets with default retention require one', async () => {
    const server = await serveHttp(always({}));
    const body = bodyOfSize(3);
    await clientOf(server).putObject('key', body, { signal: NEVER });
    expect(server.headers[0]).toMatchObject({
      'content-md5': createHash('md5').update('xxx').digest('base64'),
    });
  });

  it.each([
    { encryption: { algorithm: 'AES256' } as const, want: { 'x-amz-server-side-encryption': 'AES256' } },
    {
      encryption: { algorithm: 'aws:kms', kmsKeyId: 'my-key' } as const,
      want: {
        'x-amz-server-side-encryption': 'aws:kms',
        'x-amz-server-side-encryption-aws-kms-key-id': 'my-key',
      },
    },
  ])('requests and signs server-side encryption: $encryption', async ({ encryption, want }) => {
    const server = await serveHttp(always({}));
    const client = clientOf(server, { encryption });
    await client.putObject('key', bodyOfSize(1), { signal: NEVER });
    await client.headObject('key', { signal: NEVER });
    expect(server.headers[0]).toMatchObject(want);
    const names = Object.keys(want).join(';');
    expect(server.headers[0]?.authorization).toContain(
      `SignedHeaders=host;x-amz-content-sha256;x-amz-date;${names},`,
    );
    expect(server.headers[1]).not.toHaveProperty('x-amz-server-side-encryption');
  });

  it('sends requests below the path of the endpoint', async () => {
    const server = await serveHttp(always({}));
    const client = clientOf({ url: `${server.url}/storage/v1/s3` });
    await client.headBucket({ signal: NEVER });
    await client.headObject('a/b', { signal: NEVER });
    expect(server.requests).toEqual(['HEAD /storage/v1/s3/bucket', 'HEAD /storage/v1/s3/bucket/a/b']);
  });

  it('puts the bucket into the host if the addressing is VirtualHost', async () => {
    const server = await serveHttp(always({}));
    const names: string[] = [];
    const resolver = fakeResolver((hostname) => {
      names.push(hostname);
      return Promise.resolve(addressesOf('127.0.0.1'));
    });
    const options = { addressing: 'VirtualHost', resolver } as const;
    const client = clientOf({ url: `http://my-minio:${server.port}` }, options);
    await client.headBucket({ signal: NEVER });
    await client.headObject('a/b', { signal: NEVER });
    expect(names).toEqual(['bucket.my-minio']);
    expect(server.requests).toEqual(['HEAD /', 'HEAD /a/b']);
    expect(server.headers[0]?.host).toBe(`bucket.my-minio:${server.port}`);
  });

  it('signs the session token', async () => {
    const server = await serveHttp(always({}));
    await clientOf(server, { sessionToken: SESSION_TOKEN }).headBucket({ signal: NEVER });
    expect(server.headers[0]).toMatchObject({
      'x-amz-security-token': SESSION_TOKEN,
      authorization: expect.stringContaining('x-amz-security-token,') as string,
    });
  });

  it.each([
    { region: 'us-east-1', want: /^$/ },
    { region: 'eu-central-1', want: /<LocationConstraint>eu-central-1<\/LocationConstraint>/ },
  ])('specifies the region of a new bucket: $region', async ({ region, want }) => {
    let received = '';
    const server = await serveHttp((request, response) => {
      void bodyOf(request).then((body) => {
        received = body.toString();
        response.end();
      });
    });
    await clientOf(server, { region }).createBucket({ signal: NEVER });
    expect(received).toMatch(want);
    expect(server.headers[0]?.['x-amz-content-sha256']).toBe(sha256Hex(received));
  });

  it('sends the right method, path and query for each operation', async () => {
    const server = await serveHttp((request, response) => {
      request.resume();
      response.writeHead(request.method === 'DELETE' ? 204 : 200).end();
    });
    const client = clientOf(server);
    const options = { signal: NEVER };
    await client.headBucket(options);
    await client.createBucket(options);
    await client.putObject('a/b c+d', bodyOfSize(1), options);
    await client.getObject('a/b c+d', new CollectingSink(), options);
    await client.headObject('a/b c+d', options);
    await client.deleteObject('key', { id: undefined }, options);
    await client.deleteObject('key', { id: 'v=1' }, options);
    await client.listObjects('a/b', undefined, options);
    await client.listObjects('a/b', { 'continuation-token': 't=1' }, options);
    await client.listVersions('a/b', { 'key-marker': 'a/b/1', 'version-id-marker': 'v1' }, options);
    await client.listUploads('a/b', undefined, options);
    await client.abortUpload({ key: 'a/b c', uploadId: 'u=1' }, options);
    await client.deleteBucket(options);
    expect(server.requests).toEqual([
      'HEAD /bucket',
      'PUT /bucket',
      'PUT /bucket/a/b%20c%2Bd',
      'GET /bucket/a/b%20c%2Bd',
      'HEAD /bucket/a/b%20c%2Bd',
      'DELETE /bucket/key',
      'DELETE /bucket/key?versionId=v%3D1',
      'GET /bucket?encoding-type=url&list-type=2&max-keys=100&prefix=a%2Fb',
      'GET /bucket?encoding-type=url&list-type=2&max-keys=100&prefix=a%2Fb&continuation-token=t%3D1',
      'GET /bucket?versions&encoding-type=url&max-keys=100&prefix=a%2Fb&key-marker=a%2Fb%2F1&version-id-marker=v1',
      'GET /bucket?uploads&encoding-type=url&max-uploads=100&prefix=a%2Fb',
      'DELETE /bucket/a/b%20c?uploadId=u%3D1',
      'DELETE /bucket',
    ]);
  });

  it.each([
    { name: 'a delete marker', id: undefined, headers: { 'x-amz-delete-marker': 'true' }, want: true },
    { name: 'no delete marker', id: undefined, headers: {}, want: false },
    { name: 'the removal of a marker', id: 'v1', headers: { 'x-amz-delete-marker': 'true' }, want: false },
  ])('recognises a deletion that only adds a marker: $name', async ({ id, headers, want }) => {
    const server = await serveHttp(always({ status: 204, headers }));
    const { value } = await clientOf(server).deleteObject('key', { id }, { signal: NEVER });
    expect(value).toEqual({ addedMarker: want });
  });

  it.each([
    { name: 'a version ID', headers: { 'x-amz-version-id': 'v1' }, want: 'v1' },
    { name: 'version ID "null"', headers: { 'x-amz-version-id': 'null' }, want: undefined },
    { name: 'no version ID', headers: {}, want: undefined },
  ])('returns the object version for a response with $name', async ({ headers, want }) => {
    const server = await serveHttp(always({ headers }));
    const client = clientOf(server);
    const put = await client.putObject('key', bodyOfSize(1), { signal: NEVER });
    const head = await client.headObject('key', { signal: NEVER });
    expect([put.value, head.value]).toEqual([{ id: want }, { id: want }]);
  });

  it('returns the keys of a listing', async () => {
    const text =
      '<ListBucketResult><Contents><Key>a/1</Key></Contents><Contents><Key>a/2</Key></Contents></ListBucketResult>';
    const server = await serveHttp(always({ text }));
    const { value } = await clientOf(server).listObjects('a/', undefined, { signal: NEVER });
    expect(value).toEqual({ entries: ['a/1', 'a/2'] });
  });
});

describe('a missing resource', () => {
  it.each([
    { name: 'a bare 404', response: { status: 404 } },
    { name: "MinIO's 404", response: { status: 404, headers: { 'x-minio-error-code': 'NoSuchBucket' } } },
  ])('is not a failure of HeadBucket: $name', async ({ response }) => {
    const server = await serveHttp(always(response));
    const { value, call } = await clientOf(server).headBucket({ signal: NEVER });
    expect(value).toBe(false);
    expect(call).toMatchObject({ operation: 'HeadBucket', status: 404 });
    expect(call).not.toHaveProperty('reason');
  });

  it.each([
    { name: 'a bare 404', response: { status: 404 } },
    { name: "MinIO's 404", response: { status: 404, headers: { 'x-minio-error-code': 'NoSuchKey' } } },
    {
      name: "MinIO's 404 for a missing bucket",
      response: { status: 404, headers: { 'x-minio-error-code': 'NoSuchBucket' } },
    },
  ])('is not a failure of HeadObject: $name', async ({ response }) => {
    const server = await serveHttp(always(response));
    const { value, call } = await clientOf(server).headObject('key', { signal: NEVER });
    expect(value).toBeUndefined();
    expect(call).toMatchObject({ operation: 'HeadObject', status: 404 });
    expect(call).not.toHaveProperty('reason');
  });
});

describe('stopping', () => {
  const TIMED_OUT = new DOMException('time is up', 'TimeoutError');
  const STOPPED = new DOMException('stop', 'AbortError');

  interface AbortedServer extends Pick<ClientOptions, 'proxy' | 'resolver'> {
    readonly url: string;
    readonly sink?: Sink;
    readonly sizeBytes?: number;
    readonly afterStart?: () => void;
  }

  /** Servers that keep a call in one phase and abort it there. */
  const PHASES: Record<keyof Phases, (abort: () => void) => Promise<AbortedServer>> = {
    async waitMs(abort) {
      const hanging = fakeResolver(() => new Promise(() => undefined));
      const resolver: Resolver = {
        ...hanging,
        resolve: (hostname, lookup) => {
          lookup.onQueued?.();
          queueMicrotask(abort);
          return hanging.resolve(hostname, lookup);
        },
      };
      return { url: 'http://my-minio', resolver };
    },
    async dnsMs(abort) {
      const resolver = fakeResolver(() => {
        queueMicrotask(abort);
        return new Promise(() => undefined);
      });
      return { url: 'http://my-minio', resolver };
    },
    async proxyMs(abort) {
      const { url } = await serveTcp((socket) => socket.once('data', abort));
      return { url: 'https://127.0.0.1', proxy: { url } };
    },
    async connectMs(abort) {
      const { url } = await serveTcp(() => undefined);
      return { url, afterStart: () => void afterTicks().then(abort) };
    },
    async tlsMs(abort) {
      const { port } = await serveTcp((socket) => socket.once('data', abort));
      return { url: `https://127.0.0.1:${port}` };
    },
    async sendMs(abort) {
      const { url } = await serveTcp((socket) => {
        socket.once('data', () => {
          socket.pause();
          abort();
        });
      });
      return { url, sizeBytes: LARGE_BYTES };
    },
    async firstByteMs(abort) {
      const { url } = await serveHttp((request) => void bodyOf(request).then(abort));
      return { url };
    },
    async bodyMs(abort) {
      const { url } = await serveHttp((_request, response) => {
        response.writeHead(200, { 'content-length': 100 }).write('hello');
      });
      return {
        url,
        sink: {
          write: () => {
            abort();
            return true;
          },
        },
      };
    },
  };

  const cases = Object.keys(PHASES).flatMap((phase) => [
    {
      phase: phase as keyof Phases,
      abortReason: TIMED_OUT,
      reason: { waitMs: 'ProberError', dnsMs: 'DNSFailed' }[phase] ?? 'Timeout',
    },
    { phase: phase as keyof Phases, abortReason: STOPPED, reason: 'Cancelled' },
    { phase: phase as keyof Phases, abortReason: new Error('shutting down'), reason: 'Cancelled' },
  ]);
  it.each(cases)('aborts a call at once in $phase: $reason', async ({ phase, abortReason, reason }) => {
    const stop = new AbortController();
    const { url, sink, sizeBytes, afterStart, proxy, resolver } = await PHASES[phase](() => {
      stop.abort(abortReason);
    });
    const client = clientOf(
      { url },
      { ...(proxy !== undefined && { proxy }), ...(resolver !== undefined && { resolver }) },
    );
    const options = { signal: stop.signal };
    const call =
      sink === undefined
        ? client.putObject('key', bodyOfSize(sizeBytes ?? 10), options)
        : client.getObject('key', sink, options);
    afterStart?.();
    const error = await failureOf(call);
    expect(error.reason).toBe(reason);
    expect(error.cause).toBe(abortReason);
    expect(Object.keys(error.call.phases).at(-1)).toBe(phase);
    expect(durationOf(error.call.phases)).toBeCloseTo(error.call.durationMs, 6);
    expect(error.call.status).toBe(phase === 'bodyMs' ? 200 : undefined);
  });

  it.each([
    { abortReason: TIMED_OUT, reason: 'Timeout' },
    { abortReason: STOPPED, reason: 'Cancelled' },
  ])('sends nothing if the signal has already aborted: $reason', async ({ abortReason, reason }) => {
    const server = await serveHttp(always({}));
    const error = await failureOf(clientOf(server).headBucket({ signal: AbortSignal.abort(abortReason) }));
    expect(error.reason).toBe(reason);
    expect(server.connections).toHaveLength(0);
  });

  it('closes the connection after an abort, and the next call opens a new one', async () => {
    const stop = new AbortController();
    const closed = Promise.withResolvers<void>();
    const server = await serveHttp((request, response) => {
      if (server.requests.length > 1) return void response.end();
      request.socket.on('close', closed.resolve);
      stop.abort();
    });
    const client = clientOf(server);
    await failureOf(client.headBucket({ signal: stop.signal }));
    await closed.promise;
    const { call } = await client.headBucket({ signal: NEVER });
    expect(call).toMatchObject({ status: 200, reusedConnection: false });
  });

  it('removes the abort listener after each call', async () => {
    const server = await serveHttp(always({}));
    const client = clientOf(server);
    const { signal } = new AbortController();
    const add = vi.spyOn(signal, 'addEventListener');
    const remove = vi.spyOn(signal, 'removeEventListener');
    for (let call = 0; call < 3; call += 1) await client.headBucket({ signal });
    await failureOf(clientOf({ url: `http://127.0.0.1:${await closedPort()}` }).headBucket({ signal }));
    expect(remove.mock.calls.length).toBe(add.mock.calls.length);
  });

  it('closes an idle connection on close()', async () => {
    const server = await serveHttp(always({}));
    const client = clientOf(server);
    await client.headBucket({ signal: NEVER });
    client.close();
    await expect(once(server.connections[0] as net.Socket, 'close')).resolves.toBeDefined();
  });
});

describe('an endless response', () => {
  it.each([
    { name: 'a listing', status: 200, call: 'list', want: 'NotS3' },
    { name: 'an error', status: 500, call: 'list', want: 'NotS3' },
    { name: 'an error for an object', status: 403, call: 'get', want: 'NotS3' },
    { name: 'an object', status: 200, call: 'get', want: undefined },
  ])('is cut short: $name', async ({ status, call, want }) => {
    const closed = Promise.withResolvers<void>();
    const server = await serveHttp((request, response) => {
      request.socket.on('close', closed.resolve);
      response.writeHead(status);
      writeForever(response);
    });
    const client = clientOf(server);
    const sink = new CollectingSink(100_000);
    const calling =
      call === 'list'
        ? client.listObjects('a/', undefined, { signal: NEVER })
        : client.getObject('key', sink, { signal: NEVER });
    const reason = await calling.then(
      () => undefined,
      (error: unknown) => (error instanceof S3Error ? error.reason : error),
    );
    expect(reason).toBe(want);
    await closed.promise;
    expect(sink.bytes.length).toBeLessThan(1_000_000);
  });

  it('is NotS3 if its headers are too large', async () => {
    const server = await serveTcp((socket) => {
      socket.once('data', () => socket.write(`HTTP/1.1 200 OK\r\n${'x-filler: y\r\n'.repeat(10_000)}\r\n`));
    });
    const error = await failureOf(clientOf(server).headBucket({ signal: NEVER }));
    expect(error.reason).toBe('NotS3');
  });
});

describe('a failed connection', () => {
  it('is ConnectionRefused if the port is closed', async () => {
    const port = await closedPort();
    const error = await failureOf(
      clientOf({ url: `http://127.0.0.1:${port}` }).headBucket({ signal: NEVER }),
    );
    expect(error.reason).toBe('ConnectionRefused');
    expect(error.message).toContain(`127.0.0.1:${port}`);
    expect(Object.keys(error.call.phases)).toEqual(['connectMs']);
  });

  it.each(['ENOTFOUND', 'EAI_AGAIN'])('is DNSFailed if the host name does not resolve: %s', async (code) => {
    const resolver = fakeResolver(() =>
      Promise.reject(Object.assign(new Error(`getaddrinfo ${code} my-minio`), { code })),
    );
    const error = await failureOf(
      clientOf({ url: 'http://my-minio:9000' }, { resolver }).headBucket({ signal: NEVER }),
    );
    expect(error.reason).toBe('DNSFailed');
    expect(error.message).toContain('my-minio');
    expect(Object.keys(error.call.phases)).toEqual(['dnsMs']);
  });

  it.each([
    { name: 'before the response', response: '', phase: 'firstByteMs' },
    {
      name: 'in the response headers',
      response: 'HTTP/1.1 200 OK\r\ncontent-le',
      phase: 'firstByteMs',
    },
    {
      name: 'in the response body',
      response: 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello',
      phase: 'bodyMs',
    },
    {
      name: 'between two chunks',
      response: 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n',
      phase: 'bodyMs',
    },
  ])('is ConnectionLost if it closes $name', async ({ response, phase }) => {
    const server = await serveTcp((socket) => {
      socket.once('data', () => socket.end(response));
    });
    const error = await failureOf(clientOf(server).getObject('key', new CollectingSink(), { signal: NEVER }));
    expect(error.reason).toBe('ConnectionLost');
    expect(Object.keys(error.call.phases).at(-1)).toBe(phase);
    expect(server.connections).toHaveLength(1);
  });

  it('is ConnectionLost if it is reset while a body is sent', async () => {
    const server = await serveTcp((socket) => {
      socket.once('data', () => socket.resetAndDestroy());
    });
    const error = await failureOf(
      clientOf(server).putObject('key', bodyOfSize(LARGE_BYTES), { signal: NEVER }),
    );
    expect(error.reason).toBe('ConnectionLost');
    expect(Object.keys(error.call.phases).at(-1)).toBe('sendMs');
  });

  it('is ConnectionLost if the store responded earlier but now refuses connections', async () => {
    const server = await serveHttp(always({ headers: { connection: 'close' } }));
    const client = clientOf(server);
    await client.headBucket({ signal: NEVER });
    await server.stop();
    const error = await failureOf(client.headBucket({ signal: NEVER }));
    expect(error.reason).toBe('ConnectionLost');
  });

  it.each([
    { name: 'SSH', response: 'SSH-2.0-OpenSSH_9.9\r\n' },
    { name: 'binary data', response: Buffer.from([0, 1, 2, 255, 254, 13, 10, 13, 10]) },
    { name: 'a TLS alert', response: Buffer.from([0x15, 3, 1, 0, 2, 2, 0x46]) },
    { name: 'an invalid content-length', response: 'HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n' },
  ])('is NotS3 if the response is not valid HTTP: $name', async ({ response }) => {
    const server = await serveTcp((socket) => {
      socket.once('data', () => socket.write(response));
    });
    const error = await failureOf(clientOf(server).headBucket({ signal: NEVER }));
    expect(error.reason).toBe('NotS3');
    expect(error.message).toMatch(/^HeadBucket: \P{C}+$/u);
  });
});

describe('a response before the request is fully sent', () => {
  it('is read, and the next call opens a new connection', async () => {
    const server = await serveHttp((request, response) => {
      if (request.method === 'PUT') response.writeHead(403).end(errorXml('AccessDenied'));
      else response.end();
    });
    const client = clientOf(server);
    const error = await failureOf(client.putObject('key', bodyOfSize(LARGE_BYTES), { signal: NEVER }));
    expect(error).toMatchObject({ reason: 'AccessDenied', code: 'AccessDenied' });
    expect(error.call.bytesSent).toBeLessThan(LARGE_BYTES);
    const { call } = await client.headBucket({ signal: NEVER });
    expect(call).toMatchObject({ status: 200, reusedConnection: false });
  });
});

describe('an error response', () => {
  const SIGNED_AT = Date.now();
  const cases: readonly (TestResponse & { name: string; want: Reason; message?: RegExp })[] = [
    ...(
      [
        ['InvalidAccessKeyId', 403, 'InvalidAccessKey'],
        ['SignatureDoesNotMatch', 403, 'SignatureMismatch'],
        ['RequestTimeTooSkewed', 403, 'ClockSkew'],
        ['ExpiredToken', 400, 'CredentialsExpired'],
        ['InvalidTokenId', 403, 'CredentialsExpired'],
        ['AccessDenied', 403, 'AccessDenied'],
        ['AuthorizationHeaderMalformed', 400, 'RegionMismatch'],
        ['PermanentRedirect', 301, 'Redirected'],
        ['NoSuchBucket', 404, 'BucketMissing'],
        ['NoSuchKey', 404, 'ObjectMissing'],
        ['BucketAlreadyExists', 409, 'BucketConflict'],
        ['BucketAlreadyOwnedByYou', 409, 'BucketConflict'],
        ['BucketNotEmpty', 409, 'BucketConflict'],
        ['BadDigest', 400, 'UploadCorrupted'],
        ['XAmzContentSHA256Mismatch', 400, 'UploadCorrupted'],
        ['SlowDown', 503, 'SlowDown'],
        ['SlowDownRead', 503, 'QuorumLost'],
        ['SlowDownWrite', 503, 'QuorumLost'],
        ['XMinioStorageFull', 507, 'StorageFull'],
        ['XMinioServerNotInitialized', 503, 'ServerNotReady'],
        ['InternalError', 500, 'ServerError'],
        ['ServiceUnavailable', 503, 'ServerError'],
        ['SomethingNew', 400, 'RequestRejected'],
        ['SomethingNew', 409, 'RequestRejected'],
        ['SomethingNew', 403, 'AccessDenied'],
        ['SomethingNew', 503, 'ServerError'],
        ['SomethingNew', 507, 'StorageFull'],
        ['SomethingNew', 429, 'SlowDown'],
      ] as const
    ).map(([code, status, want]) => ({
      name: `${status} ${code}`,
      status,
      text: errorXml(code, '<Message>Some message.</Message>'),
      headers: { 'x-amz-request-id': '17F0' },
      want,
      ...(want !== 'Redirected' &&
        want !== 'ClockSkew' && {
          message: new RegExp(
            `^GetObject: ${status} ${code} Some message\\.${want === 'AccessDenied' ? ' \\(needs s3:GetObject\\)' : ''} \\(request ID 17F0\\)$`,
          ),
        }),
    })),
    {
      name: 'a login page',
      headers: { 'content-type': 'text/html; charset=utf-8' },
      text: '<html><head><title>Sign in</title></head></html>',
      want: 'NotS3',
      message: /text\/html/,
    },
    {
      name: "a proxy's page",
      status: 502,
      headers: { 'content-type': 'text/html', server: 'nginx' },
      text: '<html>\r\n<head><title>502 Bad Gateway</title></head></html>',
      want: 'StoreUnavailable',
      message: /nginx.*"502 Bad Gateway"/,
    },
    {
      name: 'plain text',
      status: 400,
      headers: { 'content-type': 'text/plain' },
      text: 'Client sent an HTTP request to an HTTPS server.\n',
      want: 'NotS3',
      message: /"Client sent an HTTP request to an HTTPS server\."/,
    },
    { name: 'an empty 400 from another server', status: 400, want: 'NotS3' },
    {
      name: 'an empty 400 from a store',
      status: 400,
      headers: { 'x-amz-request-id': '17F0' },
      want: 'RequestRejected',
    },
    { name: 'an empty 403', status: 403, want: 'AccessDenied' },
    { name: 'an empty 503', status: 503, want: 'StoreUnavailable' },
    {
      name: 'a redirect',
      status: 307,
      headers: { location: 'https://elsewhere.example/bucket' },
      want: 'Redirected',
      message: /pointing to https:\/\/elsewhere\.example\/bucket$/,
    },
    {
      name: 'a redirect in XML',
      status: 301,
      text: errorXml('PermanentRedirect', '<Endpoint>bucket.s3.eu-west-1.amazonaws.com</Endpoint>'),
      want: 'Redirected',
      message: /pointing to bucket\.s3\.eu-west-1\.amazonaws\.com$/,
    },
    {
      name: 'another region',
      status: 400,
      text: errorXml('AuthorizationHeaderMalformed', '<Region>eu-west-1</Region>'),
      want: 'RegionMismatch',
      message: /the store is in region eu-west-1/,
    },
    {
      name: "a store's clock that is ahead",
      status: 403,
      headers: { date: new Date(SIGNED_AT + 3_600_000).toUTCString() },
      text: errorXml('RequestTimeTooSkewed'),
      want: 'ClockSkew',
      message: /the store's clock is (3[56]\d\d) s ahead of the prober's/,
    },
    {
      name: "a store's clock that is behind",
      status: 403,
      headers: { date: new Date(SIGNED_AT - 3_600_000).toUTCString() },
      text: errorXml('RequestTimeTooSkewed'),
      want: 'ClockSkew',
      message: /the store's clock is (36\d\d) s behind the prober's/,
    },
  ];

  it.each(cases)('gets a reason: $name → $want', async ({ want, message, ...response }) => {
    const server = await serveHttp(always(response));
    const error = await failureOf(clientOf(server).getObject('key', new CollectingSink(), { signal: NEVER }));
    expect(error.reason).toBe(want);
    expect(error.message).toMatch(message ?? /./);
    expect(server.requests).toHaveLength(1);
  });

  it.each([
    { name: 'AccessDenied', code: 'AccessDenied', want: 'AccessDenied' },
    { name: 'InvalidAccessKeyId', code: 'InvalidAccessKeyId', want: 'InvalidAccessKey' },
    { name: 'no error code', code: undefined, want: 'AccessDenied' },
  ])('gets a reason without a body: HEAD 403 with $name in the header', async ({ code, want }) => {
    const headers = { 'x-amz-request-id': '17F0', ...(code !== undefined && { 'x-minio-error-code': code }) };
    const server = await serveHttp(always({ status: 403, headers }));
    const client = clientOf(server);
    expect((await failureOf(client.headBucket({ signal: NEVER }))).reason).toBe(want);
    expect((await failureOf(client.headObject('key', { signal: NEVER }))).reason).toBe(want);
  });

  it.each([408, 429, 499, 500, 502, 503, 504, 520])('is not retried: %d', async (status) => {
    const server = await serveHttp(always({ status, text: errorXml('SlowDown') }));
    const client = clientOf(server);
    await failureOf(client.headBucket({ signal: NEVER }));
    await failureOf(client.putObject('key', bodyOfSize(1), { signal: NEVER }));
    await failureOf(client.deleteObject('key', { id: undefined }, { signal: NEVER }));
    expect(server.requests).toHaveLength(3);
  });

  it.each([201, 202, 203, 204, 206])('causes no error other than S3Error for status %d', async (status) => {
    const server = await serveHttp(always({ status, headers: { 'x-amz-request-id': '17F0' } }));
    const client = clientOf(server);
    const options = { signal: NEVER };
    for (const call of [
      () => client.headBucket(options),
      () => client.createBucket(options),
      () => client.putObject('key', bodyOfSize(1), options),
      () => client.headObject('key', options),
      () => client.deleteObject('key', { id: undefined }, options),
      () => client.deleteBucket(options),
    ]) {
      const outcome = await call().then(
        (done) => done.call.status,
        (error: unknown) => (error instanceof S3Error ? status : error),
      );
      expect(outcome).toBe(status);
    }
  });

  it.each(['constructor', 'toString', '__proto__'])(
    'is RequestRejected if its code is the name of a JavaScript built-in: %s',
    async (code) => {
      const server = await serveHttp(always({ status: 400, text: errorXml(code) }));
      const error = await failureOf(
        clientOf(server).getObject('key', new CollectingSink(), { signal: NEVER }),
      );
      expect(error.reason).toBe('RequestRejected');
    },
  );

  it('gives a message of one printable line, whatever the store writes', async () => {
    let current: TestResponse = {};
    const server = await serveHttp((request, response) => {
      always(current)(request, response);
    });
    const client = clientOf(server);
    const foreign = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 3_000 }),
      fc.constantFrom(
        'constructor',
        '__proto__',
        'toString',
        'a\nb',
        '\u001B[31mred',
        '\u202Eevil',
        '<',
        '&amp;',
      ),
    );
    const status = fc.constantFrom(301, 307, 400, 403, 404, 409, 429, 500, 503, 507);
    const type = fc.constantFrom('text/html', 'application/xml', 'text/plain');
    await fc.assert(
      fc.asyncProperty(
        status,
        foreign,
        foreign,
        foreign,
        type,
        fc.boolean(),
        async (code, name, message, region, contentType, isXml) => {
          current = {
            status: code,
            headers: { 'content-type': contentType },
            text: isXml
              ? errorXml(name, `<Message>${message}</Message><Region>${region}</Region>`)
              : `<title>${message}</title>`,
          };
          const call = client.getObject('key', new CollectingSink(), { signal: NEVER });
          const error = await failureOf(call);
          expect(Object.keys(REASONS)).toContain(error.reason);
          expect(error.message).toMatch(/^[^\p{C}\p{Zl}\p{Zp}]{1,512}$/u);
        },
      ),
      { numRuns: 60, endOnFailure: true },
    );
  });

  const HOSTILE = 'x\u001B[2J\u202E\u0000\n<b>'.repeat(400);
  const HOSTILE_HEADER = 'x\u009B2J\u0085'.repeat(400);
  const hostile: readonly (TestResponse & { name: string })[] = [
    { name: 'a message', status: 403, text: errorXml('AccessDenied', `<Message>${HOSTILE}</Message>`) },
    { name: 'a code', status: 403, text: errorXml(HOSTILE.slice(0, 1_000).replaceAll('<b>', '')) },
    { name: 'a region', status: 400, text: errorXml('InvalidRegion', `<Region>${HOSTILE}</Region>`) },
    {
      name: 'an endpoint',
      status: 301,
      text: errorXml('PermanentRedirect', `<Endpoint>${HOSTILE}</Endpoint>`),
    },
    { name: 'a location', status: 307, headers: { location: HOSTILE_HEADER } },
    { name: 'a page', status: 502, text: HOSTILE },
    { name: 'a title', status: 502, text: `<title>${HOSTILE.replaceAll('<b>', '')}</title>` },
    { name: 'a content type', status: 502, headers: { 'content-type': HOSTILE_HEADER }, text: 'no' },
    {
      name: 'headers',
      status: 403,
      headers: {
        'x-minio-error-code': HOSTILE_HEADER,
        'x-minio-error-desc': HOSTILE_HEADER,
        'x-amz-request-id': HOSTILE_HEADER,
        'x-amz-id-2': HOSTILE_HEADER,
        server: HOSTILE_HEADER,
      },
    },
  ];

  it.each(hostile)('is quoted only as a bounded, printable excerpt: $name', async (response) => {
    const server = await serveHttp(always(response));
    const error = await failureOf(clientOf(server).getObject('key', new CollectingSink(), { signal: NEVER }));
    expect(error.call.status).toBe(response.status);
    expect(error.message).toMatch(/^GetObject: [^\p{C}]{1,512}$/u);
    const { requestId, hostId, server: serverHeader } = error.call;
    for (const text of [error.code, requestId, hostId, serverHeader])
      expect(text ?? '').toMatch(/^[^\p{C}]{0,200}$/u);
  });

  it('gives a message of bounded length even if it quotes several long texts', async () => {
    const long = 'x'.repeat(1_000);
    const response = { status: 502, headers: { 'content-type': long, server: long }, text: long };
    const server = await serveHttp(always(response));
    const error = await failureOf(clientOf(server).getObject('key', new CollectingSink(), { signal: NEVER }));
    expect(error.message).toMatch(/^GetObject: 502 is not an S3 response \(x+… from x+…\): "x+…$/);
    expect(error.message).toHaveLength(512);
  });

  it.each(['<', '<a', '<title>', '<Code>', '<Error', '&amp;', '"'])(
    'is parsed quickly even if it repeats %s',
    async (piece) => {
      const server = await serveHttp(always({ status: 500, text: piece.repeat(65_536 / piece.length) }));
      const client = clientOf(server);
      const startMs = performance.now();
      await failureOf(client.getObject('key', new CollectingSink(), { signal: NEVER }));
      expect(performance.now() - startMs).toBeLessThan(1_000);
    },
  );
});

describe('the session token', () => {
  const echoes: readonly (TestResponse & { name: string })[] = [
    {
      name: 'the message',
      status: 400,
      text: errorXml('InvalidToken', `<Message>${SESSION_TOKEN}</Message>`),
    },
    { name: 'the code', status: 400, text: errorXml(SESSION_TOKEN) },
    { name: 'a page', status: 400, text: `<title>${SESSION_TOKEN}</title>` },
    { name: 'a redirect', status: 307, headers: { location: `http://elsewhere/?token=${SESSION_TOKEN}` } },
    { name: 'the description', status: 403, headers: { 'x-minio-error-desc': SESSION_TOKEN } },
    { name: 'the request ID', status: 403, headers: { 'x-amz-request-id': SESSION_TOKEN } },
    { name: 'the server header', status: 502, headers: { server: SESSION_TOKEN }, text: 'no' },
    { name: 'the content type', status: 502, headers: { 'content-type': SESSION_TOKEN }, text: 'no' },
  ];

  it.each(echoes)('is redacted in an error if the store echoes it in $name', async (response) => {
    const server = await serveHttp(always(response));
    const client = clientOf(server, { sessionToken: SESSION_TOKEN });
    const error = await failureOf(client.getObject('key', new CollectingSink(), { signal: NEVER }));
    expect(JSON.stringify([error.message, error.code, error.call])).not.toContain(SESSION_TOKEN);
  });
});

describe('TLS', () => {
  it('is a phase of the call, and the record shows when the certificate expires', async () => {
    const authority = await createAuthority();
    const notAfter = new Date(Date.now() + 86_400_000);
    const server = await serveHttp(always({}), { tls: await authority.issue({ notAfter }) });
    const client = clientOf(server, { ca: authority.certificate });
    const { call } = await client.headBucket({ signal: NEVER });
    expect(Object.keys(call.phases)).toEqual(['connectMs', 'tlsMs', 'sendMs', 'firstByteMs', 'bodyMs']);
    expect(call.tlsProtocol).toBe('TLSv1.3');
    expect(call.certificateNotAfter).toBe(new Date(Math.floor(+notAfter / 1_000) * 1_000).toISOString());
    expect(durationOf(call.phases)).toBeCloseTo(call.durationMs, 6);
  });

  const DAY_MS = 86_400_000;
  const days = (count: number): Date => new Date(Date.now() + count * DAY_MS);
  it.each([
    { name: 'from an untrusted authority', leaf: {}, trusted: false, want: 'TLSUnknownAuthority' },
    {
      name: 'that has expired',
      leaf: { notBefore: days(-2), notAfter: days(-1) },
      trusted: true,
      want: 'TLSCertificateExpired',
    },
    {
      name: 'that is not yet valid',
      leaf: { notBefore: days(1), notAfter: days(2) },
      trusted: true,
      want: 'TLSCertificateNotYetValid',
    },
    { name: 'for another host', leaf: { hosts: ['other'] }, trusted: true, want: 'TLSHostnameMismatch' },
  ])('rejects a certificate $name', async ({ leaf, trusted, want }) => {
    const authority = await createAuthority();
    const server = await serveHttp(always({}), { tls: await authority.issue(leaf) });
    const client = clientOf(server, trusted ? { ca: authority.certificate } : {});
    const error = await failureOf(client.headBucket({ signal: NEVER }));
    expect(error.reason).toBe(want);
    expect(Object.keys(error.call.phases).at(-1)).toBe('tlsMs');
    expect(server.requests).toHaveLength(0);
  });

  it('quotes only a bounded excerpt of a certificate', async () => {
    const authority = await createAuthority();
    const hosts = Array.from({ length: 300 }, (_, index) => `host-${index}.example`);
    const server = await serveHttp(always({}), { tls: await authority.issue({ hosts }) });
    const client = clientOf(server, { ca: authority.certificate });
    const error = await failureOf(client.headBucket({ signal: NEVER }));
    expect(error.reason).toBe('TLSHostnameMismatch');
    expect(error.message).toMatch(/^HeadBucket: TLS handshake with [^\p{C}]{1,300}$/u);
  });

  it.each([
    { version: 'TLSv1.2' as const, phase: 'tlsMs' },
    { version: 'TLSv1.3' as const, phase: 'firstByteMs' },
  ])('is ClientCertificateRequired if the server requires one: $version', async ({ version, phase }) => {
    const authority = await createAuthority();
    const server = tls.createServer({
      ...(await authority.issue()),
      ca: authority.certificate,
      requestCert: true,
      minVersion: version,
      maxVersion: version,
    });
    server.on('tlsClientError', () => undefined);
    await once(server.listen(0, '127.0.0.1'), 'listening');
    onTestFinished(() => void server.close());
    const { port } = server.address() as net.AddressInfo;
    const client = clientOf({ url: `https://127.0.0.1:${port}` }, { ca: authority.certificate });
    const error = await failureOf(client.headBucket({ signal: NEVER }));
    expect(error).toMatchObject({ reason: 'ClientCertificateRequired', by: 'TLS peer' });
    expect(Object.keys(error.call.phases)).toContain(phase === 'tlsMs' ? 'tlsMs' : 'sendMs');
  });

  it('fails if the port does not use TLS', async () => {
    const { port } = await serveHttp(always({}));
    const client = clientOf({ url: `https://127.0.0.1:${port}` });
    const error = await failureOf(client.headBucket({ signal: NEVER }));
    expect(error.reason).toBe('TLSFailed');
    expect(error.message).toMatch(/^HeadBucket: TLS handshake with \P{C}{1,300}$/u);
  });

  it('fails if the server resets the connection', async () => {
    const { port } = await serveTcp((socket) => {
      socket.once('data', () => socket.resetAndDestroy());
    });
    const client = clientOf({ url: `https://127.0.0.1:${port}` });
    const error = await failureOf(client.headBucket({ signal: NEVER }));
    expect(error.reason).toBe('TLSFailed');
  });
});

describe('a CA bundle', () => {
  it.each([
    { name: 'is empty', ca: '', want: 'the CA bundle contains no PEM certificate' },
    {
      name: 'is a key',
      ca: '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n',
      want: /no PEM certif/,
    },
    {
      name: 'cannot be parsed',
      ca: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
      want: 'certificate 1 in the CA bundle cannot be parsed',
    },
  ])('is rejected if it $name', ({ ca, want }) => {
    const createClient = (): S3Client => clientOf({ url: 'https://my-minio:9000' }, { ca });
    expect(createClient).toThrow(ReasonedError);
    expect(createClient).toThrow(want);
    expect(createClient).toThrow(expect.objectContaining({ reason: 'SecretInvalid' }) as Error);
  });

  it('may contain several certificates with text between them', async () => {
    const [first, second] = await Promise.all([createAuthority('first'), createAuthority('second')]);
    const server = await serveHttp(always({}), { tls: await second.issue() });
    const ca = `# first\n${first.certificate}\n\n# second\r\n${second.certificate.replaceAll('\n', '\r\n')}`;
    const { call } = await clientOf(server, { ca }).headBucket({ signal: NEVER });
    expect(call.status).toBe(200);
  });

  it('is rejected with the number of the certificate that cannot be parsed', async () => {
    const { certificate } = await createAuthority();
    const ca = `${certificate}\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`;
    expect(() => clientOf({ url: 'https://my-minio:9000' }, { ca })).toThrow(
      'certificate 2 in the CA bundle',
    );
  });
});
