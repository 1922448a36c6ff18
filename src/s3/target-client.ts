import { EventEmitter } from 'node:events';
import type http from 'node:http';

import { Client } from 'minio';

import { oneLine } from '../api/one-line.ts';
import type { CallResult, RunTarget } from '../api/run.ts';
import type { Clock } from '../clock/clock.ts';
import type { AddressPolicy, Resolve } from './address-policy.ts';
import { answerFault, isForeign } from './answer-faults.ts';
import { type Body, type Sink, TextSink } from './body.ts';
import { isTimeout, networkFault } from './network-faults.ts';
import { type Fault, S3Error } from './s3-error.ts';
import { EMPTY_SHA256, sha256Hex, type Signer } from './signer.ts';
import type { TargetKeyring } from './target-keys.ts';
import { type Exchange, header, hostOf, portOf, Transport, TransportError } from './transport.ts';

/** Longest answer that is kept: S3's errors and listings are far shorter. */
const MAX_TEXT_BYTES = 64 * 1_024;

const NOT_FOUND = 404;

/** Region that S3 assumes when a bucket is made without one. */
const DEFAULT_REGION = 'us-east-1';

export interface CallOptions {
  readonly signal: AbortSignal;
  /** W3C trace context of the call's span; goes out unsigned. */
  readonly traceparent?: string;
}

export interface TargetClientDeps {
  readonly clock: Clock;
  readonly keyring: TargetKeyring;
  /** For the `user-agent` header. */
  readonly version: string;
  /** Absent where any address may be connected to. */
  readonly addressPolicy?: AddressPolicy | undefined;
  /** How names are resolved under the policy. Default: as the system does. */
  readonly resolve?: Resolve | undefined;
  /** Monotonic ms that the offsets of calls count from: the start of the run. */
  readonly originMs: number;
}

/** What a call gave, with how it went. */
export interface Outcome<T> {
  readonly value: T;
  readonly call: CallResult;
}

/** Which object a key stands for. */
export interface ObjectVersion {
  /** Absent in a bucket without versioning. */
  readonly id: string | undefined;
}

interface PendingCall {
  readonly operation: string;
  readonly options: CallOptions;
  readonly body?: Body;
  readonly sink?: Sink;
  /** 404 is an answer, not a fault. */
  readonly mayBeAbsent?: boolean;
  answer?: { exchange: Exchange; text: string };
}

/**
 * The S3 calls of one run against one target: one at a time, over one connection, without retries, each with its
 * phases. minio's client builds the requests; ours sign them, send them and read the answers.
 *
 * Every method throws {@link S3Error} and nothing else for what the store, the network or a signal did.
 */
export class TargetClient {
  readonly #target: RunTarget;
  readonly #endpoint: URL;
  readonly #clock: Clock;
  readonly #originMs: number;
  readonly #transport: Transport;
  readonly #signer: Signer;
  readonly #client: Client;
  /** The call under way: minio's seam for a transport has no room for it. */
  #pending: PendingCall | undefined;
  #wasConnected = false;

