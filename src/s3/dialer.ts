import type { LookupAddress } from 'node:dns';
import net from 'node:net';

import type { ConnectionAttempt } from '../api/run.ts';
import type { Clock } from '../clock/clock.ts';
import { isTimeout } from './is-timeout.ts';

/** How long to wait for one address before trying the next as well. Source: RFC 8305 section 5. */
const ATTEMPT_DELAY_MS = 250;
const MAX_ATTEMPTS = 16;
/** Longest list of attempts in a message. */
const MAX_LISTED = 4;

export interface DialOptions {
  readonly addresses: readonly LookupAddress[];
  /** Returns further addresses to try after all have failed. */
  readonly more?: (() => Promise<readonly LookupAddress[]>) | undefined;
  readonly port: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Starts to open a connection. Default: over TCP. */
  readonly open?: OpenSocket | undefined;
  /** Receives each attempt when it starts. The attempt is updated when it finishes. */
  readonly attempts: ConnectionAttempt[];
}

export type OpenSocket = (address: LookupAddress, port: number) => net.Socket;

export interface Connection {
  readonly socket: net.Socket;
  readonly address: LookupAddress;
}

/** All attempts failed. `code` is that of the attempt that says most. */
export class DialError extends Error {
  override readonly name = 'DialError';
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * Opens a TCP connection to the first address that accepts one. A further address is tried when an attempt fails, or
 * after 250 ms, while earlier attempts continue.
 *
 * Source: RFC 8305 section 5.
 *
 * @throws {DialError} if several addresses were tried and none accepted a connection; the error of the system if there
 *   was one address; `signal.reason` if the signal aborts. Pending attempts are then updated before `abort` returns.
 */
export function dial(options: DialOptions): Promise<Connection> {
  return new Promise((resolve, reject) => {
    new Dial(options, resolve, reject).start();
  });
}

class Dial {
  readonly #options: DialOptions;
  readonly #resolve: (connection: Connection) => void;
  readonly #reject: (error: unknown) => void;
  /** Addresses that have not been tried. */
  #waiting: LookupAddress[];
  #more: DialOptions['more'];
  readonly #pending = new Map<net.Socket, Attempt>();
  /** Last error of each code. */
  readonly #errors = new Map<string, Error>();
  #delay: AbortController | undefined;
  #isDone = false;

  constructor(
    options: DialOptions,
    resolve: (connection: Connection) => void,
    reject: (error: unknown) => void,
  ) {
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#waiting = [...options.addresses];
    this.#more = options.more;
  }

  start(): void {
    const { signal } = this.#options;
    if (signal.aborted) return this.#onAbort();
    signal.addEventListener('abort', this.#onAbort, { once: true });
    this.#tryNext();
  }

  #tryNext(): void {
    this.#delay?.abort();
    const address = this.#options.attempts.length < MAX_ATTEMPTS ? this.#waiting.shift() : undefined;
    if (address === undefined) return this.#onAllStarted();
    this.#try(address);
    if (this.#waiting.length > 0) this.#tryNextLater();
  }

  #try(address: LookupAddress): void {
    const { attempts, clock, port, open = openTcp } = this.#options;
    const attempt = { record: recordOf(address), startMs: clock.monotonicMs() };
    attempts.push(attempt.record);
    const socket = open(address, port);
    this.#pending.set(socket, attempt);
    const onError = (error: NodeJS.ErrnoException): void => {
      const code = error.code ?? 'UNKNOWN';
      if (this.#isDone) return;
      this.#close(socket, code);
      this.#errors.set(code, error);
      this.#tryNext();
    };
    socket.on('error', onError);
    socket.once('connect', () => {
      if (this.#isDone) return;
      socket.off('error', onError);
      this.#settle(socket, 'connected');
      this.#finish();
      this.#resolve({ socket, address });
    });
  }

  #tryNextLater(): void {
    const delay = new AbortController();
    this.#delay = delay;
    this.#options.clock.sleep(ATTEMPT_DELAY_MS, delay.signal).then(
      () => {
        if (!delay.signal.aborted) this.#tryNext();
      },
      () => undefined,
    );
  }

