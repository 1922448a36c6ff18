import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { buffer, text } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';

import { describe, expect, it, onTestFinished, vi } from 'vitest';

import { openMetricsErrors, OPENMETRICS } from '../../test/support/exposition.ts';
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

/** Sends bytes and returns everything received until the server closes the connection. */
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

describe('response', () => {
  it('comes from the handler for the path, which gets the query and the Accept header', async () => {
    const { url } = await serve({
      '/echo': ({ query, accept }) => ({
        status: 500,
        contentType: 'a/b',
        body: `${query.get('q')} ${accept}`,
      }),
    });
    const response = await fetch(`${url}/echo?q=1?2`, { headers: { accept: 'x/y' } });
    expect([response.status, response.headers.get('content-type'), await response.text()]).toEqual([
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
    const response = await fetch(`${url}${path}`, { method });
    expect([response.status, await response.text()]).toEqual([status, body]);
    expect(response.headers.get('allow')).toBe(status === 405 ? 'GET, HEAD' : null);
    expect(response.headers.get('cache-control')).toBe('no-store');
  });

  it('is a one-line 500 if a handler throws, and the error is logged without a stack', async () => {
    const { url, log } = await serve({
      '/metrics': () => {
        throw new Error('it\nbroke');
      },
    });
    const response = await fetch(`${url}/metrics`);
    expect([response.status, await response.text()]).toEqual([500, 'internal error\n']);
    expect(log.error.mock.calls).toEqual([[{ path: '/metrics', error: 'it broke' }, 'request failed']]);
  });
});

describe('streamed body', () => {
  const handlers = { '/metrics': () => ({ status: 200, contentType: TEXT, body: pieces() }) };

  it.each([
    { accepted: 'gzip', compressed: true },
    { accepted: 'br, gzip;q=0.5', compressed: true },
    { accepted: 'gzip;q=0', compressed: false },
    { accepted: 'gzip; q=0.0, br', compressed: false },
    { accepted: 'identity', compressed: false },
    { accepted: undefined, compressed: false },
  ])('is compressed if the client accepts gzip: $accepted', async ({ accepted, compressed }) => {
    const { server } = await serve(handlers);
    const headers = accepted === undefined ? {} : { 'accept-encoding': accepted };
    const request = http.get({ host: '127.0.0.1', port: server.port, path: '/metrics', headers });
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    const body = await buffer(response);
    expect(response.headers['content-encoding']).toBe(compressed ? 'gzip' : undefined);
    expect((compressed ? gunzipSync(body) : body).toString()).toBe('one\ntwo\n');
  });

  it('is not generated for HEAD', async () => {
    const generated = vi.fn<() => void>();
    async function* counted(): AsyncGenerator<string> {
      generated();
      yield 'one';
    }
    const { url } = await serve({ '/metrics': () => ({ status: 200, contentType: TEXT, body: counted() }) });
    const response = await fetch(`${url}/metrics`, { method: 'HEAD' });
    expect([response.status, response.headers.get('content-type'), await response.text()]).toEqual([
      200,
      TEXT,
      '',
    ]);
    expect(generated).not.toHaveBeenCalled();
  });

  it('aborts the connection on an error, so a partial body never looks complete', async () => {
    const { url, log } = await serve({
      '/metrics': () => ({ status: 200, contentType: TEXT, body: broken() }),
    });
    await expect(fetch(`${url}/metrics`).then((response) => response.text())).rejects.toThrow(
      /terminated|fetch failed/,
    );
    expect(log.error.mock.calls).toEqual([[{ path: '/metrics', error: 'it broke' }, 'request failed']]);
  });

  it('stops without an error if the client disconnects', async () => {
    const stopped = Promise.withResolvers<undefined>();
    async function* endless(): AsyncGenerator<string> {
      try {
        for (;;) yield 'x'.repeat(65_536);
      } finally {
        stopped.resolve(undefined);
      }
    }
    const { url, log } = await serve({
      '/metrics': () => ({ status: 200, contentType: TEXT, body: endless() }),
    });
    const disconnect = new AbortController();
    const response = await fetch(`${url}/metrics`, { signal: disconnect.signal });
    await response.body?.getReader().read();
    disconnect.abort();
    await stopped.promise;
    expect(log.error).not.toHaveBeenCalled();
  });
});

it('serves metrics in the format that the scraper requests', async () => {
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
  expect(openMetricsErrors(exposed)).toEqual([]);
  expect(exposed).toContain('target="store-49"');
  expect(exposed).toContain('# {trace_id="0af7651916cd43dd8448eb211c80319c"}');
});

describe('misbehaving clients', () => {
  it('get a 431 for oversized headers', async () => {
    const { server } = await serve();
    const head = `GET /healthz HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(9_000)}\r\n\r\n`;
    expect(await exchange(server.port, head)).toMatch(/^HTTP\/1\.1 431 /);
  });

  it('get a 400 for anything but HTTP', async () => {
    const { server } = await serve();
    expect(await exchange(server.port, 'SSH-2.0-OpenSSH\r\n\r\n')).toBe(
      'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n',
    );
  });

  it('get a 408 for incomplete headers', async () => {
    const { server } = await serve({}, { headersTimeoutMs: 50 });
    expect(await exchange(server.port, 'GET /healthz HTTP/1.1\r\nHost:')).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('are disconnected when idle', async () => {
    const { server } = await serve({}, { idleTimeoutMs: 50 });
    expect(await exchange(server.port, '')).toBe('');
  });

  it('are disconnected if they exceed the connection limit', async () => {
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
  it('closes idle connections immediately', async () => {
    const { server, url } = await serve();
    const socket = net.connect(server.port, '127.0.0.1');
    socket.write('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(socket, 'data');
    const closed = once(socket, 'close');
    await server.close(NEVER);
    await closed;
    await expect(fetch(`${url}/healthz`)).rejects.toThrow('fetch failed');
  });

  it('lets a response finish and then closes its connection', async () => {
    const rest = Promise.withResolvers<string>();
    async function* slow(): AsyncGenerator<string> {
      yield 'one\n';
      yield await rest.promise;
    }
    const { url, server } = await serve({
      '/slow': () => ({ status: 200, contentType: TEXT, body: slow() }),
    });
    const response = await fetch(`${url}/slow`);
    const closed = server.close(NEVER);
    rest.resolve('two\n');
    expect(await response.text()).toBe('one\ntwo\n');
    await closed;
  });

  it('aborts unfinished responses at the deadline', async () => {
    const { url, server } = await serve({
      '/slow': () => ({ status: 200, contentType: TEXT, body: hanging() }),
    });
    const response = await fetch(`${url}/slow`);
    const deadline = new AbortController();
    const closed = server.close(deadline.signal);
    deadline.abort();
    await closed;
    await expect(response.text()).rejects.toThrow('terminated');
  });
});

it.each([
  {
    name: 'a port in use',
    host: '127.0.0.1',
    message: /^cannot listen on 127\.0\.0\.1:\d+: the port is already in use$/,
  },
  {
    name: 'an address of another host',
    host: '192.0.2.1',
    message: /^cannot listen on 192\.0\.2\.1:\d+: this host does not have the address$/,
  },
])('reports in one line that it cannot listen on $name', async ({ host, message }) => {
  const { server, log } = await serve();
  const error: unknown = await HttpServer.start({ host, port: server.port, handlers: {}, log }).catch(
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(ListenError);
  expect((error as ListenError).message).toMatch(message);
});
