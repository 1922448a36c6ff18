import type http from 'node:http';
import type net from 'node:net';
import { Readable } from 'node:stream';
import type tls from 'node:tls';

import { Client, type Dispatcher } from 'undici';

import type { CallResult, ConnectionAttempt, Phases } from '../api/run.ts';
import type { Clock } from '../clock/clock.ts';
import type { Body, Sink } from './body.ts';
import { type ConnectionObserver, Connector, type ConnectorOptions } from './connector.ts';
import { refusalAmong } from './dialer.ts';
import { isTimeout } from './is-timeout.ts';
import { type InterimResponses, withoutInterimResponses } from './interim-responses.ts';
import { PROXY_AUTHENTICATION_REQUIRED, type Proxy, proxyStatusError } from './proxy.ts';

export interface HttpRequest {
  readonly method: string;
  /** Percent-encoded path and query. */
  readonly path: string;
  /** Headers without `content-length`, which is derived from the body. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Body | undefined;
  /** Returns the sink for the response body. Called when the status is known. */
  sinkFor(status: number): Sink;
}

/** Record of one HTTP exchange, complete or not. */
export interface Exchange
  extends
    Pick<CallResult, 'bytesSent' | 'bytesReceived' | 'reusedConnection'>,
    Partial<
      Pick<
        CallResult,
        | 'status'
        | 'remoteAddress'
        | 'remotePort'
        | 'attempts'
        | 'proxy'
        | 'tlsProtocol'
        | 'certificateNotAfter'
      >
    > {
  /** Monotonic ms. */
  startMs: number;
  endMs: number;
  phases: Phases;
  headers: http.IncomingHttpHeaders;
  /** Present if the server asked for a client certificate in the TLS handshake. */
  clientCertificateRequested?: true;
}

/** An HTTP exchange failed in `phase` because of `cause`. */
export class TransportError extends Error {
  override readonly name = 'TransportError';
  readonly exchange: Exchange;
  readonly phase: keyof Phases;

  constructor(cause: unknown, exchange: Exchange, phase: keyof Phases) {
    super('HTTP exchange failed', { cause });
    this.exchange = exchange;
    this.phase = phase;
  }
}

/** Returns the first value of a response header. */
export function header({ headers }: Pick<Exchange, 'headers'>, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}

const MAX_HEADER_BYTES = 16 * 1_024;

/** A body up to this size is sent in one piece, so that it can share a packet with the request headers. */
const MAX_WHOLE_BODY_BYTES = 64 * 1_024;

/** Shared, because undici would otherwise create an error with a stack for each connection that is closed. */
const CLOSED_ERROR = new Error('the connection was closed on purpose');

/** Longer than any run, so that undici does not close the idle connection between two calls. */
const KEEP_ALIVE_MS = 3_600_000;

/**
 * Sends requests to one endpoint over a dedicated connection, one at a time, and measures their phases. It does not
 * retry, follow redirects or share a connection pool. The first request opens the connection, and the first request
 * after a failure opens a new one.
 */
export class Transport {
  readonly #clock: Clock;
  readonly #endpoint: URL;
  readonly #proxy: Proxy | undefined;
  readonly #connector: Connector;
  #client: Client | undefined;
  #socket: net.Socket | undefined;
  #interimResponses: InterimResponses | undefined;
  /** Aborted when the connection attempt in progress has finished or is no longer wanted. */
  #connecting: AbortController | undefined;
  /** The exchange in progress. It is notified when a connection opens. */
  #current: ExchangeHandler | undefined;

  constructor(options: ConnectorOptions) {
    this.#clock = options.clock;
    this.#endpoint = options.endpoint;
    this.#proxy = options.proxy;
    this.#connector = new Connector(options);
  }

