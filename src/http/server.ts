import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createGzip } from 'node:zlib';

import { oneLine } from '../api/one-line.ts';

export interface HttpRequest {
  readonly query: URLSearchParams;
  readonly accept: string | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  readonly contentType: string;
  /** What comes in pieces is compressed for whoever takes that. */
  readonly body: string | AsyncIterable<string>;
}

export type HttpHandler = (request: HttpRequest) => HttpAnswer;

export interface HttpServerLimits {
  /** For the head of a request. Default 5,000. */
  readonly headersTimeoutMs: number;
  /** A connection on which nothing moves for so long is closed. Default 30,000. */
  readonly idleTimeoutMs: number;
  /** Bytes of a request's head; more is answered with 431. Default 8,192. */
  readonly maxHeaderBytes: number;
  /** Connections at once; others are closed at once. Default 100. */
  readonly maxConnections: number;
}

export interface HttpServerOptions {
  /** Absent: all addresses. */
  readonly host?: string;
  /** 0: one that is free. */
  readonly port: number;
  /** By path. Each answers GET and HEAD. */
  readonly handlers: Readonly<Record<string, HttpHandler>>;
  readonly log: { error(fields: object, message: string): void };
  readonly limits?: Partial<HttpServerLimits>;
}

const DEFAULT_LIMITS: HttpServerLimits = {
  headersTimeoutMs: 5_000,
  idleTimeoutMs: 30_000,
  maxHeaderBytes: 8_192,
  maxConnections: 100,
};

/** Nobody can be served at the address; `message` is one line that says where and why. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  /** Node's, for example `EADDRINUSE`. */
  readonly code: string;

  constructor(where: string, cause: unknown) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
    super(`cannot listen at ${where}: ${MEANING_OF_CODE[code] ?? code}`, { cause });
    this.code = code;
  }
}

const MEANING_OF_CODE: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is in use',
  EADDRNOTAVAIL: 'this host has no such address',
  EACCES: 'permission denied',
  ENOTFOUND: 'the host name does not resolve',
};

/** Answers the small requests of kubelet and Prometheus. Whoever starts it closes it. */
export class HttpServer {
  readonly #server: http.Server;

  private constructor(server: http.Server) {
    this.#server = server;
  }

  /** @throws {ListenError} */
  static async start({ host, port, handlers, log, limits = {} }: HttpServerOptions): Promise<HttpServer> {
    const { headersTimeoutMs, idleTimeoutMs, maxHeaderBytes, maxConnections } = {
      ...DEFAULT_LIMITS,
      ...limits,
    };
    const server = http.createServer(
      {
        maxHeaderSize: maxHeaderBytes,
        headersTimeout: headersTimeoutMs,
        // No request has a body that counts.
        requestTimeout: headersTimeoutMs,
        connectionsCheckingInterval: Math.min(1_000, headersTimeoutMs),
      },
      (request, response) => {
        // A connection outlives its answer, and would hold up a close for as long as it may idle.
        response.once('close', () => {
          if (!server.listening) server.closeIdleConnections();
        });
        void answer(request, response, handlers).catch((error: unknown) => {
          if (!isReaderGone(error))
            log.error({ path: oneLine(request.url ?? ''), error: lineOf(error) }, 'request failed');
          if (response.headersSent) response.destroy();
          else send(response, { status: 500, contentType: TEXT, body: 'internal error\n' });
        });
      },
    );
    server.timeout = idleTimeoutMs;
    server.maxConnections = maxConnections;
    try {
      server.listen({ port, ...(host !== undefined && { host }) });
      await once(server, 'listening');
    } catch (error) {
      throw new ListenError(`${host ?? ''}:${port}`, error);
    }
    server.on('error', (error) => {
      log.error({ error: lineOf(error) }, 'HTTP server failed');
    });
    return new HttpServer(server);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Takes no more connections, ends the idle ones, and the others when their answer is sent or `deadline` aborts. */
  async close(deadline: AbortSignal): Promise<void> {
    const cut = (): void => {
      this.#server.closeAllConnections();
    };
    const closed = once(this.#server, 'close');
    this.#server.close();
    deadline.addEventListener('abort', cut, { once: true });
    if (deadline.aborted) cut();
    await closed;
    deadline.removeEventListener('abort', cut);
  }
}

const TEXT = 'text/plain; charset=utf-8';
const ALLOWED_METHODS = ['GET', 'HEAD'];

async function answer(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  handlers: HttpServerOptions['handlers'],
): Promise<void> {
  const [, path = '', query] = /^([^?]*)\??(.*)$/.exec(request.url ?? '') ?? [];
  const handler = Object.hasOwn(handlers, path) ? handlers[path] : undefined;
  if (handler === undefined) {
    send(response, { status: 404, contentType: TEXT, body: 'not found\n' });
    return;
  }
  if (!ALLOWED_METHODS.includes(request.method ?? '')) {
    response.setHeader('Allow', ALLOWED_METHODS.join(', '));
    send(response, { status: 405, contentType: TEXT, body: 'method not allowed\n' });
    return;
  }
  const { status, contentType, body } = handler({
    query: new URLSearchParams(query),
    accept: request.headers.accept,
  });
  if (typeof body === 'string') send(response, { status, contentType, body });
  else await stream(request, response, { status, contentType, body });
}

function send(
  response: http.ServerResponse,
  { status, contentType, body }: HttpAnswer & { readonly body: string },
): void {
  response.writeHead(status, {
    'Content-Type': contentType,
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
  });
  response.end(body);
}

async function stream(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  { status, contentType, body }: HttpAnswer & { readonly body: AsyncIterable<string> },
): Promise<void> {
  const zipped = /\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/.test(request.headers['accept-encoding'] ?? '');
  response.writeHead(status, {
    'Content-Type': contentType,
    'Cache-Control': 'no-store',
    Vary: 'Accept, Accept-Encoding',
    ...(zipped && { 'Content-Encoding': 'gzip' }),
  });
  if (request.method === 'HEAD') {
    response.end();
  } else if (zipped) {
    await pipeline(Readable.from(body), createGzip({ level: constants.Z_BEST_SPEED }), response);
  } else {
    await pipeline(Readable.from(body), response);
  }
}

function isReaderGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE';
}

function lineOf(error: unknown): string {
  return oneLine(error instanceof Error ? error.message : String(error));
}