  #onAllStarted(): void {
    if (this.#pending.size > 0) return;
    const more = this.#more;
    if (more === undefined) return this.#fail(this.#failure());
    this.#more = undefined;
    more().then(
      (addresses) => {
        if (this.#isDone) return;
        const tried = new Set(this.#options.attempts.map(({ address }) => address));
        this.#waiting = addresses.filter(({ address }) => !tried.has(address));
        this.#tryNext();
      },
      // The addresses that failed say more than a failed lookup of others.
      () => {
        if (!this.#isDone) this.#fail(this.#failure());
      },
    );
  }

  readonly #onAbort = (): void => {
    const { reason } = this.#options.signal;
    for (const socket of this.#pending.keys())
      this.#close(socket, isTimeout(reason) ? 'ETIMEDOUT' : 'abandoned');
    this.#fail(reason);
  };

  #fail(error: unknown): void {
    this.#finish();
    this.#reject(error);
  }

  #finish(): void {
    this.#isDone = true;
    this.#delay?.abort();
    this.#options.signal.removeEventListener('abort', this.#onAbort);
    for (const socket of this.#pending.keys()) this.#close(socket, 'abandoned');
  }

  #close(socket: net.Socket, outcome: string): void {
    this.#settle(socket, outcome);
    socket.destroy();
  }

  #settle(socket: net.Socket, outcome: string): void {
    const attempt = this.#pending.get(socket);
    if (attempt === undefined) return;
    this.#pending.delete(socket);
    attempt.record.outcome = outcome;
    attempt.record.durationMs = this.#options.clock.monotonicMs() - attempt.startMs;
  }

  #failure(): Error {
    const { attempts } = this.#options;
    const code = decisiveCode(attempts.map(({ outcome }) => outcome));
    const cause = this.#errors.get(code);
    if (attempts.length === 1 && cause !== undefined) return cause;
    return new DialError(code, describeAttempts(attempts), { cause });
  }
}

interface Attempt {
  readonly record: ConnectionAttempt;
  readonly startMs: number;
}

/**
 * The error of a dial whose deadline passed after an address had refused. The other addresses did not answer, but the
 * refusal says more than the timeout.
 */
export function refusalAmong(attempts: readonly ConnectionAttempt[]): DialError | undefined {
  const isRefused = attempts.some(({ outcome }) => outcome === 'ECONNREFUSED');
  const isConnected = attempts.some(({ outcome }) => outcome === 'connected');
  if (!isRefused || isConnected) return undefined;
  return new DialError('ECONNREFUSED', describeAttempts(attempts));
}

function recordOf({ address }: LookupAddress): ConnectionAttempt {
  return { address, durationMs: 0, outcome: 'abandoned' };
}

function openTcp({ address }: LookupAddress, port: number): net.Socket {
  return net.connect({ host: address, port, noDelay: true });
}

/**
 * Codes that decide the reason before others. First those of the prober itself: then nothing is known about the store.
 * A refusal comes from the host or a firewall, and a timeout from a network that has a route.
 */
const DECISIVE_CODES = ['EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS', 'ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT'];

/** Codes that depend on the prober's own network, for example if it has no IPv6. */
const WEAK_CODES: ReadonlySet<string> = new Set(['ENETUNREACH', 'EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EINVAL']);

/** @returns the code of the attempt that says most about the endpoint. */
export function decisiveCode(codes: readonly string[]): string {
  return (
    DECISIVE_CODES.find((code) => codes.includes(code)) ??
    codes.find((code) => !WEAK_CODES.has(code)) ??
    codes[0] ??
    'ENOTFOUND'
  );
}

/** Lists the first attempts: `tried 2 addresses: fd00::1 ENETUNREACH, 10.0.0.1 ECONNREFUSED`. */
export function describeAttempts(attempts: readonly ConnectionAttempt[]): string {
  const listed = attempts.slice(0, MAX_LISTED).map(({ address, outcome }) => `${address} ${outcome}`);
  const rest = attempts.length - listed.length;
  return `tried ${attempts.length} addresses: ${listed.join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}
