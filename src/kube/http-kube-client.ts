import { addAbortListener } from 'node:events';
import { isDeepStrictEqual } from 'node:util';

import type { KubeConfig } from '@kubernetes/client-node';
import type { Dispatcher } from 'undici';

import type { Clock } from '../clock/clock.ts';
import { orAborted } from './abort.ts';
import { type Access, makeDispatcher, readAccess, type Tls } from './access.ts';
import { type KubeClient, type KubeClientMetrics, KubeError, type KubeRequest } from './kube-client.ts';
import { oneLine } from './one-line.ts';
import { refusalError } from './refusal.ts';

export interface HttpKubeClientOptions {
  /** Which server, what to trust, and who asks: looked at again for each request, since credentials change. */
  readonly config: KubeConfig;
  readonly clock: Clock;
  /** Such as `storage-probe/1.2.3 (linux/x64)`. */
  readonly userAgent: string;
  readonly metrics?: KubeClientMetrics | undefined;
}

const DEFAULT_TIMEOUT_MS = 30_000;

/** A page of 500 objects of 128 KiB each. */
const MAX_BODY_BYTES = 64 * 1_024 * 1_024;

const MAX_REFUSAL_BYTES = 64 * 1_024;

/** More than twice what etcd takes as one object, 1.5 MiB, since JSON is longer. Source: etcd, `--max-request-bytes`. */
const MAX_LINE_CHARACTERS = 4 * 1_024 * 1_024;

const MAX_RETRIES = 5;

/** For a 429 that does not say. */
const DEFAULT_RETRY_AFTER_MS = 1_000;

/**
 * So long after a connection has failed, an answer may come from a server that is starting: before it has read who may
 * do what, kube-apiserver refuses by 401 or 403 what it grants a moment later.
 */
const STARTING_MS = 10_000;
const STARTING_RETRY_MS = 1_000;

/** The server closed a kept connection just when a request was on its way. */
const CLOSED_CONNECTION_CODES = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

type Answer = Dispatcher.ResponseData;

/**
 * Talks to one API server over connections that are kept: one dispatcher for all requests, made anew only when the
 * certificates change. It follows no redirects, and heeds no proxy but the kubeconfig's.
 *
 * A 429 is tried again; so is a 5xx that says `Retry-After`, unless it answers a POST, and a 401 or 403 of a server that
 * may be starting; all of them at most 5 times. A GET is tried again once when its connection was closed. All of that
 * happens within the request's deadline.
 *
 * An answer of more than 64 MiB, or a line of a stream of more than 4 Mi characters, is an `InvalidAnswer`.
 */
export class HttpKubeClient implements KubeClient {
  readonly #config: KubeConfig;
  readonly #clock: Clock;
  readonly #userAgent: string;
  readonly #metrics: KubeClientMetrics | undefined;
  readonly #server: URL;
  readonly #dispatchers = new Set<Dispatcher>();
  #current: { readonly dispatcher: Dispatcher; readonly tls: Tls } | undefined;
  /** While it is being read: requests at the same time run the kubeconfig's command only once. */
  #access: Promise<Access> | undefined;
  #isClosed = false;
  /** When a connection last failed; monotonic. */
  #failedMs = -Infinity;

  constructor({ config, clock, userAgent, metrics }: HttpKubeClientOptions) {
    this.#config = config;
    this.#clock = clock;
    this.#userAgent = userAgent;
    this.#metrics = metrics;
    this.#server = new URL(config.getCurrentCluster()?.server ?? '');
  }

  async request<T>(request: KubeRequest, signal: AbortSignal): Promise<T> {
    using deadline = this.#clock.deadline(request.timeoutMs ?? DEFAULT_TIMEOUT_MS, signal);
    try {
      const answer = await this.#answer(request, deadline.signal);
      return parse(request, answer, await readText(request, answer, MAX_BODY_BYTES)) as T;
    } catch (error) {
      throw this.#failure(request, error, signal, deadline.signal);
    }
  }

  async *stream(request: KubeRequest, signal: AbortSignal): AsyncGenerator<unknown, void, undefined> {
    const answer = await this.#beginStream(request, signal);
    using _ = addAbortListener(signal, () => answer.body.destroy());
    try {
      for await (const line of linesOf(request, answer)) yield parse(request, answer, line);
    } catch (error) {
      if (!signal.aborted) this.#failedMs = this.#clock.monotonicMs();
      throw this.#failure(request, error, signal);
    }
    signal.throwIfAborted();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(Array.from(this.#dispatchers, (dispatcher) => dispatcher.destroy()));
    this.#dispatchers.clear();
  }

  async #beginStream(request: KubeRequest, signal: AbortSignal): Promise<Answer> {
    using deadline = this.#clock.deadline(request.timeoutMs ?? DEFAULT_TIMEOUT_MS, signal);
    try {
      return await this.#answer(request, deadline.signal);
    } catch (error) {
      throw this.#failure(request, error, signal, deadline.signal);
    }
  }

  /** Resolves with an answer of status 2xx as soon as it begins. */
  async #answer(request: KubeRequest, signal: AbortSignal): Promise<Answer> {
    const deadlineMs = this.#clock.monotonicMs() + (request.timeoutMs ?? DEFAULT_TIMEOUT_MS);
    for (let attempt = 1; ; attempt += 1) {
      try {
        const answer = await this.#attempt(request, signal);
        if (answer.statusCode >= 200 && answer.statusCode < 300) return answer;
        throw await this.#refusal(request, answer);
      } catch (error) {
        const delayMs = retryDelayMs(request, error, attempt, this.#mayBeStarting());
        if (delayMs === undefined || this.#clock.monotonicMs() + delayMs >= deadlineMs) throw error;
        if (delayMs > 0) await this.#clock.sleep(delayMs, signal);
      }
    }
  }

  async #attempt(request: KubeRequest, signal: AbortSignal): Promise<Answer> {
    const { headers, tls } = await this.#currentAccess(signal);
    const { method, path, body, accept = 'application/json', contentType = 'application/json' } = request;
    const startMs = this.#clock.monotonicMs();
    let code = '<error>';
    try {
      const answer = await this.#dispatcherFor(tls).request({
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
      code = String(answer.statusCode);
      // An answer that breaks off while nobody reads it must not end the process.
      answer.body.on('error', () => undefined);
      return answer;
    } catch (error) {
      if (!signal.aborted) this.#failedMs = this.#clock.monotonicMs();
      throw error;
    } finally {
      this.#metrics?.request(method, code, this.#clock.monotonicMs() - startMs);
    }
  }

  async #refusal(request: KubeRequest, answer: Answer): Promise<KubeError> {
    const body = await readText(request, answer, MAX_REFUSAL_BYTES).catch(() => undefined);
    const retryAfter = [answer.headers['retry-after']].flat()[0];
    return refusalError(request, { status: answer.statusCode, retryAfter, body }, this.#clock);
  }

  #mayBeStarting(): boolean {
    return this.#clock.monotonicMs() - this.#failedMs < STARTING_MS;
  }

