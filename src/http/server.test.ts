import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { buffer, text } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';

import { describe, expect, it, onTestFinished, vi } from 'vitest';

import { openMetricsFaults, OPENMETRICS } from '../../test/support/exposition.ts';
import { runResult } from '../../test/support/run-result.ts';
import { ManualClock } from '../clock/manual-clock.ts';
import { ProberMetrics } from '../telemetry/metrics.ts';
import { type HttpHandler, HttpServer, type HttpServerLimits, ListenError } from './server.ts';

const NEVER = new AbortController().signal;
const NOW = AbortSignal.abort();
const TEXT = 'text/plain; charset=utf-8';

async function serve(handlers: Record<string, HttpHandler> = {}, limits: Partial<HttpServerLimits> = {}) {
  const log = { error: vi.fn<(fields: object, message: string) => void>() };
  const server = await HttpServer.start({
    host: '127.0.0.1',
    port: 0,
    log,
    limits,
    handlers: { '/healthz': () => ({ status: 200, contentType: TEXT, body: 'ok' }), ...handlers },
  });
  onTestFinished(() => server.close(NOW));
  return { server, log, url: `http://127.0.0.1:${server.port}` };
}

/** Sends bytes, and gives all that comes back until the server closes the connection. */
async function exchange(port: number, bytes: string): Promise<string> {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.write(bytes);
  return text(socket);
}

async function* pieces(): AsyncGenerator<string> {
  yield 'one\n';
  yield 'two\n';
}

async function* broken(): AsyncGenerator<string> {
  yield 'one\n';
  throw new Error('it broke');
}

async function* hanging(): AsyncGenerator<string> {
  yield 'one\n';
  await new Promise(() => undefined);
}

describe('answers', () => {
  it('by path, and tells handlers of query and Accept', async () => {
    const { url } = await serve({
      '/echo': ({ query, accept }) => ({
        status: 500,
        contentType: 'a/b',
        body: `${query.get('q')} ${accept}`,
      }),
    });
    const answer = await fetch(`${url}/echo?q=1?2`, { headers: { accept: 'x/y' } });
    expect([answer.status, answer.headers.get('content-type'), await answer.text()]).toEqual([
      500,
      'a/b',
      '1?2 x/y',
    ]);
  });

  it.each([
    { method: 'GET', path: '/', status: 404, body: 'not found\n' },
    { method: 'GET', path: '/healthz/', status: 404, body: 'not found\n' },
    { method: 'GET', path: '/constructor', status: 404, body: 'not found\n' },
    { method: 'GET', path: '//', status: 404, body: 'not found\n' },
    { method: 'POST', path: '/healthz', status: 405, body: 'method not allowed\n' },
    { method: 'DELETE', path: '/healthz', status: 405, body: 'method not allowed\n' },
    { method: 'HEAD', path: '/healthz', status: 200, body: '' },
    { method: 'GET', path: '/healthz?verbose', status: 200, body: 'ok' },
  ])('$method $path: $status', async ({ method, path, status, body }) => {
    const { url } = await serve();
    const answer = await fetch(`${url}${path}`, { method });
    expect([answer.status, await answer.text()]).toEqual([status, body]);
    expect(answer.headers.get('allow')).toBe(status === 405 ? 'GET, HEAD' : null);
    expect(answer.headers.get('cache-control')).toBe('no-store');
  });

  it('500 in one line when a handler throws, and logs why without a stack', async () => {
    const { url, log } = await serve({
      '/metrics': () => {
        throw new Error('it\nbroke');
      },
    });
    const answer = await fetch(`${url}/metrics`);
    expect([answer.status, await answer.text()]).toEqual([500, 'internal error\n']);
    expect(log.error.mock.calls).toEqual([[{ path: '/metrics', error: 'it broke' }, 'request failed']]);
  });
});

describe('what comes in pieces', () => {
  const handlers = { '/metrics': () => ({ status: 200, contentType: TEXT, body: pieces() }) };

  it.each([
    { accepted: 'gzip', zipped: true },
    { accepted: 'br, gzip;q=0.5', zipped: true },
    { accepted: 'gzip;q=0', zipped: false },
    { accepted: 'gzip; q=0.0, br', zipped: false },
    { accepted: 'identity', zipped: false },
    { accepted: undefined, zipped: false },
  ])('goes zipped to who accepts it: $accepted', async ({ accepted, zipped }) => {
    const { server } = await serve(handlers);
    const headers = accepted === undefined ? {} : { 'accept-encoding': accepted };
    const request = http.get({ host: '127.0.0.1', port: server.port, path: '/metrics', headers });
    const [answer] = (await once(request, 'response')) as [http.IncomingMessage];
    const body = await buffer(answer);
    expect(answer.headers['content-encoding']).toBe(zipped ? 'gzip' : undefined);
    expect((zipped ? gunzipSync(body) : body).toString()).toBe('one\ntwo\n');
  });

  it('is not made for a HEAD', async () => {
    const made = vi.fn<() => void>();
    async function* counted(): AsyncGenerator<string> {
      made();
      yield 'one';
    }
    const { url } = await serve({ '/metrics': () => ({ status: 200, contentType: TEXT, body: counted() }) });
    const answer = await fetch(`${url}/metrics`, { method: 'HEAD' });
    expect([answer.status, answer.headers.get('content-type'), await answer.text()]).toEqual([200, TEXT, '']);
    expect(made).not.toHaveBeenCalled();
  });

  it('is cut off when it breaks, so that no half of it passes for the whole', async () => {
    const { url, log } = await serve({
      '/metrics': () => ({ status: 200, contentType: TEXT, body: broken() }),
    });
    await expect(fetch(`${url}/metrics`).then((answer) => answer.text())).rejects.toThrow(
      /terminated|fetch failed/,
    );
    expect(log.error.mock.calls).toEqual([[{ path: '/metrics', error: 'it broke' }, 'request failed']]);
  });

  it('ends when its reader goes away, and that is no fault', async () => {
    const ended = Promise.withResolvers<undefined>();
    async function* endless(): AsyncGenerator<string> {
      try {
        for (;;) yield 'x'.repeat(65_536);
      } finally {
        ended.resolve(undefined);
      }
    }
    const { url, log } = await serve({
      '/metrics': () => ({ status: 200, contentType: TEXT, body: endless() }),
    });
    const leaving = new AbortController();
    const answer = await fetch(`${url}/metrics`, { signal: leaving.signal });
    await answer.body?.getReader().read();
    leaving.abort();
    await ended.promise;
    expect(log.error).not.toHaveBeenCalled();
  });
});

