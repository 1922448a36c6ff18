import { EventEmitter } from 'node:events';
import type http from 'node:http';

import { Client } from 'minio';

import { oneLine } from '../api/one-line.ts';
import type { CallResult, RunTarget } from '../api/run.ts';
import type { Clock } from '../clock/clock.ts';
import type { AddressPolicy, Resolve } from './address-policy.ts';
import { type Body, type Sink, TextSink } from './body.ts';
import { isTimeout, networkFault } from './network-faults.ts';
import { isNotS3, responseFault } from './response-faults.ts';
import { type Fault, S3Error } from './s3-error.ts';
import { EMPTY_SHA256, sha256Hex, type Signer } from './signer.ts';
import type { TargetKeyring } from './target-keys.ts';
import { type Exchange, header, hostOf, portOf, Transport, TransportError } from './transport.ts';

/** Longest response text that is kept. S3 errors and listings are far shorter. */
const MAX_TEXT_BYTES = 64 * 1_024;

const NOT_FOUND = 404;

/** Region of a bucket that is created without one. */
const DEFAULT_REGION = 'us-east-1';

export interface CallOptions {
  readonly signal: AbortSignal;
  /** W3C trace context of the call's span. Sent as an unsigned header. */
  readonly traceparent?: string;
}

export interface TargetClientDeps {
  readonly clock: Clock;
  readonly keyring: TargetKeyring;
  /** Version of storage-probe, sent in the `user-agent` header. */
  readonly version: string;
  /** Addresses that the client may connect to. Default: any. */
  readonly addressPolicy?: AddressPolicy | undefined;
  /** Resolves host names if there is an address policy. Default: the system's resolver. */
  readonly resolve?: Resolve | undefined;
  /** Start of the run, to which the offsets of calls are relative. Monotonic ms. */
  readonly originMs: number;
}

/** The value that a call returned and the record of the call. */
export interface Outcome<T> {
  readonly value: T;
  readonly call: CallResult;
}

export interface ObjectVersion {
  /** Undefined if the bucket has no versioning. */
  readonly id: string | undefined;
}

interface PendingCall {
  readonly operation: string;
  readonly options: CallOptions;
  readonly body?: Body;
  readonly sink?: Sink;
  /** If true, a 404 is a valid result rather than a fault. */
  readonly acceptsNotFound?: boolean;
  response?: { exchange: Exchange; text: string };
}

/**
 * Makes the S3 calls of one run against one target: one at a time, over one connection, without retries. The phases of
 * each call are measured. The minio client only builds the requests. This class signs and sends them and reads the
 * responses.
 *
 * Every failure caused by the store, the network or a signal is thrown as an {@link S3Error}.
 */
export class TargetClient {
  readonly #target: RunTarget;
  readonly #endpoint: URL;
  readonly #clock: Clock;
  readonly #originMs: number;
  readonly #transport: Transport;
  readonly #signer: Signer;
  readonly #client: Client;
  /** The call in progress, kept here because minio's transport interface cannot pass it on. */
  #pending: PendingCall | undefined;
  #hasResponded = false;