  #currentAccess(signal: AbortSignal): Promise<Access> {
    this.#access ??= readAccess(this.#config).finally(() => {
      this.#access = undefined;
    });
    return orAborted(this.#access, signal);
  }

  #dispatcherFor(tls: Tls): Dispatcher {
    if (this.#isClosed) throw new Error('the client is closed');
    if (this.#current !== undefined && isDeepStrictEqual(this.#current.tls, tls)) {
      return this.#current.dispatcher;
    }
    this.#retire(this.#current?.dispatcher);
    const dispatcher = makeDispatcher(tls, this.#config.getCurrentCluster()?.proxyUrl);
    this.#dispatchers.add(dispatcher);
    this.#current = { dispatcher, tls };
    return dispatcher;
  }

  /** What is under way may end; its watches do within minutes. */
  #retire(dispatcher: Dispatcher | undefined): void {
    if (dispatcher === undefined) return;
    void dispatcher
      .close()
      .catch(() => undefined)
      .finally(() => this.#dispatchers.delete(dispatcher));
  }

  /** What the caller shall see of `error`. */
  #failure(
    { method, path, timeoutMs = DEFAULT_TIMEOUT_MS }: KubeRequest,
    error: unknown,
    signal: AbortSignal,
    deadline?: AbortSignal,
  ): unknown {
    if (signal.aborted) return signal.reason;
    if (error instanceof KubeError) return error;
    const where = `${method} ${path} at ${this.#server.origin}`;
    if (deadline?.aborted === true) {
      return new KubeError(`${where}: no answer within ${timeoutMs} ms`, { status: 0, reason: 'Timeout' });
    }
    return new KubeError(`${where}: ${describe(error)}`, {
      status: 0,
      reason: 'ConnectionFailed',
      cause: error,
    });
  }
}

/** @returns undefined when it is of no use to try again. */
function retryDelayMs(
  { method }: KubeRequest,
  error: unknown,
  attempt: number,
  mayBeStarting: boolean,
): number | undefined {
  if (attempt > MAX_RETRIES) return undefined;
  if (!(error instanceof KubeError)) {
    const isClosed = CLOSED_CONNECTION_CODES.has(codeOf(error) ?? '');
    return isClosed && method === 'GET' && attempt === 1 ? 0 : undefined;
  }
  if (error.status === 429) return error.retryAfterMs ?? DEFAULT_RETRY_AFTER_MS;
  if (error.status === 401 || error.status === 403) return mayBeStarting ? STARTING_RETRY_MS : undefined;
  return error.status >= 500 && method !== 'POST' ? error.retryAfterMs : undefined;
}

function queryOf({ query = {} }: KubeRequest): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  return parameters.size === 0 ? '' : `?${parameters.toString()}`;
}

/** @throws {KubeError} when it is longer: the rest is not read, and the connection is closed. */
async function readText(request: KubeRequest, answer: Answer, maxBytes: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  let sizeBytes = 0;
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes) throw invalidAnswer(request, answer, 'is too long');
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** Lines that are not blank. */
async function* linesOf(request: KubeRequest, answer: Answer): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    const [first = '', ...others] = decoder.decode(chunk, { stream: true }).split('\n');
    const lines = [rest + first, ...others];
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') yield line;
    if (rest.length > MAX_LINE_CHARACTERS)
      throw invalidAnswer(request, answer, 'has a line that is too long');
  }
  if (rest.trim() !== '') yield rest;
}

function parse(request: KubeRequest, answer: Answer, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The error would quote the answer.
    throw invalidAnswer(request, answer, 'is not JSON');
  }
}

function invalidAnswer({ method, path }: KubeRequest, { statusCode }: Answer, what: string): KubeError {
  return new KubeError(`${method} ${path}: the answer ${what}`, {
    status: statusCode,
    reason: 'InvalidAnswer',
  });
}

/** Node says nothing in the message of an error that stands for several attempts to connect. */
function describe(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return oneLine(message) || (codeOf(error) ?? 'the connection failed');
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
