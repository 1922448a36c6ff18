import type http from 'node:http';
import net from 'node:net';
import { Readable } from 'node:stream';
import tls from 'node:tls';

import { Client, type Dispatcher } from 'undici';

import type { CallResult, Phases } from '../api/run.ts';
import type { Clock } from '../clock/clock.ts';
import { type AddressPolicy, checkedLookup, refusedHost, type Resolve } from './address-policy.ts';
import type { Body, Sink } from './body.ts';

export interface HttpRequest {
  readonly method: string;
  /** Percent-encoded path and query. */
  readonly path: string;
  /** Without `content-length`, which comes from the body. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Body | undefined;
  /** Where the answer's body goes, once its status is known. */
  sinkFor(status: number): Sink;
}

/** One HTTP exchange as it went, or as far as it went. */
export interface Exchange
  extends
    Pick<CallResult, 'bytesSent' | 'bytesReceived' | 'reusedConnection'>,
    Partial<Pick<CallResult, 'status' | 'remoteAddress' | 'tlsProtocol' | 'certificateNotAfter'>> {
  /** Monotonic ms. */
  startMs: number;
  endMs: number;
  phases: Phases;
  headers: http.IncomingHttpHeaders;
}

/** The exchange did not reach its end: `cause` says why, `phase` says where. */
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

/** The first value of a header of the answer. */
export function header({ headers }: Pick<Exchange, 'headers'>, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** The host to connect to: an IPv6 address loses the brackets that it has in a URL. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}

export function portOf({ port, protocol }: URL): number {
  return Number(port) || (protocol === 'https:' ? 443 : 80);
}

/**
 * Node's default of 250 ms gives up on every address of a store that is one slow continent away.
 * Source: Node.js documentation, `net.setDefaultAutoSelectFamilyAttemptTimeout`.
 */
const ADDRESS_ATTEMPT_TIMEOUT_MS = 2_000;

const MAX_HEADER_BYTES = 16 * 1_024;

/** A body up to this size goes out in one piece: it then shares a packet with its head. */
const MAX_WHOLE_BODY_BYTES = 64 * 1_024;

/** Made once: undici would make an error, with its stack, for each connection that is closed. */
const CLOSED = new Error('the connection was closed on purpose');

/** A run is shorter; the deadline is the caller's signal, and no other. */
const KEEP_ALIVE_MS = 3_600_000;

export interface TransportOptions {
  readonly endpoint: URL;
  /** Absent where the system's authorities are trusted. */
  readonly secureContext: tls.SecureContext | undefined;
  readonly clock: Clock;
  /** Absent where any address may be connected to. */
  readonly addressPolicy?: AddressPolicy | undefined;
  /** How names are resolved under the policy. Default: as the system does. */
  readonly resolve?: Resolve | undefined;
}

/**
 * Sends requests to one endpoint over one connection of its own, one at a time, and times their phases. No retries,
 * no redirects, no pool shared with others. The first request opens the connection, one after a failure opens
 * another; {@link close} closes it.
 */
export class Transport {
  readonly #clock: Clock;
  readonly #endpoint: URL;
  readonly #secureContext: tls.SecureContext | undefined;
  readonly #addressPolicy: AddressPolicy | undefined;
  readonly #resolve: Resolve | undefined;
  #client: Client | undefined;
  #socket: net.Socket | undefined;
  /** The exchange under way: a connection that opens tells it when. */
  #current: ExchangeHandler | undefined;

  constructor({ endpoint, secureContext, clock, addressPolicy, resolve }: TransportOptions) {
    this.#clock = clock;
    this.#endpoint = endpoint;
    this.#secureContext = secureContext;
    this.#addressPolicy = addressPolicy;
    this.#resolve = resolve;
  }

