import { addAbortListener } from 'node:events';

import type { KubeConfig } from '@kubernetes/client-node';
import type { Dispatcher } from 'undici';

import type { Clock } from '../clock/clock.ts';
import { abortable } from './abort.ts';
import { type Credentials, resolveCredentials } from './connection.ts';
import { ConnectionPools, type PoolName } from './connection-pools.ts';
import { errorFromResponse } from './error-response.ts';
import { type KubeClient, type KubeClientMetrics, KubeError, type KubeRequest } from './kube-client.ts';
import { oneLine } from '../api/one-line.ts';

export interface HttpKubeClientOptions {
  /** API server, CA and credentials. Credentials are read again for each request because they can change. */
  readonly config: KubeConfig;
  readonly clock: Clock;
  /** Value of the `User-Agent` header, such as `storage-probe/1.2.3 (linux/x64)`. */
  readonly userAgent: string;
  readonly metrics?: KubeClientMetrics | undefined;
}

const DEFAULT_TIMEOUT_MS = 30_000;

/** Large enough for a page of 500 objects of 128 KiB each. */
const MAX_BODY_BYTES = 64 * 1_024 * 1_024;

const MAX_ERROR_BODY_BYTES = 64 * 1_024;

/** Over twice etcd's object limit of 1.5 MiB, as objects are longer in JSON. Source: etcd, `--max-request-bytes`. */
const MAX_LINE_CHARACTERS = 4 * 1_024 * 1_024;

const MAX_RETRIES = 5;

/** Retry delay for a 429 without `Retry-After`. */
const DEFAULT_RETRY_AFTER_MS = 1_000;

/**
 * For this long after a connection failure, the server may be starting. Until kube-apiserver has loaded its RBAC rules,
 * it may reject valid requests with 401 or 403.
 */
const STARTUP_MS = 10_000;
const STARTUP_RETRY_DELAY_MS = 1_000;

/** Error codes for a keep-alive connection that the server closed while a request was being sent. */
const CLOSED_CONNECTION_CODES = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

type HttpResponse = Dispatcher.ResponseData;

/**
 * Client for one API server. Streams, urgent requests and all other requests have separate keep-alive connections.
 * Redirects are not followed. The only proxy used is the one in the kubeconfig.
 *
 * Within its deadline, a request is retried up to 5 times after a 429, after a 5xx with `Retry-After` (except for
 * POST), or after a 401 or 403 if the server may be starting. A GET is retried once if its connection was closed.
 *
 * A response longer than 64 MiB, or a stream line longer than 4 Mi characters, fails with `ResponseTooLong`.
 */
export class HttpKubeClient implements KubeClient {
  readonly #config: KubeConfig;
  readonly #clock: Clock;
  readonly #userAgent: string;
  readonly #metrics: KubeClientMetrics | undefined;
  readonly #server: URL;
  readonly #pools: ConnectionPools;
  /** Set while credentials are being read, so that concurrent requests run the kubeconfig's exec command only once. */
  #credentials: Promise<Credentials> | undefined;
  /** Time of the last connection failure. Monotonic. */
  #lastConnectionFailureMs = -Infinity;

  constructor({ config, clock, userAgent, metrics }: HttpKubeClientOptions) {
    this.#config = config;
    this.#clock = clock;
    this.#userAgent = userAgent;
    this.#metrics = metrics;
    this.#server = new URL(config.getCurrentCluster()?.server ?? '');
    this.#pools = new ConnectionPools(config.getCurrentCluster()?.proxyUrl);
  }

  async request<T>(request: KubeRequest, signal: AbortSignal): Promise<T> {
    using deadline = this.#clock.deadline(request.timeoutMs ?? DEFAULT_TIMEOUT_MS, signal);
    try {
      const pool = request.isUrgent === true ? 'urgent' : 'default';
      const response = await this.#send(request, pool, deadline.signal);
      return parse(request, response, await readText(request, response, MAX_BODY_BYTES)) as T;
    } catch (error) {
      throw this.#toCallerError(request, error, signal, deadline.signal);
    }
  }

  async *stream(request: KubeRequest, signal: AbortSignal): AsyncGenerator<unknown, void, undefined> {
    const response = await this.#openStream(request, signal);
    using _ = addAbortListener(signal, () => response.body.destroy());
    try {
      for await (const line of linesOf(request, response)) yield parse(request, response, line);
    } catch (error) {
      if (!signal.aborted) this.#lastConnectionFailureMs = this.#clock.monotonicMs();
      throw this.#toCallerError(request, error, signal);
    }
    signal.throwIfAborted();
  }

  close(): Promise<void> {
    return this.#pools.close();
  }