it('serves a scraper what it asks for', async () => {
  const metrics = new ProberMetrics({ clock: new ManualClock(), version: '1.2.3', nodeVersion: 'v24.0.0' });
  for (let index = 0; index < 50; index += 1) {
    const target = `store-${index}`;
    metrics.setTarget({ namespace: 'storage', probe: 'my-minio', target }, { consecutiveFailures: 0 });
    metrics.recordRun(runResult({ target }));
  }
  const { url } = await serve({
    '/metrics': ({ accept }) => {
      const { contentType, chunks } = metrics.expose(accept);
      return { status: 200, contentType, body: chunks };
    },
  });
  const [plain, open] = await Promise.all([
    fetch(`${url}/metrics`),
    fetch(`${url}/metrics`, { headers: { accept: OPENMETRICS } }),
  ]);
  expect(plain.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(await plain.text()).not.toContain('trace_id');
  expect(open.headers.get('content-type')).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8');
  expect(open.headers.get('content-encoding')).toBe('gzip');
  const exposed = await open.text();
  expect(openMetricsFaults(exposed)).toEqual([]);
  expect(exposed).toContain('target="store-49"');
  expect(exposed).toContain('# {trace_id="0af7651916cd43dd8448eb211c80319c"}');
});

describe('against clients that misbehave', () => {
  it('bounds the head of a request', async () => {
    const { server } = await serve();
    const head = `GET /healthz HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(9_000)}\r\n\r\n`;
    expect(await exchange(server.port, head)).toMatch(/^HTTP\/1\.1 431 /);
  });

  it('refuses what is no HTTP', async () => {
    const { server } = await serve();
    expect(await exchange(server.port, 'SSH-2.0-OpenSSH\r\n\r\n')).toBe(
      'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n',
    );
  });

  it('gives up on a head that does not end', async () => {
    const { server } = await serve({}, { headersTimeoutMs: 50 });
    expect(await exchange(server.port, 'GET /healthz HTTP/1.1\r\nHost:')).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('closes a connection on which nothing moves', async () => {
    const { server } = await serve({}, { idleTimeoutMs: 50 });
    expect(await exchange(server.port, '')).toBe('');
  });

  it('takes no more connections than it may', async () => {
    const { server } = await serve({}, { maxConnections: 1 });
    const first = net.connect(server.port, '127.0.0.1');
    await once(first, 'connect');
    onTestFinished(() => void first.destroy());
    expect(await exchange(server.port, 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n')).toBe('');
    first.write('GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    expect(await text(first)).toMatch(/^HTTP\/1\.1 200 /);
  });
});

describe('close', () => {
  it('ends idle connections at once', async () => {
    const { server, url } = await serve();
    const socket = net.connect(server.port, '127.0.0.1');
    socket.write('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(socket, 'data');
    const closed = once(socket, 'close');
    await server.close(NEVER);
    await closed;
    await expect(fetch(`${url}/healthz`)).rejects.toThrow('fetch failed');
  });

  it('lets an answer end, and keeps its connection no longer', async () => {
    const rest = Promise.withResolvers<string>();
    async function* slow(): AsyncGenerator<string> {
      yield 'one\n';
      yield await rest.promise;
    }
    const { url, server } = await serve({
      '/slow': () => ({ status: 200, contentType: TEXT, body: slow() }),
    });
    const answer = await fetch(`${url}/slow`);
    const closed = server.close(NEVER);
    rest.resolve('two\n');
    expect(await answer.text()).toBe('one\ntwo\n');
    await closed;
  });

  it('cuts off an answer that takes longer than it may', async () => {
    const { url, server } = await serve({
      '/slow': () => ({ status: 200, contentType: TEXT, body: hanging() }),
    });
    const answer = await fetch(`${url}/slow`);
    const deadline = new AbortController();
    const closed = server.close(deadline.signal);
    deadline.abort();
    await closed;
    await expect(answer.text()).rejects.toThrow('terminated');
  });
});

it.each([
  {
    name: 'a port in use',
    host: '127.0.0.1',
    message: /^cannot listen at 127\.0\.0\.1:\d+: the port is in use$/,
  },
  {
    name: 'a foreign address',
    host: '192.0.2.1',
    message: /^cannot listen at 192\.0\.2\.1:\d+: this host has no such address$/,
  },
])('says in one line that it cannot listen at $name', async ({ host, message }) => {
  const { server, log } = await serve();
  const error: unknown = await HttpServer.start({ host, port: server.port, handlers: {}, log }).catch(
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(ListenError);
  expect((error as ListenError).message).toMatch(message);
});