  /** @throws {ReasonedError} `SecretInvalid`, when `target.ca` holds no certificate. */
  constructor(target: RunTarget, deps: TargetClientDeps) {
    const { clock, keyring, version, originMs } = deps;
    const { signer, secureContext } = keyring.keysOf(target);
    this.#target = target;
    this.#endpoint = new URL(target.endpoint);
    this.#clock = clock;
    this.#originMs = originMs;
    this.#transport = new Transport({ ...deps, endpoint: this.#endpoint, secureContext });
    this.#signer = signer;
    this.#client = new Client({
      endPoint: hostOf(this.#endpoint),
      port: portOf(this.#endpoint),
      useSSL: this.#endpoint.protocol === 'https:',
      region: target.region,
      pathStyle: true,
      retryOptions: { disableRetry: true },
      // Without keys minio signs nothing: it would derive the signing key anew for each request.
      accessKey: '',
      secretKey: '',
      transport: { request: this.#request.bind(this) as unknown as typeof http.request },
    });
    this.#client.setAppInfo('storage-probe', version);
  }

  headBucket(bucket: string, options: CallOptions): Promise<Outcome<boolean>> {
    const pending: PendingCall = { operation: 'HeadBucket', options, mayBeAbsent: true };
    return this.#call(pending, async () => {
      await this.#client.bucketExists(bucket);
      return !isAbsent(pending);
    });
  }

  /** Needs the same rights as HEAD, more or less, and has a body to say in why it is refused. */
  getBucketLocation(bucket: string, options: CallOptions): Promise<Outcome<void>> {
    return this.#call({ operation: 'GetBucketLocation', options }, async () => {
      await this.#client.makeRequestAsync({ method: 'GET', bucketName: bucket, query: 'location' });
    });
  }

  createBucket(bucket: string, options: CallOptions): Promise<Outcome<void>> {
    const { region } = this.#target;
    return this.#call({ operation: 'CreateBucket', options }, () =>
      this.#client.makeBucket(bucket, region === DEFAULT_REGION ? '' : region),
    );
  }

  /** Fails with reason `BucketConflict` and code `BucketNotEmpty` when something is in it. */
  deleteBucket(bucket: string, options: CallOptions): Promise<Outcome<void>> {
    return this.#call({ operation: 'DeleteBucket', options }, () => this.#client.removeBucket(bucket));
  }

  putObject(bucket: string, key: string, body: Body, options: CallOptions): Promise<Outcome<ObjectVersion>> {
    const pending: PendingCall = { operation: 'PutObject', options, body };
    return this.#call(pending, async () => {
      // minio's putObject reads the whole body into memory, and splits a large one.
      const headers = { 'content-type': 'application/octet-stream' };
      const request = { method: 'PUT', bucketName: bucket, objectName: key, headers };
      await this.#client.makeRequestStreamAsync(request, '', '', [200], '');
      return versionOf(pending);
    });
  }

  /** The object's bytes go to `sink` as they come. */
  getObject(bucket: string, key: string, sink: Sink, options: CallOptions): Promise<Outcome<void>> {
    return this.#call({ operation: 'GetObject', options, sink }, async () => {
      await this.#client.getObject(bucket, key);
    });
  }

  /** @returns undefined when it is not there. */
  headObject(bucket: string, key: string, options: CallOptions): Promise<Outcome<ObjectVersion | undefined>> {
    const pending: PendingCall = { operation: 'HeadObject', options, mayBeAbsent: true };
    return this.#call(pending, async () => {
      await this.#client.statObject(bucket, key);
      return isAbsent(pending) ? undefined : versionOf(pending);
    });
  }

  /** Without a version, a bucket with versioning keeps the object behind a delete marker. */
  deleteObject(
    bucket: string,
    key: string,
    { id }: ObjectVersion,
    options: CallOptions,
  ): Promise<Outcome<void>> {
    return this.#call({ operation: 'DeleteObject', options }, () =>
      this.#client.removeObject(bucket, key, id === undefined ? {} : { versionId: id }),
    );
  }

  /** The keys under a prefix, one page: at most 100, from the one after `startAfter` on. */
  listKeys(
    bucket: string,
    prefix: string,
    { startAfter = '', ...options }: CallOptions & { readonly startAfter?: string },
  ): Promise<Outcome<string[]>> {
    const pending: PendingCall = { operation: 'ListObjectsV2', options };
    return this.#call(pending, async () => {
      const start = startAfter === '' ? '' : `&start-after=${encodeURIComponent(startAfter)}`;
      const query = `list-type=2&max-keys=100&prefix=${encodeURIComponent(prefix)}${start}`;
      await this.#client.makeRequestAsync({ method: 'GET', bucketName: bucket, query });
      return Array.from(pending.answer?.text.matchAll(/<Key>([^<]+)<\/Key>/g) ?? [], ([, key]) => key ?? '');
    });
  }

  /** Closes the connection. */
  close(): void {
    this.#transport.close();
  }

  async #call<T>(pending: PendingCall, start: () => Promise<T>): Promise<Outcome<T>> {
    this.#pending = pending;
    try {
      const value = await start();
      return { value, call: this.#resultOf(pending) };
    } finally {
      this.#pending = undefined;
    }
  }

  /** minio's seam: what it builds comes in, what it waits for goes out. */
  #request(built: BuiltRequest, onResponse: (response: http.IncomingMessage) => void): EventEmitter {
    const pending = this.#pending;
    if (pending === undefined) throw new Error('no call is under way');
    const outgoing = new OutgoingRequest((text) => {
      this.#exchange(pending, built, text).then(
        (exchange) => {
          onResponse(new ReadAnswer(built.method, exchange) as unknown as http.IncomingMessage);
        },
        (error: unknown) => outgoing.emit('error', error),
      );
    });
    return outgoing;
  }

  async #exchange(pending: PendingCall, built: BuiltRequest, text: string): Promise<Exchange> {
    const { options } = pending;
    const body = pending.body ?? textBody(text);
    const [path = '/', query = ''] = built.path.split('?', 2);
    const signedAtMs = this.#clock.now();
    const { host = '' } = built.headers;
    const payloadSha256 = body?.sha256 ?? EMPTY_SHA256;
    const signature = this.#signer.sign(
      { method: built.method, host, path, query, payloadSha256 },
      signedAtMs,
    );
    const headers = { ...built.headers, ...signature };
    if (options.traceparent !== undefined) headers['traceparent'] = options.traceparent;

    const excerpt = new TextSink(MAX_TEXT_BYTES);
    const request = {
      method: built.method,
      path: built.path,
      headers,
      body,
      sinkFor: (status: number) => (status < 300 && pending.sink !== undefined ? pending.sink : excerpt),
    };
    const exchange = await this.#send(pending, request);
    this.#wasConnected = true;
    this.#redactHeaders(exchange);
    pending.answer = { exchange, text: this.#redacted(excerpt.text()) };
    const { status = 0 } = exchange;
    const isExpected = status < 300 || (status === NOT_FOUND && pending.mayBeAbsent === true);
    if (isExpected && !isForeign(exchange)) return exchange;

    const fault = answerFault({ ...pending.answer, signedAtMs });
    throw this.#error(pending, exchange, fault);
  }

  async #send(pending: PendingCall, request: Parameters<Transport['send']>[0]): Promise<Exchange> {
    try {
      return await this.#transport.send(request, pending.options.signal);
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      this.#redactHeaders(error.exchange);
      const { signal } = pending.options;
      const stopped = error.cause === signal.reason && !isTimeout(error.cause);
      const fault: Fault = stopped
        ? { reason: 'Cancelled', message: 'stopped before an answer came' }
        : networkFault(error, this.#endpoint, this.#wasConnected);
      throw this.#error(pending, error.exchange, fault, error.cause);
    }
  }

  #error(pending: PendingCall, exchange: Exchange, fault: Fault, cause?: unknown): S3Error {
    const message = `${pending.operation}: ${fault.message}`;
    return new S3Error({ ...fault, message }, this.#describe(pending, exchange), cause);
  }

  #resultOf(pending: PendingCall): CallResult {
    if (pending.answer === undefined) throw new Error(`${pending.operation} made no request`);
    return this.#describe(pending, pending.answer.exchange);
  }

  #describe({ operation }: PendingCall, exchange: Exchange): CallResult {
    const { startMs, endMs, headers: _, ...seen } = exchange;
    const call: CallResult = {
      operation,
      startOffsetMs: startMs - this.#originMs,
      durationMs: endMs - startMs,
      ...seen,
    };
    const requestId = header(exchange, 'x-amz-request-id');
    const hostId = header(exchange, 'x-amz-id-2');
    const server = header(exchange, 'server');
    if (requestId !== undefined) call.requestId = oneLine(requestId);
    if (hostId !== undefined) call.hostId = oneLine(hostId);
    if (server !== undefined) call.server = oneLine(server);
    return call;
  }

  #redactHeaders({ headers }: Exchange): void {
    if (this.#target.credentials.sessionToken === undefined) return;
    for (const [name, value] of Object.entries(headers)) {
      headers[name] = Array.isArray(value)
        ? value.map((each) => this.#redacted(each))
        : this.#redacted(value ?? '');
    }
  }

  /** A session token goes out with each request, and what answers may echo it. */
  #redacted(text: string): string {
    const { sessionToken } = this.#target.credentials;
    return sessionToken === undefined ? text : text.replaceAll(sessionToken, '[redacted]');
  }
}