  /**
   * @param signal breaks off at once; the rejection's cause is then `signal.reason`.
   * @throws {TransportError} when no complete answer came.
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

  /** Closes the connection; the next request opens another. */
  close(): void {
    void this.#client?.destroy(CLOSED).catch(() => undefined);
    this.#client = undefined;
    // A client that is destroyed while it connects leaves its socket to the system's own, long time-out.
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #dispatch({ method, path, headers, body }: HttpRequest, handler: ExchangeHandler): void {
    this.#current = handler;
    this.#client ??= this.#makeClient();
    const options: Dispatcher.DispatchOptions = {
      method,
      path,
      headers: body === undefined ? headers : { ...headers, 'content-length': `${body.sizeBytes}` },
      body: body === undefined ? null : handler.outgoing(body),
      // Else undici closes the connection after each HEAD.
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
    handler?.connecting(net.isIP(host) === 0);
    const policy = this.#addressPolicy;
    const refused = policy && refusedHost(policy, host);
    if (refused !== undefined) {
      queueMicrotask(() => {
        done(refused, null);
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
      done(error, null);
    };
    socket.once('error', onError);
    socket.once('lookup', (error: Error | null) => {
      if (error === null) handler?.resolved();
    });
    socket.once('connect', () => {
      handler?.connected(socket);
    });
    socket.once(secure ? 'secureConnect' : 'connect', () => {
      socket.off('error', onError);
      if (socket instanceof tls.TLSSocket) handler?.secured(socket);
      done(null, socket);
    });
  }

  #tlsOptions(host: string): tls.ConnectionOptions {
    return {
      ALPNProtocols: ['http/1.1'],
      ...(net.isIP(host) === 0 && { servername: host }),
      ...(this.#secureContext !== undefined && { secureContext: this.#secureContext }),
    };
  }
}

interface Outcome {
  readonly succeed: (exchange: Exchange, connectionIsReusable: boolean) => void;
  readonly fail: (error: TransportError) => void;
}

/** Follows one exchange from event to event, and turns them into phases: each lasts from the end of the one before. */
class ExchangeHandler implements Dispatcher.DispatchHandler {
  readonly #request: HttpRequest;
  readonly #clock: Clock;
  readonly #outcome: Outcome;
  readonly #exchange: Exchange;
  #sink: Sink | undefined;
  #phase: keyof Phases = 'sendMs';
  #phaseStartMs: number;
  #isSent = false;
  #isSettled = false;

  constructor(request: HttpRequest, clock: Clock, outcome: Outcome) {
    this.#request = request;
    this.#clock = clock;
    this.#outcome = outcome;
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

  /** The body on its way out. */
  outgoing(body: Body): Buffer | Readable {
    if (body.sizeBytes > MAX_WHOLE_BODY_BYTES)
      return Readable.from(this.#counted(body), { objectMode: false });
    this.#exchange.bytesSent = body.sizeBytes;
    return Buffer.concat([...body.chunks()], body.sizeBytes);
  }

  connecting(byName: boolean): void {
    this.#exchange.reusedConnection = false;
    this.#phase = byName ? 'dnsMs' : 'connectMs';
  }

  resolved(): void {
    this.#next('connectMs');
  }

  connected(socket: net.Socket): void {
    this.#exchange.remoteAddress = socket.remoteAddress ?? '';
    this.#next(socket instanceof tls.TLSSocket ? 'tlsMs' : 'sendMs');
  }

  secured(socket: tls.TLSSocket): void {
    this.#exchange.tlsProtocol = socket.getProtocol() ?? '';
    const certificate = socket.getPeerX509Certificate();
    if (certificate !== undefined) {
      this.#exchange.certificateNotAfter = certificate.validToDate.toISOString();
    }
    this.#next('sendMs');
  }

  onRequestStart(): void {
    // undici takes a handler without it for one of its older kind.
  }

  /** undici calls it once the last byte is handed to the kernel, or waits for it. */
  onRequestSent(): void {
    this.#isSent = true;
    if (this.#phase === 'sendMs') this.#next('firstByteMs');
  }

  onResponseStart(_controller: unknown, status: number, headers: http.IncomingHttpHeaders): void {
    // 1xx: the answer is still to come.
    if (status < 200) return;
    this.#exchange.status = status;
    this.#exchange.headers = headers;
    this.#sink = this.#request.sinkFor(status);
    this.#next('bodyMs');
  }

  onResponseData(_controller: unknown, chunk: Buffer): void {
    this.#exchange.bytesReceived += chunk.length;
    if (this.#sink?.write(chunk) === false) this.#succeed(false);
  }

  onResponseEnd(): void {
    // A connection whose request was not sent to its end cannot take another.
    this.#succeed(this.#isSent);
  }

  onResponseError(_controller: unknown, error: Error): void {
    this.fail(error);
  }

  fail(cause: unknown): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    const phase = this.#phase;
    this.#end();
    this.#outcome.fail(new TransportError(cause, this.#exchange, phase));
  }

  #succeed(connectionIsReusable: boolean): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#end();
    this.#outcome.succeed(this.#exchange, connectionIsReusable);
  }

  *#counted(body: Body): Generator<Uint8Array> {
    for (const chunk of body.chunks()) {
      this.#exchange.bytesSent += chunk.length;
      yield chunk;
    }
  }

  #end(): void {
    this.#next(this.#phase);
    this.#exchange.endMs = this.#phaseStartMs;
  }

  #next(phase: keyof Phases): void {
    const nowMs = this.#clock.monotonicMs();
    this.#exchange.phases[this.#phase] = nowMs - this.#phaseStartMs;
    this.#phase = phase;
    this.#phaseStartMs = nowMs;
  }
}
