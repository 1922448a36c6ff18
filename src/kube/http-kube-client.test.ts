import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import type http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { KubeConfig } from '@kubernetes/client-node';
import { describe, expect, it, onTestFinished, vi } from 'vitest';

import { createAuthority } from '../../deploy/local/certificates.ts';
import { bodyOf, closedPort, serveHttp } from '../../test/support/http-server.ts';
import type { Clock } from '../clock/clock.ts';
import { ManualClock } from '../clock/manual-clock.ts';
import { systemClock } from '../clock/system-clock.ts';
import { HttpKubeClient } from './http-kube-client.ts';
import { KubeError, type KubeClientMetrics, type KubeRequest } from './kube-client.ts';
import { loadKubeConfig } from './kube-config.ts';

const NEVER = new AbortController().signal;
const REASON = new Error('shutting down');
const GET: KubeRequest = { method: 'GET', path: '/api/v1/nodes' };
const POST: KubeRequest = { method: 'POST', path: '/api/v1/nodes', body: { kind: 'Node' } };

type Cluster = Partial<KubeConfig['clusters'][number]>;
type User = Partial<KubeConfig['users'][number]>;
type Handler = (request: http.IncomingMessage, response: http.ServerResponse) => void;

function configFor(server: string, user: User = {}, cluster: Cluster = {}): KubeConfig {
  const config = new KubeConfig();
  config.loadFromClusterAndUser(
    { name: 'test', server, skipTLSVerify: server.startsWith('http:'), ...cluster },
    { name: 'tester', ...user },
  );
  return config;
}

function clientFor(
  config: KubeConfig,
  { clock = systemClock, metrics }: { clock?: Clock; metrics?: KubeClientMetrics } = {},
): HttpKubeClient {
  const client = new HttpKubeClient({ config, clock, userAgent: 'tester/1.0', metrics });
  onTestFinished(() => client.close());
  return client;
}

async function failureOf(promise: Promise<unknown>): Promise<KubeError> {
  const error = await promise.then(
    () => undefined,
    (failure: unknown) => failure,
  );
  expect(error).toBeInstanceOf(KubeError);
  return error as KubeError;
}

async function collect(stream: AsyncIterable<unknown>): Promise<unknown[]> {
  return Array.fromAsync(stream);
}

async function temporaryDir(): Promise<string> {
  const dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-kube-'));
  onTestFinished(() => dir.remove());
  return dir.path;
}

/**
 * A user whose exec command counts its runs in a file, then runs the code `print`. That code can read the count as
 * `runs`.
 */
async function execUser(print: string): Promise<User> {
  const file = join(await temporaryDir(), 'runs');
  const script = `const fs = require('node:fs');
    fs.appendFileSync(process.argv[1], 'x');
    const runs = fs.readFileSync(process.argv[1]).length;
    ${print}`;
  return { exec: { command: process.execPath, args: ['-e', script, file] } };
}

function printToken(expiry: string): string {
  return `console.log(JSON.stringify({ status: { token: 'token-' + runs, expirationTimestamp: '${expiry}' } }));`;
}

/** Uses one handler per request, in order, and the last handler for all further requests. */
function inOrder(...handlers: Handler[]): Handler {
  let next = 0;
  return (request, response) => {
    handlers[Math.min(next, handlers.length - 1)]?.(request, response);
    next += 1;
  };
}

function status(
  code: number,
  { headers = {}, body = '{}' }: { headers?: object; body?: string } = {},
): Handler {
  return (_request, response) => {
    response.writeHead(code, { ...headers }).end(body);
  };
}

const ok = status(200, { body: '{"ok":true}' });
const hang: Handler = () => undefined;
const dropConnection: Handler = (request) => {
  request.socket.destroy();
};