/** What minio passes to `http.request`. */
interface BuiltRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** What minio does with an `http.ClientRequest`: it listens for `error`, and ends it with the body. */
class OutgoingRequest extends EventEmitter {
  readonly #send: (text: string) => void;

  constructor(send: (text: string) => void) {
    super();
    this.#send = send;
  }

  end(text: string): void {
    this.#send(text);
  }
}

/** What minio does with an answer: it looks at status and headers, and drains a body that is read already. */
class ReadAnswer extends EventEmitter {
  readonly statusCode: number;
  readonly headers: http.IncomingHttpHeaders;

  constructor(method: string, { headers }: Exchange) {
    super();
    // It is as it should be, or minio would not get it: any other 2xx, or an absence that was asked for, is no error.
    this.statusCode = method === 'DELETE' ? 204 : 200;
    this.headers = headers;
  }

  override on(event: string, listener: () => void): this {
    if (event === 'end') queueMicrotask(listener);
    return this;
  }
}

function textBody(text: string): Body | undefined {
  if (text === '') return undefined;
  const bytes = Buffer.from(text);
  return { sizeBytes: bytes.length, sha256: sha256Hex(bytes), chunks: () => [bytes] };
}

function isAbsent({ answer }: PendingCall): boolean {
  return answer?.exchange.status === NOT_FOUND;
}

function versionOf({ answer }: PendingCall): ObjectVersion {
  const id = answer && header(answer.exchange, 'x-amz-version-id');
  return { id: id === 'null' ? undefined : id };
}
