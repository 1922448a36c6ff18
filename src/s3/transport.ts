import type http from 'node:http';
import net from 'node:net';
import { Readable } from 'node:stream';
import tls from 'node:tls';

import { Client, type Dispatcher } from 'undici';

import type { CallResult, Phases } from '../api/run.ts';
import type { Clock } from '../clock/clock.ts';
import { type AddressPolicy, blockedHostError, checkedLookup, type Resolve } from './address-policy.ts';
import type { Body, Sink } from './body.ts';
import { type InterimResponses, withoutInterimResponses } from './interim-responses.ts';

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
      Pick<CallResult, 'status' | 'remoteAddress' | 'remotePort' | 'tlsProtocol' | 'certificateNotAfter'>
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

/** Returns the host without the brackets that a URL puts around an IPv6 address. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}

export function portOf({ port, protocol }: URL): number {
  return Number(port) || (protocol === 'https:' ? 443 : 80);
}

/**
 * How long to try one address before the next. Node's default of 250 ms is too short for a distant store.
 * Source: Node.js documentation, `net.setDefaultAutoSelectFamilyAttemptTimeout`.
 */
const ADDRESS_ATTEMPT_TIMEOUT_MS = 2_000;

const MAX_HEADER_BYTES = 16 * 1_024;

/** A body up to this size is sent in one piece, so that it can share a packet with the request headers. */
const MAX_WHOLE_BODY_BYTES = 64 * 1_024;

/** Shared, because undici would otherwise create an error with a stack for each connection that is closed. */
const CLOSED_ERROR = new Error('the connection was closed on purpose');

/** Longer than any run, so that undici does not close the idle connection between two calls. */
const KEEP_ALIVE_MS = 3_600_000;

export interface TransportOptions {
  readonly endpoint: URL;
  /** Absent if the system's certificate authorities are trusted. */
  readonly secureContext: tls.SecureContext | undefined;
  readonly clock: Clock;
  /** Addresses that the transport may connect to. Default: any. */
  readonly addressPolicy?: AddressPolicy | undefined;
  /** Resolves host names if there is an address policy. Default: the system's resolver. */
  readonly resolve?: Resolve | undefined;
}

/**
 * Sends requests to one endpoint over a dedicated connection, one at a time, and measures their phases. It does not
 * retry, follow redirects or share a connection pool. The first request opens the connection, and the first request
 * after a failure opens a new one.
 */
export class Transport {
  readonly #clock: Clock;
  readonly #endpoint: URL;
  readonly #secureContext: tls.SecureContext | undefined;
  readonly #addressPolicy: AddressPolicy | undefined;
  readonly #resolve: Resolve | undefined;
  #client: Client | undefined;
  #socket: net.Socket | undefined;
  #interimResponses: InterimResponses | undefined;
  /** The exchange in progress. It is notified when a connection opens. */
  #current: ExchangeHandler | undefined;

  constructor({ endpoint, secureContext, clock, addressPolicy, resolve }: TransportOptions) {
    this.#clock = clock;
    this.#endpoint = endpoint;
    this.#secureContext = secureContext;
    this.#addressPolicy = addressPolicy;
    this.#resolve = resolve;
  }