describe('request', () => {
  it('sends JSON and the query to a path below the path of the server URL', async () => {
    let body: Buffer | undefined;
    const server = await serveHttp((request, response) => {
      void bodyOf(request).then((bytes) => {
        body = bytes;
        response.end('{"kind":"Node"}');
      });
    });
    const client = clientFor(configFor(`${server.url}/k8s/clusters/c-1/`, { token: 'a-token' }));
    const query = { fieldManager: 'it & me', force: true, limit: 5, absent: undefined };
    const patch = { ...POST, method: 'PATCH', query, contentType: 'application/merge-patch+json' } as const;
    await expect(client.request(patch, NEVER)).resolves.toEqual({ kind: 'Node' });
    expect(server.requests).toEqual([
      'PATCH /k8s/clusters/c-1/api/v1/nodes?fieldManager=it+%26+me&force=true&limit=5',
    ]);
    expect(server.headers[0]).toMatchObject({
      authorization: 'Bearer a-token',
      'user-agent': 'tester/1.0',
      accept: 'application/json',
      'content-type': 'application/merge-patch+json',
    });
    expect(body?.toString()).toBe('{"kind":"Node"}');
  });

  it('reuses the TLS connection', async () => {
    const authority = await createAuthority('test');
    const server = await serveHttp(ok, { tls: await authority.issue({}) });
    const caData = Buffer.from(authority.certificate).toString('base64');
    const client = clientFor(configFor(server.url, { token: 'a-token' }, { caData }));
    for (let count = 0; count < 1_000; count += 1) await client.request(GET, NEVER);
    expect(server.requests).toHaveLength(1_000);
    // A connection becomes free shortly after its response, so the next request may open a second one.
    expect(server.connections.length).toBeLessThanOrEqual(2);
  });

  it('limits the number of connections', async () => {
    const waiting: http.ServerResponse[] = [];
    const server = await serveHttp((_request, response) => {
      waiting.push(response);
      setImmediate(() => waiting.shift()?.end('{}'));
    });
    const client = clientFor(configFor(server.url));
    await Promise.all(Array.from({ length: 200 }, () => client.request(GET, NEVER)));
    expect(server.requests).toHaveLength(200);
    expect(server.connections.length).toBeLessThanOrEqual(32);
  });

  it('does not wait for watches, however many there are', async () => {
    const server = await serveHttp((request, response) => {
      if (request.url?.includes('watch=true')) response.write('1\n');
      else response.end('{}');
    });
    const client = clientFor(configFor(server.url));
    const streams = Array.from({ length: 100 }, () =>
      client.stream({ ...GET, query: { watch: true } }, NEVER)[Symbol.asyncIterator](),
    );
    for (const stream of streams) await stream.next();
    await expect(client.request(GET, NEVER)).resolves.toEqual({});
  });

  it('does not wait for other requests if it is urgent', async () => {
    const server = await serveHttp((request, response) => {
      if (request.url?.endsWith('/leases')) response.end('{}');
    });
    const client = clientFor(configFor(server.url));
    const waiting = Array.from({ length: 100 }, () => failureOf(client.request(GET, NEVER)));
    await vi.waitFor(() => {
      expect(server.requests).toHaveLength(32);
    });
    await expect(client.request({ ...GET, path: '/leases', isUrgent: true }, NEVER)).resolves.toEqual({});
    await client.close();
    await Promise.all(waiting);
  });

  it('uses the proxy from the kubeconfig', async () => {
    const proxy = await serveHttp(ok);
    const client = clientFor(configFor('http://kubernetes.test', {}, { proxyUrl: proxy.url }));
    await expect(client.request(GET, NEVER)).resolves.toEqual({ ok: true });
    expect(proxy.requests).toEqual(['GET http://kubernetes.test/api/v1/nodes']);
  });

  it('reports each attempt in its metrics', async () => {
    const server = await serveHttp(
      inOrder(status(429, { headers: { 'retry-after': '0' } }), ok, dropConnection),
    );
    const seen: string[] = [];
    const metrics: KubeClientMetrics = {
      request(method, code, durationMs) {
        expect(durationMs).toBeGreaterThanOrEqual(0);
        seen.push(`${method} ${code}`);
      },
    };
    const client = clientFor(configFor(server.url), { metrics });
    await client.request(GET, NEVER);
    await failureOf(client.request(POST, NEVER));
    expect(seen).toEqual(['GET 429', 'GET 200', 'POST <error>']);
  });
});