  /**
   * @param signal aborts the exchange immediately. The cause of the error is then `signal.reason`.
   * @throws {TransportError} if no complete response arrived.
   */
  send(request: HttpRequest, signal: AbortSignal): Promise<Exchange> {
    return new Promise((resolve, reject) => {
      const handler = new ExchangeHandler(request, this.#clock, this.#proxy, {
        succeed: (exchange, reusable) => {
          signal.removeEventListener('abort', onAbort);
          if (!reusable) this.close();
          resolve(exchange);
        },
        fail: (error) => {
          signal.removeEventListener('abort', onAbort);
          this.close();
          reject(error);
        },
      });
      const onAbort = (): void => {
        this.#connecting?.abort(signal.reason);
        handler.abort(signal.reason);
      };
      if (signal.aborted) return onAbort();
      signal.addEventListener('abort', onAbort, { once: true });
      this.#dispatch(request, handler);
    });
  }

  /** Closes the connection. The next request opens a new one. */
  close(): void {
    this.#connecting?.abort(CLOSED_ERROR);
    void this.#client?.destroy(CLOSED_ERROR).catch(() => undefined);
    this.#client = undefined;
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #dispatch({ method, path, headers, body }: HttpRequest, handler: ExchangeHandler): void {
    this.#current = handler;
    this.#interimResponses?.expectResponse();
    this.#client ??= this.#makeClient();
    const options: Dispatcher.DispatchOptions = {
      method,
      // The proxy derives the Host header from the URL, and the store checks its signature.
      path: this.#isForwarded ? `http://${headers['host'] ?? this.#endpoint.host}${path}` : path,
      headers: this.#headersOf(headers, body),
      body: body === undefined ? null : handler.requestBody(body),
      // Otherwise undici closes the connection after each HEAD.
      reset: false,
    };
    this.#client.dispatch(options, handler);
  }

  /**
   * True if a proxy forwards the requests itself. For a target that uses TLS it opens a tunnel instead, and many allow
   * no tunnel to other ports. Source: RFC 9112 section 3.2.2.
   */
  get #isForwarded(): boolean {
    return this.#proxy !== undefined && this.#endpoint.protocol === 'http:';
  }

  #headersOf(headers: HttpRequest['headers'], body: Body | undefined): Record<string, string> {
    const authorization = this.#isForwarded ? this.#proxy?.authorization : undefined;
    return {
      ...headers,
      ...(body !== undefined && { 'content-length': `${body.sizeBytes}` }),
      ...(authorization !== undefined && { 'proxy-authorization': authorization }),
    };
  }

  #makeClient(): Client {
    return new Client(this.#endpoint.origin, {
      connect: (_options, done) => {
        void this.#connect(done);
      },
      pipelining: 1,
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    });
  }

  async #connect(done: ConnectCallback): Promise<void> {
    const connecting = new AbortController();
    this.#connecting = connecting;
    try {
      if (this.#current === undefined) throw new Error('no exchange in progress');
      const socket = await this.#connector.connect(this.#current, connecting.signal);
      this.#socket = socket;
      this.#interimResponses = withoutInterimResponses(socket);
      done(null, socket);
    } catch (error) {
      done(error as Error, null);
    } finally {
      connecting.abort(CLOSED_ERROR);
    }
  }
}

type ConnectCallback = (...result: [error: null, socket: net.Socket] | [error: Error, socket: null]) => void;

interface Callbacks {
  readonly succeed: (exchange: Exchange, connectionIsReusable: boolean) => void;
  readonly fail: (error: TransportError) => void;
}

/** Turns the events of one exchange into phases. Each phase starts when the previous one ends. */
class ExchangeHandler implements Dispatcher.DispatchHandler, ConnectionObserver {
  readonly #request: HttpRequest;
  readonly #clock: Clock;
  readonly #callbacks: Callbacks;
  readonly #exchange: Exchange;
  readonly #proxy: Proxy | undefined;
  #sink: Sink | undefined;
  #attempts: ConnectionAttempt[] = [];
  #phase: keyof Phases = 'sendMs';
  #phaseStartMs: number;
  #isSent = false;
  #isSettled = false;