  /**
   * @param signal aborts the exchange immediately. The cause of the error is then `signal.reason`.
   * @throws {TransportError} if no complete response arrived.
   */
  send(request: HttpRequest, signal: AbortSignal): Promise<Exchange> {
    return new Promise((resolve, reject) => {
      const handler = new ExchangeHandler(request, this.#clock, {
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
      function onAbort(): void {
        handler.fail(signal.reason);
      }
      if (signal.aborted) return onAbort();
      signal.addEventListener('abort', onAbort, { once: true });
      this.#dispatch(request, handler);
    });
  }

  /** Closes the connection. The next request opens a new one. */
  close(): void {
    void this.#client?.destroy(CLOSED_ERROR).catch(() => undefined);
    this.#client = undefined;
    // If undici's client is destroyed while connecting, its socket stays open until the system's long timeout.
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #dispatch({ method, path, headers, body }: HttpRequest, handler: ExchangeHandler): void {
    this.#current = handler;
    this.#interimResponses?.expectResponse();
    this.#client ??= this.#makeClient();
    const options: Dispatcher.DispatchOptions = {
      method,
      path,
      headers: body === undefined ? headers : { ...headers, 'content-length': `${body.sizeBytes}` },
      body: body === undefined ? null : handler.requestBody(body),
      // Otherwise undici closes the connection after each HEAD.
      reset: false,
    };
    this.#client.dispatch(options, handler);
  }

  #makeClient(): Client {
    return new Client(this.#endpoint.origin, {
      connect: (_options, done) => {
        this.#connect(done);
      },
      pipelining: 1,
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    });
  }

  #connect(
    done: (...result: [error: null, socket: net.Socket] | [error: Error, socket: null]) => void,
  ): void {
    const host = hostOf(this.#endpoint);
    const handler = this.#current;
    handler?.connectStarted(net.isIP(host) === 0);
    const policy = this.#addressPolicy;
    const blocked = policy && blockedHostError(policy, host);
    if (blocked !== undefined) {
      queueMicrotask(() => {
        done(blocked, null);
      });
      return;
    }
    const secure = this.#endpoint.protocol === 'https:';
    const options = {
      host,
      port: portOf(this.#endpoint),
      noDelay: true,
      autoSelectFamilyAttemptTimeout: ADDRESS_ATTEMPT_TIMEOUT_MS,
      ...(policy !== undefined && { autoSelectFamily: true, lookup: checkedLookup(policy, this.#resolve) }),
    };
    const socket = secure ? tls.connect({ ...options, ...this.#tlsOptions(host) }) : net.connect(options);
    this.#socket = socket;
    const onError = (error: Error): void => {
      if (socket instanceof tls.TLSSocket) handler?.tlsProgressed(socket);
      done(error, null);
    };
    socket.once('error', onError);
    socket.once('lookup', (error: Error | null) => {
      if (error === null) handler?.nameResolved();
    });
    socket.once('connect', () => {
      handler?.connected(socket);
    });
    socket.once(secure ? 'secureConnect' : 'connect', () => {
      socket.off('error', onError);
      if (socket instanceof tls.TLSSocket) handler?.tlsEstablished(socket);
      this.#interimResponses = withoutInterimResponses(socket);
      done(null, socket);
    });
  }

  #tlsOptions(host: string): tls.ConnectionOptions {
    return {
      ALPNProtocols: ['http/1.1'],
      // The trailing dot of a host name is for DNS only.
      ...(net.isIP(host) === 0 && { servername: host.replace(/\.$/, '') }),
      ...(this.#secureContext !== undefined && { secureContext: this.#secureContext }),
    };
  }
}

interface Callbacks {
  readonly succeed: (exchange: Exchange, connectionIsReusable: boolean) => void;
  readonly fail: (error: TransportError) => void;
}

/** Turns the events of one exchange into phases. Each phase starts when the previous one ends. */
class ExchangeHandler implements Dispatcher.DispatchHandler {
  readonly #request: HttpRequest;
  readonly #clock: Clock;
  readonly #callbacks: Callbacks;
  readonly #exchange: Exchange;
  #sink: Sink | undefined;
  #phase: keyof Phases = 'sendMs';
  #phaseStartMs: number;
  #isSent = false;
  #isSettled = false;

  constructor(request: HttpRequest, clock: Clock, callbacks: Callbacks) {
    this.#request = request;
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

  connectStarted(needsLookup: boolean): void {
    this.#exchange.reusedConnection = false;
    this.#phase = needsLookup ? 'dnsMs' : 'connectMs';
  }

  nameResolved(): void {
    this.#startPhase('connectMs');
  }

  connected(socket: net.Socket): void {
    this.#exchange.remoteAddress = socket.remoteAddress ?? '';
    if (socket.remotePort !== undefined) this.#exchange.remotePort = socket.remotePort;
    this.#startPhase(socket instanceof tls.TLSSocket ? 'tlsMs' : 'sendMs');
  }

  /** Called when the handshake has finished or failed. */
  tlsProgressed(socket: tls.TLSSocket): void {
    // OpenSSL knows the server's signature algorithms only if the server asked for a certificate.
    if ((socket.getSharedSigalgs() ?? []).length > 0) this.#exchange.clientCertificateRequested = true;
  }

  tlsEstablished(socket: tls.TLSSocket): void {
    this.tlsProgressed(socket);
    this.#exchange.tlsProtocol = socket.getProtocol() ?? '';
    const certificate = socket.getPeerX509Certificate();
    if (certificate !== undefined) {
      this.#exchange.certificateNotAfter = certificate.validToDate.toISOString();
    }
    this.#startPhase('sendMs');
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
    this.#exchange.endMs = this.#phaseStartMs;
  }

  #startPhase(phase: keyof Phases): void {
    const nowMs = this.#clock.monotonicMs();
    this.#exchange.phases[this.#phase] = nowMs - this.#phaseStartMs;
    this.#phase = phase;
    this.#phaseStartMs = nowMs;
  }
}