describe('error response', () => {
  it('throws an error with the reason and message of the Status', async () => {
    const body = JSON.stringify({
      kind: 'Status',
      reason: 'NotFound',
      message: `nodes "a"\n\u{1b}[31mnot found ${'x'.repeat(1_000)}`,
    });
    const server = await serveHttp(status(404, { body }));
    const error = await failureOf(clientFor(configFor(server.url)).request(GET, NEVER));
    expect(error).toMatchObject({ status: 404, reason: 'NotFound', retryAfterMs: undefined });
    expect(error.message).toMatch(/^GET \/api\/v1\/nodes: 404 NotFound: nodes "a" \[31mnot found x+…?$/);
    expect(error.message.length).toBeLessThan(400);
  });

  it.each([
    { code: 301, reason: 'Redirected' },
    { code: 401, reason: 'Unauthorized' },
    { code: 410, reason: 'Gone' },
    { code: 418, reason: 'Unknown' },
    { code: 503, reason: 'ServiceUnavailable' },
  ])(
    'has reason $reason for HTTP $code without a Status, and quotes nothing from the response',
    async ({ code, reason }) => {
      const headers = { location: 'http://elsewhere.test/', 'set-cookie': 'hidden' };
      const server = await serveHttp(status(code, { headers, body: '<p>hidden</p>'.repeat(10_000) }));
      const error = await failureOf(clientFor(configFor(server.url)).request(GET, NEVER));
      expect(error).toMatchObject({ status: code, reason, message: `GET /api/v1/nodes: ${code} ${reason}` });
      expect(server.requests).toHaveLength(1);
    },
  );

  it.each([
    { name: 'seconds', headers: { 'retry-after': '7' }, wantMs: 7_000 },
    { name: 'a date', headers: { 'retry-after': 'Sun, 22 Nov 2026 12:00:09 GMT' }, wantMs: 9_000 },
    { name: 'an invalid value', headers: { 'retry-after': 'soon' }, wantMs: undefined },
    {
      name: 'a value of one year, capped at 10 minutes',
      headers: { 'retry-after': '31536000' },
      wantMs: 600_000,
    },
    { name: 'the details of the Status', headers: {}, wantMs: 3_000 },
  ])('sets retryAfterMs from $name', async ({ headers, wantMs }) => {
    const body = JSON.stringify({ kind: 'Status', details: { retryAfterSeconds: 3 } });
    const server = await serveHttp(status(503, { headers, body }));
    const client = clientFor(configFor(server.url), { clock: new ManualClock(Date.UTC(2026, 10, 22, 12)) });
    const error = await failureOf(client.request(POST, NEVER));
    expect(error.retryAfterMs).toBe(wantMs);
  });
});

describe('retry', () => {
  it.each([
    { name: 'a 429 with Retry-After', code: 429, retryAfter: '2', request: POST, waitMs: 2_000 },
    { name: 'a 429 without Retry-After', code: 429, retryAfter: undefined, request: POST, waitMs: 1_000 },
    {
      name: 'a 503 with Retry-After in response to a GET',
      code: 503,
      retryAfter: '2',
      request: GET,
      waitMs: 2_000,
    },
  ])('follows $name', async ({ code, retryAfter, request, waitMs }) => {
    const headers = retryAfter === undefined ? {} : { 'retry-after': retryAfter };
    const server = await serveHttp(inOrder(status(code, { headers }), ok));
    const clock = new ManualClock();
    const response = clientFor(configFor(server.url), { clock }).request(request, NEVER);
    await vi.waitFor(async () => {
      await clock.advance(0);
      // One timer for the deadline and one for the retry delay.
      expect(clock.pendingTimers).toBe(2);
    });
    await clock.advance(waitMs - 1);
    expect(server.requests).toHaveLength(1);
    await clock.advance(1);
    await expect(response).resolves.toEqual({ ok: true });
    expect(server.requests).toHaveLength(2);
  });

  it.each([
    { name: 'a 503 without Retry-After', code: 503, headers: {}, request: GET },
    { name: 'a 503 in response to a POST', code: 503, headers: { 'retry-after': '0' }, request: POST },
    {
      name: 'a 429 with a Retry-After beyond the deadline',
      code: 429,
      headers: { 'retry-after': '30' },
      request: GET,
    },
    { name: 'a 403', code: 403, headers: { 'retry-after': '0' }, request: GET },
  ])('does not follow $name', async ({ code, headers, request }) => {
    const server = await serveHttp(status(code, { headers }));
    const client = clientFor(configFor(server.url), { clock: new ManualClock() });
    expect(await failureOf(client.request(request, NEVER))).toMatchObject({ status: code });
    expect(server.requests).toHaveLength(1);
  });

  it.each([401, 403])('follows a %i from a server that may be starting', async (code) => {
    const server = await serveHttp(inOrder(dropConnection, status(code), status(code), ok));
    const clock = new ManualClock();
    const client = clientFor(configFor(server.url), { clock });
    await failureOf(client.request(POST, NEVER));
    await clock.advance(7_000);
    const response = client.request(POST, NEVER);
    for (const requests of [2, 3]) {
      await vi.waitFor(async () => {
        await clock.advance(0);
        expect(server.requests).toHaveLength(requests);
        expect(clock.pendingTimers).toBe(2);
      });
      await clock.advance(999);
      expect(server.requests).toHaveLength(requests);
      await clock.advance(1);
    }
    await expect(response).resolves.toEqual({ ok: true });
  });

  it('does not follow a 403 long after the last connection failure', async () => {
    const server = await serveHttp(inOrder(dropConnection, status(403)));
    const clock = new ManualClock();
    const client = clientFor(configFor(server.url), { clock });
    await failureOf(client.request(POST, NEVER));
    await clock.advance(10_000);
    expect(await failureOf(client.request(POST, NEVER))).toMatchObject({ status: 403 });
    expect(server.requests).toHaveLength(2);
  });

  it('stops after five retries', async () => {
    const server = await serveHttp(status(429, { headers: { 'retry-after': '0' } }));
    await failureOf(clientFor(configFor(server.url)).request(GET, NEVER));
    expect(server.requests).toHaveLength(6);
  });

  it('opens a new connection for a GET if the server closed its keep-alive connection', async () => {
    const server = await serveHttp(inOrder(ok, dropConnection, ok));
    const client = clientFor(configFor(server.url));
    await client.request(GET, NEVER);
    await expect(client.request(GET, NEVER)).resolves.toEqual({ ok: true });
    expect(server.requests).toHaveLength(3);
  });

  it.each([
    { name: 'a POST on a closed connection, because it may have been processed', request: POST, requests: 1 },
    { name: 'a second closed connection for a GET', request: GET, requests: 2 },
  ])('does not follow $name', async ({ request, requests }) => {
    const server = await serveHttp(dropConnection);
    const error = await failureOf(clientFor(configFor(server.url)).request(request, NEVER));
    expect(error).toMatchObject({ status: 0, reason: 'ConnectionFailed' });
    expect(error.message).toBe(`${request.method} /api/v1/nodes at ${server.url}: other side closed`);
    expect(server.requests).toHaveLength(requests);
  });
});

describe('no response', () => {
  it('reports that the connection was refused', async () => {
    const url = `http://127.0.0.1:${await closedPort()}`;
    const error = await failureOf(clientFor(configFor(url)).request(GET, NEVER));
    expect(error).toMatchObject({ status: 0, reason: 'ConnectionFailed' });
    expect(error.message).toMatch(
      /^GET \/api\/v1\/nodes at http:\S+: connect ECONNREFUSED 127\.0\.0\.1:\d+$/,
    );
  });

  it('reports that the certificate is not trusted', async () => {
    const authority = await createAuthority('test');
    const server = await serveHttp(ok, { tls: await authority.issue({}) });
    const error = await failureOf(clientFor(configFor(server.url)).request(GET, NEVER));
    expect(error).toMatchObject({ status: 0, reason: 'ConnectionFailed' });
    expect(error.message).toMatch(/certificate/);
    expect(server.requests).toEqual([]);
  });

  it.each([
    { name: 'no response starts', start: '', code: 200, want: { status: 0, reason: 'Timeout' } },
    { name: 'a response is incomplete', start: '{"a":', code: 200, want: { status: 0, reason: 'Timeout' } },
    {
      name: 'an error response is incomplete',
      start: '{"a":',
      code: 500,
      want: { status: 500, reason: 'InternalError' },
    },
  ])('stops at the deadline when $name', async ({ start, code, want }) => {
    const server = await serveHttp((_request, response) => {
      if (start !== '') response.writeHead(code).write(start);
    });
    const clock = new ManualClock();
    const failure = failureOf(
      clientFor(configFor(server.url), { clock }).request({ ...GET, timeoutMs: 5_000 }, NEVER),
    );
    await vi.waitFor(() => {
      expect(server.requests).toHaveLength(1);
    });
    await clock.advance(5_000);
    expect(await failure).toMatchObject(want);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([
    { name: 'is aborted', end: (stop: AbortController) => Promise.resolve(stop.abort(REASON)), want: REASON },
    {
      name: 'reaches its deadline',
      end: (_stop: AbortController, clock: ManualClock) => clock.advance(5_000),
      want: { status: 0, reason: 'Timeout' },
    },
  ])('discards a request that $name while it waits for a connection', async ({ end, want }) => {
    const responses: http.ServerResponse[] = [];
    const server = await serveHttp((_request, response) => responses.push(response));
    const clock = new ManualClock();
    const client = clientFor(configFor(server.url), { clock });
    const others = Array.from({ length: 32 }, () => client.request(GET, NEVER));
    await vi.waitFor(() => {
      expect(responses).toHaveLength(32);
    });
    const stop = new AbortController();
    const failure = client
      .request({ ...GET, path: '/queued', timeoutMs: 5_000 }, stop.signal)
      .catch((error: unknown) => error);
    // Lets the request reach the queue.
    await clock.advance(0);
    await end(stop, clock);
    expect(await failure).toMatchObject(want);
    for (const response of responses) response.end('{}');
    await Promise.all(others);
    expect(server.requests).not.toContain('GET /queued');
  });

  it.each([
    { name: 'while waiting for the response', respond: hang },
    { name: 'while waiting for a retry', respond: status(429, { headers: { 'retry-after': '20' } }) },
  ])('rejects with the abort reason $name', async ({ respond }) => {
    const server = await serveHttp(respond);
    const stop = new AbortController();
    const failure = clientFor(configFor(server.url))
      .request(GET, stop.signal)
      .catch((error: unknown) => error);
    await vi.waitFor(() => {
      expect(server.requests).toHaveLength(1);
    });
    stop.abort(REASON);
    expect(await failure).toBe(REASON);
  });

  it('sends nothing after an abort or after close', async () => {
    const server = await serveHttp(ok);
    const client = clientFor(configFor(server.url));
    await expect(client.request(GET, AbortSignal.abort(REASON))).rejects.toBe(REASON);
    await expect(collect(client.stream(GET, AbortSignal.abort(REASON)))).rejects.toBe(REASON);
    await client.close();
    expect(await failureOf(client.request(GET, NEVER))).toMatchObject({ reason: 'ConnectionFailed' });
    expect(server.requests).toEqual([]);
  });

  it('fails requests in progress when the client is closed', async () => {
    const server = await serveHttp(hang);
    const client = clientFor(configFor(server.url));
    const failure = failureOf(client.request(GET, NEVER));
    await vi.waitFor(() => {
      expect(server.requests).toHaveLength(1);
    });
    await client.close();
    expect(await failure).toMatchObject({ reason: 'ConnectionFailed' });
  });
});

describe('invalid response', () => {
  it.each([
    {
      name: 'is not JSON',
      respond: status(200, { body: 'hidden' }),
      what: 'is not JSON',
      reason: 'InvalidAnswer',
    },
    {
      name: 'is too long',
      respond: status(200, { body: ' '.repeat(64 * 1_024 * 1_024 + 1) }),
      what: 'is too long',
      reason: 'ResponseTooLong',
    },
  ])('is reported if it $name', async ({ respond, what, reason }) => {
    const server = await serveHttp(respond);
    const error = await failureOf(clientFor(configFor(server.url)).request(GET, NEVER));
    expect(error).toMatchObject({
      status: 200,
      reason,
      message: `GET /api/v1/nodes: the response ${what}`,
    });
  });
});

describe('credentials', () => {
  it("are read from the kubeconfig's exec command again when they have expired", async () => {
    const server = await serveHttp(ok);
    const client = clientFor(configFor(server.url, await execUser(printToken('2020-01-01T00:00:00Z'))));
    await client.request(GET, NEVER);
    await client.request(GET, NEVER);
    expect(server.headers.map(({ authorization }) => authorization)).toEqual([
      'Bearer token-1',
      'Bearer token-2',
    ]);
  });

  it("are read from the kubeconfig's exec command only once for concurrent requests and while they are valid", async () => {
    const server = await serveHttp(ok);
    const client = clientFor(configFor(server.url, await execUser(printToken('2999-01-01T00:00:00Z'))));
    await Promise.all([client.request(GET, NEVER), client.request(GET, NEVER)]);
    await client.request(GET, NEVER);
    expect(new Set(server.headers.map(({ authorization }) => authorization))).toEqual(
      new Set(['Bearer token-1']),
    );
  });

  it.each([
    { name: 'fails', print: `console.error('log in\\nfirst'); process.exit(3);`, why: 'log in first' },
    {
      name: 'does not print JSON',
      print: `console.log('hidden-token');`,
      why: "the output of the kubeconfig's exec command is not JSON",
    },
  ])('are reported as unavailable in one line if the command $name', async ({ print, why }) => {
    const server = await serveHttp(ok);
    const error = await failureOf(
      clientFor(configFor(server.url, await execUser(print))).request(GET, NEVER),
    );
    expect(error).toMatchObject({
      status: 0,
      reason: 'CredentialsFailed',
      message: `cannot get credentials for the API server: ${why}`,
    });
    // The cause might quote the output of the command.
    expect(error.cause).toBeUndefined();
    expect(server.requests).toEqual([]);
  });

  it('do not delay an abort', async () => {
    const stop = new AbortController();
    const user = await execUser('setTimeout(() => {}, 2_000);');
    const request = clientFor(configFor('http://127.0.0.1:1', user)).request(GET, stop.signal);
    stop.abort(REASON);
    await expect(request).rejects.toBe(REASON);
  });

  it('are read again when the token file of the Pod changes', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const server = await serveHttp(ok);
    const tokenFile = join(await temporaryDir(), 'token');
    const client = clientFor(
      configFor(server.url, { authProvider: { name: 'tokenFile', config: { tokenFile } } }),
    );
    await writeFile(tokenFile, 'first\n');
    await client.request(GET, NEVER);
    await writeFile(tokenFile, 'second\n');
    vi.setSystemTime(Date.now() + 61_000);
    await client.request(GET, NEVER);
    expect(server.headers.map(({ authorization }) => authorization)).toEqual([
      'Bearer first',
      'Bearer second',
    ]);
  });

  it('can be a user name and password with an impersonated user', async () => {
    const server = await serveHttp(ok);
    const user = { username: 'tester', password: 'p:w', impersonateUser: 'jane' };
    await clientFor(configFor(server.url, user)).request(GET, NEVER);
    expect(server.headers[0]).toMatchObject({
      authorization: `Basic ${Buffer.from('tester:p:w').toString('base64')}`,
      'impersonate-user': 'jane',
    });
  });

  it('impersonate the UID, groups and extra fields in the kubeconfig, as kubectl does', async () => {
    const rawHeaders: string[] = [];
    const server = await serveHttp((request, response) => {
      rawHeaders.push(...request.rawHeaders);
      response.end('{}');
    });
    const user = {
      as: 'jané',
      'as-uid': 'u-1',
      'as-groups': ['admins', 'Büro, 2. Stock'],
      'as-user-extra': { 'example.com/scopes': ['view', 'edit'] },
    };
    const cluster = { server: server.url, 'insecure-skip-tls-verify': true };
    const path = join(await temporaryDir(), 'config');
    await writeFile(
      path,
      JSON.stringify({
        clusters: [{ name: 'a', cluster }],
        users: [{ name: 'a', user }],
        contexts: [{ name: 'a', context: { cluster: 'a', user: 'a' } }],
        'current-context': 'a',
      }),
    );
    await clientFor(loadKubeConfig({ path, env: {} })).request(GET, NEVER);
    const lines = rawHeaders.flatMap((name, index) =>
      index % 2 === 0 && /^impersonate/i.test(name)
        ? [`${name}: ${Buffer.from(rawHeaders[index + 1] ?? '', 'latin1').toString()}`]
        : [],
    );
    expect(lines).toEqual([
      'Impersonate-User: jané',
      'Impersonate-Uid: u-1',
      'Impersonate-Group: admins',
      'Impersonate-Group: Büro, 2. Stock',
      'Impersonate-Extra-example.com%2Fscopes: view',
      'Impersonate-Extra-example.com%2Fscopes: edit',
    ]);
  });

  it('are used on a new connection when the CA file changes', async () => {
    const authority = await createAuthority('test');
    const server = await serveHttp(ok, { tls: await authority.issue({}) });
    const caFile = join(await temporaryDir(), 'ca.crt');
    await writeFile(caFile, authority.certificate);
    const client = clientFor(configFor(server.url, {}, { caFile }));
    await client.request(GET, NEVER);
    await writeFile(caFile, `${authority.certificate}\n${(await createAuthority('next')).certificate}`);
    await client.request(GET, NEVER);
    expect(server.connections).toHaveLength(2);
  });
});

describe('stream', () => {
  it('yields one value per line, however the chunks are split', async () => {
    const server = await serveHttp((_request, response) => {
      const bytes = Buffer.from('{"a":1}\n\n{"b":"ä€"}\n{"c":3}');
      for (const byte of bytes) response.write(Buffer.of(byte));
      response.end();
    });
    const values = await collect(clientFor(configFor(server.url)).stream(GET, NEVER));
    expect(values).toEqual([{ a: 1 }, { b: 'ä€' }, { c: 3 }]);
  });

  it('has no deadline once it has started', async () => {
    let response: http.ServerResponse | undefined;
    const server = await serveHttp((_request, begun) => {
      response = begun;
      begun.write('1\n');
    });
    const clock = new ManualClock();
    const stream = clientFor(configFor(server.url), { clock }).stream(GET, NEVER)[Symbol.asyncIterator]();
    await stream.next();
    expect(clock.pendingTimers).toBe(0);
    await clock.advance(3_600_000);
    response?.end('2\n');
    await expect(stream.next()).resolves.toEqual({ value: 2, done: false });
    await expect(stream.next()).resolves.toMatchObject({ done: true });
  });

  it('times out if it does not start', async () => {
    const server = await serveHttp(hang);
    const clock = new ManualClock();
    const failure = failureOf(collect(clientFor(configFor(server.url), { clock }).stream(GET, NEVER)));
    await vi.waitFor(() => {
      expect(server.requests).toHaveLength(1);
    });
    await clock.advance(30_000);
    expect(await failure).toMatchObject({
      status: 0,
      reason: 'Timeout',
      message: `GET /api/v1/nodes at ${server.url}: no response within 30000 ms`,
    });
  });

  it('throws an error response', async () => {
    const body = JSON.stringify({ kind: 'Status', reason: 'Expired', message: 'too old resource version' });
    const server = await serveHttp(status(410, { body }));
    expect(await failureOf(collect(clientFor(configFor(server.url)).stream(GET, NEVER)))).toMatchObject({
      status: 410,
      reason: 'Expired',
    });
  });

  it.each([
    { name: 'is not JSON', line: 'hidden\n', what: 'is not JSON', reason: 'InvalidAnswer' },
    {
      name: 'is too long',
      line: 'x'.repeat(4 * 1_024 * 1_024 + 1),
      what: 'has a line that is too long',
      reason: 'ResponseTooLong',
    },
  ])('fails at a line that $name, and closes its connection', async ({ line, what, reason }) => {
    const closed = Promise.withResolvers<void>();
    const server = await serveHttp((_request, response) => {
      response.on('close', closed.resolve);
      response.write(`{}\n${line}`);
    });
    const seen: unknown[] = [];
    const client = clientFor(configFor(server.url));
    const error = await failureOf(
      (async () => {
        for await (const value of client.stream(GET, NEVER)) seen.push(value);
      })(),
    );
    expect(error).toMatchObject({
      reason,
      message: `GET /api/v1/nodes: the response ${what}`,
    });
    expect(seen).toEqual([{}]);
    await closed.promise;
  });

  it('fails when its connection breaks', async () => {
    const server = await serveHttp((request, response) => {
      response.write('{}\n', () => request.socket.destroy());
    });
    const error = await failureOf(collect(clientFor(configFor(server.url)).stream(GET, NEVER)));
    expect(error).toMatchObject({ status: 0, reason: 'ConnectionFailed' });
  });

  it('closes its connection when the reader leaves the loop', async () => {
    const closed = Promise.withResolvers<void>();
    const server = await serveHttp((_request, response) => {
      response.on('close', closed.resolve);
      response.write('1\n2\n');
    });
    for await (const value of clientFor(configFor(server.url)).stream(GET, NEVER)) if (value === 1) break;
    await expect(closed.promise).resolves.toBeUndefined();
  });

  it.each(['waiting', 'busy'])(
    'throws the abort reason and closes its connection while the reader is %s',
    async (when) => {
      const closed = Promise.withResolvers<void>();
      const server = await serveHttp((_request, response) => {
        response.on('close', closed.resolve);
        response.write('1\n');
      });
      const stop = new AbortController();
      const stream = clientFor(configFor(server.url)).stream(GET, stop.signal)[Symbol.asyncIterator]();
      await stream.next();
      const next = when === 'waiting' ? stream.next() : undefined;
      stop.abort(REASON);
      if (next === undefined) await closed.promise;
      await expect(next ?? stream.next()).rejects.toBe(REASON);
      await closed.promise;
    },
  );
});
