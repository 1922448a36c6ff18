import http from 'node:http';
import https from 'node:https';
import { isIP, type Socket } from 'node:net';
import { createSecureContext, TLSSocket } from 'node:tls';

import type { CallResult, Phases } from '../api/run.ts';
import type { Clock } from '../clock/clock.ts';
import type { Body, Sink } from './body.ts';

export interface HttpRequest {
  readonly method: string;
  /** Percent-encoded path and query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Body;
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
  readonly phase: keyof typeof PHASE_NAMES;

  constructor(cause: unknown, exchange: Exchange, phase: keyof typeof PHASE_NAMES) {
    super('HTTP exchange failed', { cause });
    this.exchange = exchange;
    this.phase = phase;
  }
}

/** What goes on in each phase; the host follows. */
export const PHASE_NAMES = {
  dnsMs: 'resolving the name of',
  connectMs: 'connecting to',
  tlsMs: 'shaking hands by TLS with',
  sendMs: 'sending the request to',
  firstByteMs: 'waiting for the first byte from',
  bodyMs: 'reading the answer of',
} as const satisfies Record<keyof Phases, string>;

/**
 * Node's default of 250 ms gives up on every address of a store that is one slow continent away.
 * Source: Node.js documentation, `net.setDefaultAutoSelectFamilyAttemptTimeout`.
 */
const ADDRESS_ATTEMPT_TIMEOUT_MS = 2_000;

/** The first value of a header of the answer. */
export function header({ headers }: Pick<Exchange, 'headers'>, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}

export interface TransportOptions {
  readonly endpoint: URL;
  /** PEM; replaces the system's authorities. @throws by the constructor when it holds no certificate */
  readonly ca?: string;
  readonly clock: Clock;
}

/**
 * Sends requests to one endpoint over one connection of its own, one at a time, and times their phases. No retries,
 * no redirects, no pool shared with others. The first request opens the connection; {@link close} closes it.
 */
export class Transport {
  readonly #clock: Clock;
  readonly #agent: http.Agent;
  readonly #request: typeof http.request;
  readonly #host: string;
  readonly #port: string;
  /** An IP address needs no look-up. */
  readonly #startPhase: 'dnsMs' | 'connectMs';

  constructor({ endpoint, ca, clock }: TransportOptions) {
    this.#clock = clock;
    const agentOptions: https.AgentOptions = {
      keepAlive: true,
      maxSockets: 1,
      autoSelectFamilyAttemptTimeout: ADDRESS_ATTEMPT_TIMEOUT_MS,
    };
    if (endpoint.protocol === 'https:') {
      if (ca !== undefined) agentOptions.secureContext = createSecureContext({ ca });
      this.#agent = new https.Agent(agentOptions);
      this.#request = https.request;
    } else {
      this.#agent = new http.Agent(agentOptions);
      this.#request = http.request;
    }
    this.#host = endpoint.hostname.replace(/^\[(.*)\]$/, '$1');
    this.#port = endpoint.port;
    this.#startPhase = isIP(this.#host) === 0 ? 'dnsMs' : 'connectMs';
  }