  /** @throws {ReasonedError} `SecretInvalid` if `target.ca` contains no certificate or one that cannot be parsed. */
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
      // Without keys, minio does not sign requests. Its signer would derive the signing key for each request.
      accessKey: '',
      secretKey: '',
      transport: { request: this.#request.bind(this) as unknown as typeof http.request },
    });
    this.#client.setAppInfo('storage-probe', version);
  }

  headBucket(bucket: string, options: CallOptions): Promise<Outcome<boolean>> {
    const pending: PendingCall = { operation: 'HeadBucket', options, acceptsNotFound: true };
    return this.#call(pending, async () => {
      await this.#client.bucketExists(bucket);
      return !isNotFound(pending);
    });
  }

  /** Needs nearly the same permissions as {@link headBucket}, but an error response has a body with the error code. */
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

  /** @throws {S3Error} with code `BucketNotEmpty` if the bucket contains objects. */
  deleteBucket(bucket: string, options: CallOptions): Promise<Outcome<void>> {
    return this.#call({ operation: 'DeleteBucket', options }, () => this.#client.removeBucket(bucket));
  }

  putObject(bucket: string, key: string, body: Body, options: CallOptions): Promise<Outcome<ObjectVersion>> {
    const pending: PendingCall = { operation: 'PutObject', options, body };
    return this.#call(pending, async () => {
      // minio's putObject reads the whole body into memory and splits a large one into parts.
      const headers = { 'content-type': 'application/octet-stream' };
      const request = { method: 'PUT', bucketName: bucket, objectName: key, headers };
      await this.#client.makeRequestStreamAsync(request, '', '', [200], '');
      return versionOf(pending);
    });
  }

  /** Passes the object's bytes to `sink` as they arrive. */
  getObject(bucket: string, key: string, sink: Sink, options: CallOptions): Promise<Outcome<void>> {
    return this.#call({ operation: 'GetObject', options, sink }, async () => {
      await this.#client.getObject(bucket, key);
    });
  }

  /** @returns undefined if the object does not exist. */
  headObject(bucket: string, key: string, options: CallOptions): Promise<Outcome<ObjectVersion | undefined>> {
    const pending: PendingCall = { operation: 'HeadObject', options, acceptsNotFound: true };
    return this.#call(pending, async () => {
      await this.#client.statObject(bucket, key);
      return isNotFound(pending) ? undefined : versionOf(pending);
    });
  }

  /** If no version is given, a bucket with versioning keeps the object and only adds a delete marker. */
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

  /** Returns one page of at most 100 keys under a prefix, starting after `startAfter`. */
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
      return Array.from(
        pending.response?.text.matchAll(/<Key>([^<]+)<\/Key>/g) ?? [],
        ([, key]) => key ?? '',
      );
    });
  }

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

  /** Stands in for `http.request`: sends the request that minio built and passes the response back to minio. */
  #request(built: BuiltRequest, onResponse: (response: http.IncomingMessage) => void): EventEmitter {
    const pending = this.#pending;
    if (pending === undefined) throw new Error('no call in progress');
    const outgoing = new OutgoingRequest((text) => {
      this.#exchange(pending, built, text).then(
        (exchange) => {
          onResponse(new ConsumedResponse(built.method, exchange) as unknown as http.IncomingMessage);
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
    this.#hasResponded = true;
    this.#redactHeaders(exchange);
    pending.response = { exchange, text: this.#redacted(excerpt.text()) };
    const { status = 0 } = exchange;
    const isExpected = status < 300 || (status === NOT_FOUND && pending.acceptsNotFound === true);
    if (isExpected && !isNotS3(exchange)) return exchange;

    const fault = responseFault({ ...pending.response, signedAtMs });
    throw this.#error(pending, exchange, fault);
  }

  async #send(pending: PendingCall, request: Parameters<Transport['send']>[0]): Promise<Exchange> {
    try {
      return await this.#transport.send(request, pending.options.signal);
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      this.#redactHeaders(error.exchange);
      const { signal } = pending.options;
      const isCancelled = error.cause === signal.reason && !isTimeout(error.cause);
      const fault: Fault = isCancelled
        ? { reason: 'Cancelled', message: 'cancelled before the response was complete' }
        : networkFault(error, this.#endpoint, this.#hasResponded);
      throw this.#error(pending, error.exchange, fault, error.cause);
    }
  }

  #error(pending: PendingCall, exchange: Exchange, fault: Fault, cause?: unknown): S3Error {
    const message = `${pending.operation}: ${fault.message}`;
    return new S3Error({ ...fault, message }, this.#callResult(pending, exchange), cause);
  }

  #resultOf(pending: PendingCall): CallResult {
    if (pending.response === undefined) throw new Error(`${pending.operation} sent no request`);
    return this.#callResult(pending, pending.response.exchange);
  }

  #callResult({ operation }: PendingCall, exchange: Exchange): CallResult {
    const { startMs, endMs, headers: _, ...measured } = exchange;
    const call: CallResult = {
      operation,
      startOffsetMs: startMs - this.#originMs,
      durationMs: endMs - startMs,
      ...measured,
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

  /** Each request contains the session token, and a response could echo it. */
  #redacted(text: string): string {
    const { sessionToken } = this.#target.credentials;
    return sessionToken === undefined ? text : text.replaceAll(sessionToken, '[redacted]');
  }
}

/** The request options from minio that this client reads. */
interface BuiltRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** The part of `http.ClientRequest` that minio uses: it listens for `error` and calls `end` with the body. */
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

/** The part of `http.IncomingMessage` that minio uses. The body has been read already, so `end` fires at once. */
class ConsumedResponse extends EventEmitter {
  readonly statusCode: number;
  readonly headers: http.IncomingHttpHeaders;

  constructor(method: string, { headers }: Exchange) {
    super();
    // Only accepted responses get here, but minio itself would reject a 404 or an unusual 2xx status.
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

function isNotFound({ response }: PendingCall): boolean {
  return response?.exchange.status === NOT_FOUND;
}

function versionOf({ response }: PendingCall): ObjectVersion {
  const id = response && header(response.exchange, 'x-amz-version-id');
  return { id: id === 'null' ? undefined : id };
}