  async #openStream(request: KubeRequest, signal: AbortSignal): Promise<HttpResponse> {
    using deadline = this.#clock.deadline(request.timeoutMs ?? DEFAULT_TIMEOUT_MS, signal);
    try {
      return await this.#send(request, 'stream', deadline.signal);
    } catch (error) {
      throw this.#toCallerError(request, error, signal, deadline.signal);
    }
  }

  /** Resolves with a 2xx response as soon as its headers have arrived, before the body is read. */
  async #send(request: KubeRequest, pool: PoolName, signal: AbortSignal): Promise<HttpResponse> {
    const deadlineMs = this.#clock.monotonicMs() + (request.timeoutMs ?? DEFAULT_TIMEOUT_MS);
    for (let attempt = 1; ; attempt += 1) {
      try {
        const response = await this.#attempt(request, pool, signal);
        if (response.statusCode >= 200 && response.statusCode < 300) return response;
        throw await this.#errorOf(request, response);
      } catch (error) {
        const delayMs = retryDelayMs(request, error, attempt, this.#mayBeStarting());
        if (delayMs === undefined || this.#clock.monotonicMs() + delayMs >= deadlineMs) throw error;
        if (delayMs > 0) await this.#clock.sleep(delayMs, signal);
      }
    }
  }

  async #attempt(request: KubeRequest, pool: PoolName, signal: AbortSignal): Promise<HttpResponse> {
    const { headers, tls } = await this.#currentCredentials(signal);
    const { method, path, body, accept = 'application/json', contentType = 'application/json' } = request;
    const startMs = this.#clock.monotonicMs();
    let code = '<error>';
    try {
      const responding = this.#pools.get(pool, tls).request({
        origin: this.#server.origin,
        path: this.#server.pathname.replace(/\/$/, '') + path + queryOf(request),
        method,
        headers: {
          ...headers,
          'user-agent': this.#userAgent,
          accept,
          ...(body !== undefined && { 'content-type': contentType }),
        },
        body: body === undefined ? null : JSON.stringify(body),
        signal,
      });
      // undici ignores the signal while a request waits for a connection. It discards the request later.
      const response = await abortable(responding.then(withErrorListener), signal);
      code = String(response.statusCode);
      return response;
    } catch (error) {
      if (!signal.aborted) this.#lastConnectionFailureMs = this.#clock.monotonicMs();
      throw error;
    } finally {
      this.#metrics?.request(method, code, this.#clock.monotonicMs() - startMs);
    }
  }

  async #errorOf(request: KubeRequest, response: HttpResponse): Promise<KubeError> {
    const body = await readText(request, response, MAX_ERROR_BODY_BYTES).catch(() => undefined);
    const retryAfter = [response.headers['retry-after']].flat()[0];
    return errorFromResponse(request, { status: response.statusCode, retryAfter, body }, this.#clock);
  }

  #mayBeStarting(): boolean {
    return this.#clock.monotonicMs() - this.#lastConnectionFailureMs < STARTUP_MS;
  }

  #currentCredentials(signal: AbortSignal): Promise<Credentials> {
    this.#credentials ??= resolveCredentials(this.#config).finally(() => {
      this.#credentials = undefined;
    });
    return abortable(this.#credentials, signal);
  }

  /** Converts `error` to the error that the caller gets. */
  #toCallerError(
    { method, path, timeoutMs = DEFAULT_TIMEOUT_MS }: KubeRequest,
    error: unknown,
    signal: AbortSignal,
    deadline?: AbortSignal,
  ): unknown {
    if (signal.aborted) return signal.reason;
    if (error instanceof KubeError) return error;
    const where = `${method} ${path} at ${this.#server.origin}`;
    if (deadline?.aborted === true) {
      return new KubeError(`${where}: no response within ${timeoutMs} ms`, { status: 0, reason: 'Timeout' });
    }
    return new KubeError(`${where}: ${messageOf(error)}`, {
      status: 0,
      reason: 'ConnectionFailed',
      cause: error,
    });
  }
}

/** Without a listener, an error on a body that is not being read would crash the process. */
function withErrorListener(response: HttpResponse): HttpResponse {
  response.body.on('error', () => undefined);
  return response;
}

/** @returns undefined if a retry would not help. */
function retryDelayMs(
  { method }: KubeRequest,
  error: unknown,
  attempt: number,
  mayBeStarting: boolean,
): number | undefined {
  if (attempt > MAX_RETRIES) return undefined;
  if (!(error instanceof KubeError)) {
    const wasClosed = CLOSED_CONNECTION_CODES.has(codeOf(error) ?? '');
    return wasClosed && method === 'GET' && attempt === 1 ? 0 : undefined;
  }
  if (error.status === 429) return error.retryAfterMs ?? DEFAULT_RETRY_AFTER_MS;
  if (error.status === 401 || error.status === 403) return mayBeStarting ? STARTUP_RETRY_DELAY_MS : undefined;
  return error.status >= 500 && method !== 'POST' ? error.retryAfterMs : undefined;
}

function queryOf({ query = {} }: KubeRequest): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  return parameters.size === 0 ? '' : `?${parameters.toString()}`;
}

/** @throws {KubeError} if the body is longer than `maxBytes`. The connection is then closed. */
async function readText(request: KubeRequest, response: HttpResponse, maxBytes: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  let sizeBytes = 0;
  for await (const chunk of response.body as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes) throw invalidResponse(request, response, 'is too long', 'ResponseTooLong');
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** Yields the non-blank lines of the body. */
async function* linesOf(
  request: KubeRequest,
  response: HttpResponse,
): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of response.body as AsyncIterable<Buffer>) {
    const [first = '', ...others] = decoder.decode(chunk, { stream: true }).split('\n');
    const lines = [rest + first, ...others];
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') yield line;
    if (rest.length > MAX_LINE_CHARACTERS)
      throw invalidResponse(request, response, 'has a line that is too long', 'ResponseTooLong');
  }
  if (rest.trim() !== '') yield rest;
}

function parse(request: KubeRequest, response: HttpResponse, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // No `cause`, because the original error quotes the response.
    throw invalidResponse(request, response, 'is not JSON');
  }
}

function invalidResponse(
  { method, path }: KubeRequest,
  { statusCode }: HttpResponse,
  what: string,
  reason: 'InvalidAnswer' | 'ResponseTooLong' = 'InvalidAnswer',
): KubeError {
  return new KubeError(`${method} ${path}: the response ${what}`, { status: statusCode, reason });
}

/** In Node.js, the error for several failed connection attempts has an empty message, hence the fallbacks. */
function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return oneLine(message) || (codeOf(error) ?? 'connection failed');
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