  /**
   * @param signal breaks off at once; the rejection's cause is then `signal.reason`.
   * @throws {TransportError} when no complete answer came.
   */
  send(request: HttpRequest, signal: AbortSignal): Promise<Exchange> {
    const timer = new ExchangeTimer(this.#clock);
    const exchange = timer.exchange;
    if (signal.aborted) return Promise.reject(new TransportError(signal.reason, exchange, 'sendMs'));

    return new Promise((resolve, reject) => {
      const outgoing = this.#request({
        agent: this.#agent,
        host: this.#host,
        port: this.#port,
        method: request.method,
        path: request.path,
        headers: request.headers,
      });
      const onAbort = (): void => {
        fail(signal.reason);
      };
      let settled = false;
      function settle(): boolean {
        if (settled) return false;
        settled = true;
        signal.removeEventListener('abort', onAbort);
        return true;
      }
      function fail(cause: unknown): void {
        if (!settle()) return;
        outgoing.destroy();
        reject(new TransportError(cause, exchange, timer.stop()));
      }
      function succeed(): void {
        if (!settle()) return;
        // An answer that came before the whole request was sent leaves the connection unusable.
        if (!outgoing.writableFinished) outgoing.destroy();
        timer.stop();
        resolve(exchange);
      }

      signal.addEventListener('abort', onAbort, { once: true });
      outgoing.on('error', fail);
      outgoing.once('socket', (socket) => {
        timer.watch(socket, outgoing.reusedSocket, this.#startPhase);
      });
      outgoing.once('finish', () => {
        timer.sent();
      });
      outgoing.once('response', (response) => {
        timer.answered(response);
        const sink = request.sinkFor(exchange.status ?? 0);
        response.on('error', fail);
        response.on('end', succeed);
        response.on('data', (chunk: Buffer) => {
          exchange.bytesReceived += chunk.length;
          if (sink.write(chunk)) return;
          outgoing.destroy();
          succeed();
        });
      });
      sendBody(outgoing, request.body, exchange).catch(fail);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

async function sendBody(
  outgoing: http.ClientRequest,
  body: Body | undefined,
  exchange: Exchange,
): Promise<void> {
  if (body !== undefined) {
    for (const chunk of body.chunks()) {
      exchange.bytesSent += chunk.length;
      // The last chunk goes with end(): a small body then shares a packet with its head.
      if (exchange.bytesSent === body.sizeBytes) return void outgoing.end(chunk);
      if (!outgoing.write(chunk)) await drained(outgoing);
      if (outgoing.destroyed) return;
    }
  }
  outgoing.end();
}

function drained(outgoing: http.ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      outgoing.off('drain', done);
      outgoing.off('close', done);
      resolve();
    };
    outgoing.on('drain', done);
    outgoing.on('close', done);
  });
}

/** Turns the events of a socket and a request into phases: each lasts from the one before it to its own end. */
class ExchangeTimer {
  readonly exchange: Exchange;
  readonly #clock: Clock;
  #phase: keyof Phases | undefined;
  #phaseStartMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    const startMs = clock.monotonicMs();
    this.#phaseStartMs = startMs;
    this.exchange = {
      startMs,
      endMs: startMs,
      phases: {},
      bytesSent: 0,
      bytesReceived: 0,
      reusedConnection: false,
      headers: {},
    };
  }

  watch(socket: Socket, reused: boolean, startPhase: 'dnsMs' | 'connectMs'): void {
    if (reused) {
      this.exchange.reusedConnection = true;
      this.exchange.remoteAddress = socket.remoteAddress ?? '';
      this.#phase = 'sendMs';
      return;
    }
    this.#phase = startPhase;
    socket.once('lookup', (error: Error | null) => {
      if (error === null) this.#next('connectMs');
    });
    socket.once('connect', () => {
      this.exchange.remoteAddress = socket.remoteAddress ?? '';
      this.#next(socket instanceof TLSSocket ? 'tlsMs' : 'sendMs');
    });
    if (!(socket instanceof TLSSocket)) return;
    socket.once('secureConnect', () => {
      this.exchange.tlsProtocol = socket.getProtocol() ?? '';
      const certificate = socket.getPeerX509Certificate();
      if (certificate !== undefined)
        this.exchange.certificateNotAfter = certificate.validToDate.toISOString();
      this.#next('sendMs');
    });
  }

  sent(): void {
    if (this.#phase === 'sendMs') this.#next('firstByteMs');
  }

  answered(response: http.IncomingMessage): void {
    this.exchange.status = response.statusCode ?? 0;
    this.exchange.headers = response.headers;
    this.#next('bodyMs');
  }

  /** @returns the phase that was under way. */
  stop(): keyof Phases {
    const phase = this.#phase ?? 'connectMs';
    this.#next(phase);
    this.exchange.endMs = this.#phaseStartMs;
    return phase;
  }

  #next(phase: keyof Phases): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.#phase !== undefined) this.exchange.phases[this.#phase] = nowMs - this.#phaseStartMs;
    this.#phase = phase;
    this.#phaseStartMs = nowMs;
  }
}