  constructor(request: HttpRequest, clock: Clock, proxy: Proxy | undefined, callbacks: Callbacks) {
    this.#request = request;
    this.#proxy = proxy;
    this.#clock = clock;
    this.#callbacks = callbacks;
    const startMs = clock.monotonicMs();
    this.#phaseStartMs = startMs;
    this.#exchange = {
      startMs,
      endMs: startMs,
      phases: {},
      bytesSent: 0,
      bytesReceived: 0,
      reusedConnection: true,
      headers: {},
    };
  }

  requestBody(body: Body): Buffer | Readable {
    if (body.sizeBytes > MAX_WHOLE_BODY_BYTES)
      return Readable.from(this.#countBytes(body), { objectMode: false });
    this.#exchange.bytesSent = body.sizeBytes;
    return Buffer.concat([...body.chunks()], body.sizeBytes);
  }

  connectStarted(phase: keyof Phases): void {
    this.#exchange.reusedConnection = false;
    if (this.#proxy !== undefined) this.#exchange.proxy = this.#proxy.name;
    this.#phase = phase;
  }

  lookupQueued(): void {
    this.#phase = 'waitMs';
  }

  phaseStarted(phase: keyof Phases): void {
    this.#startPhase(phase);
  }

  dialing(attempts: ConnectionAttempt[]): void {
    this.#attempts = attempts;
  }

  connected({ remoteAddress = '', remotePort }: net.Socket): void {
    this.#exchange.remoteAddress = remoteAddress;
    if (remotePort !== undefined) this.#exchange.remotePort = remotePort;
  }

  tlsProgressed(socket: tls.TLSSocket): void {
    // OpenSSL knows the server's signature algorithms only if the server asked for a certificate.
    if ((socket.getSharedSigalgs() ?? []).length > 0) this.#exchange.clientCertificateRequested = true;
  }

  tlsEstablished(socket: tls.TLSSocket): void {
    this.#exchange.tlsProtocol = socket.getProtocol() ?? '';
    const certificate = socket.getPeerX509Certificate();
    if (certificate !== undefined) {
      this.#exchange.certificateNotAfter = certificate.validToDate.toISOString();
    }
    this.tlsProgressed(socket);
  }

  onRequestStart(): void {
    // Needed because undici assumes that a handler without this method implements undici's old interface.
  }

  /** Called by undici when the last byte has been handed to the kernel or is buffered in the socket. */
  onRequestSent(): void {
    this.#isSent = true;
    if (this.#phase === 'sendMs') this.#startPhase('firstByteMs');
  }

  onResponseStart(_controller: unknown, status: number, headers: http.IncomingHttpHeaders): void {
    // 1xx: the final response is still to come.
    if (status < 200) return;
    if (this.#proxy !== undefined && status === PROXY_AUTHENTICATION_REQUIRED) {
      return this.fail(proxyStatusError(this.#proxy.name, status));
    }
    this.#exchange.status = status;
    this.#exchange.headers = headers;
    this.#sink = this.#request.sinkFor(status);
    this.#startPhase('bodyMs');
  }

  onResponseData(_controller: unknown, chunk: Buffer): void {
    this.#exchange.bytesReceived += chunk.length;
    if (this.#sink?.write(chunk) === false) this.#succeed(false);
  }

  onResponseEnd(): void {
    // If the request was not sent completely, the connection cannot be reused.
    this.#succeed(this.#isSent);
  }

  onResponseError(_controller: unknown, error: Error): void {
    this.fail(error);
  }

  /** The connection attempt has been aborted already. */
  abort(reason: unknown): void {
    this.fail((isTimeout(reason) ? refusalAmong(this.#attempts) : undefined) ?? reason);
  }

  fail(cause: unknown): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    const phase = this.#phase;
    this.#closeLastPhase();
    this.#callbacks.fail(new TransportError(cause, this.#exchange, phase));
  }

  #succeed(connectionIsReusable: boolean): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#closeLastPhase();
    this.#callbacks.succeed(this.#exchange, connectionIsReusable);
  }

  *#countBytes(body: Body): Generator<Uint8Array> {
    for (const chunk of body.chunks()) {
      this.#exchange.bytesSent += chunk.length;
      yield chunk;
    }
  }

  #closeLastPhase(): void {
    this.#startPhase(this.#phase);
    if (this.#attempts.length > 1) this.#exchange.attempts = this.#attempts;
    this.#exchange.endMs = this.#phaseStartMs;
  }

  #startPhase(phase: keyof Phases): void {
    const nowMs = this.#clock.monotonicMs();
    this.#exchange.phases[this.#phase] = nowMs - this.#phaseStartMs;
    this.#phase = phase;
    this.#phaseStartMs = nowMs;
  }
}
