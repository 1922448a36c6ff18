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

export interface HttpResponse {
  readonly status: number;
  readonly contentType: string;
  /** An iterable body is streamed, and compressed if the client accepts gzip. */
  readonly body: string | AsyncIterable<string>;
}

export type HttpHandler = (request: HttpRequest) => HttpResponse;

export interface HttpServerLimits {
  /** Time limit for receiving the request headers. Default 5,000. */
  readonly headersTimeoutMs: number;
  /** A connection without traffic for this long is closed. Default 30,000. */
  readonly idleTimeoutMs: number;
  /** Size limit for the request headers. Larger requests get a 431. Default 8,192. */
  readonly maxHeaderBytes: number;
  /** Concurrent connections. Further connections are closed immediately. Default 100. */
  readonly maxConnections: number;
}

export interface HttpServerOptions {
  /** Default: all addresses. */
  readonly host?: string;
  /** 0 picks a free port. */
  readonly port: number;
  /** Handlers by path, for GET and HEAD. */
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

/** The server cannot listen on its address. `message` is one line with the address and the cause. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  /** Error code from Node, for example `EADDRINUSE`. */
  readonly code: string;

  constructor(address: string, cause: unknown) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
    super(`cannot listen on ${address}: ${ERROR_TEXTS[code] ?? code}`, { cause });
    this.code = code;
  }
}

const ERROR_TEXTS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is already in use',
  EADDRNOTAVAIL: 'this host does not have the address',
  EACCES: 'permission denied',
  ENOTFOUND: 'the host name does not resolve',
};

/** HTTP server for kubelet and Prometheus. The caller of {@link start} must close it. */
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
        // Request bodies are ignored, so the limit for the headers covers the whole request.
        requestTimeout: headersTimeoutMs,
        connectionsCheckingInterval: Math.min(1_000, headersTimeoutMs),
      },
      (request, response) => {
        // A kept-alive connection would otherwise delay close() until its idle timeout.
        response.once('close', () => {
          if (!server.listening) server.closeIdleConnections();
        });
        void respond(request, response, handlers).catch((error: unknown) => {
          if (!isClientDisconnect(error))
            log.error({ path: oneLine(request.url ?? ''), error: errorLine(error) }, 'request failed');
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
      log.error({ error: errorLine(error) }, 'HTTP server failed');
    });
    return new HttpServer(server);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Stops accepting connections. Open connections are closed after their response, or when `deadline` aborts. */
  async close(deadline: AbortSignal): Promise<void> {
    const closeConnections = (): void => {
      this.#server.closeAllConnections();
    };
    const closed = once(this.#server, 'close');
    this.#server.close();
    deadline.addEventListener('abort', closeConnections, { once: true });
    if (deadline.aborted) closeConnections();
    await closed;
    deadline.removeEventListener('abort', closeConnections);
  }
}

const TEXT = 'text/plain; charset=utf-8';
const ALLOWED_METHODS = ['GET', 'HEAD'];

async function respond(
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
  { status, contentType, body }: HttpResponse & { readonly body: string },
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
  { status, contentType, body }: HttpResponse & { readonly body: AsyncIterable<string> },
): Promise<void> {
  const compressed = /\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/.test(
    request.headers['accept-encoding'] ?? '',
  );
  response.writeHead(status, {
    'Content-Type': contentType,
    'Cache-Control': 'no-store',
    Vary: 'Accept, Accept-Encoding',
    ...(compressed && { 'Content-Encoding': 'gzip' }),
  });
  if (request.method === 'HEAD') {
    response.end();
  } else if (compressed) {
    await pipeline(Readable.from(body), createGzip({ level: constants.Z_BEST_SPEED }), response);
  } else {
    await pipeline(Readable.from(body), response);
  }
}

function isClientDisconnect(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE';
}

function errorLine(error: unknown): string {
  return oneLine(error instanceof Error ? error.message : String(error));
}
