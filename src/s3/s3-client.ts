import { oneLine } from '../api/one-line.ts';
import type { CallResult, Encryption, RunTarget } from '../api/run.ts';
import type { Clock } from '../clock/clock.ts';
import {
  type Answer,
  answeredBy,
  type EndpointHistory,
  failedBy,
  hasRequestId,
  isHtml,
  NO_HISTORY,
  type Response,
} from './answered-by.ts';
import { type Body, type ObjectBody, type Sink, Tee, TextSink } from './body.ts';
import { type BucketAddress, bucketAddress, encodeSegment, pathOf } from './endpoint.ts';
import { isTimeout } from './is-timeout.ts';
import {
  type ListedUpload,
  type ListedVersion,
  MAX_LISTING_BYTES,
  objectsQuery,
  type Page,
  type PageMarker,
  parseObjects,
  parseUploads,
  parseVersions,
  uploadsQuery,
  versionsQuery,
} from './listings.ts';
import { networkFault } from './network-faults.ts';
import { type OperationName, OPERATIONS } from './operations.ts';
import type { Redactor } from './redactor.ts';
import { foreignDetail, responseFault } from './response-faults.ts';
import { type Fault, S3Error } from './s3-error.ts';
import { EMPTY_SHA256, sha256Hex, type Signer } from './signer.ts';
import { createTargetTransport, type TargetTransportDeps } from './target-transport.ts';
import { type Exchange, header, type HttpRequest, type Transport, TransportError } from './transport.ts';

/** Longest response text that is kept, except for listings. S3 errors are far shorter. */
const MAX_TEXT_BYTES = 64 * 1_024;

/** Start of an object's content that is kept to describe a response that did not come from an S3 store. */
const MAX_CONTENT_EXCERPT_BYTES = 4 * 1_024;

const NOT_FOUND = 404;

/** Region of a bucket that is created without one. */
const DEFAULT_REGION = 'us-east-1';

export interface CallOptions {
  readonly signal: AbortSignal;
  /** W3C trace context of the call's span. Sent as an unsigned header. */
  readonly traceparent?: string;
}

export interface S3ClientDeps extends TargetTransportDeps {
  /** Version of storage-probe, sent in the `user-agent` header. */
  readonly version: string;
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

export interface Deletion {
  /** True if the store may have kept the object and only added a delete marker. */
  readonly addedMarker: boolean;
}

/** Who sent the content of an object. */
export interface ContentSource {
  /** True if the content came from a store that proved to be S3. */
  readonly isStore: boolean;
  /** The fault to report if the content is wrong and did not come from an S3 store. */
  readonly fault: () => Pick<Fault, 'reason' | 'message'>;
}

interface Call {
  readonly operation: OperationName;
  readonly options: CallOptions;
  readonly key?: string;
  /** Percent-encoded, without the `?`. */
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** `x-amz-` headers, which are signed. */
  readonly amzHeaders?: Readonly<Record<string, string>>;
  readonly body?: Body;
  readonly sink?: Sink;
  /** If true, a 404 is a valid result rather than a fault. */
  readonly acceptsNotFound?: boolean;
}

interface Completed {
  readonly exchange: Exchange;
  readonly text: string;
  readonly answer: Answer;
}

/**
 * Makes the S3 calls of one run against one bucket of one target: one at a time, over one connection, without retries.
 * The phases of each call are measured.
 *
 * Every failure caused by the store, the network or a signal is thrown as an {@link S3Error}.
 */
export class S3Client {
  readonly #target: RunTarget;
  readonly #bucket: string;
  readonly #address: BucketAddress;
  readonly #clock: Clock;
  readonly #originMs: number;
  readonly #userAgent: string;
  readonly #transport: Transport;
  readonly #signer: Signer;
  readonly #redactor: Redactor;
  #history: EndpointHistory = NO_HISTORY;

  /**
   * @throws {ReasonedError} `SecretInvalid` if the CA bundle contains no certificate or one that cannot be parsed;
   *   `AddressingStyle` if the endpoint does not permit the target's addressing style.
   */
  constructor(target: RunTarget, bucket: string, deps: S3ClientDeps) {
    const { clock, keyring, version, originMs } = deps;
    const { signer, redactor } = keyring.keysOf(target);
    this.#target = target;
    this.#bucket = bucket;
    this.#address = bucketAddress(target.endpoint, bucket, target.addressing);
    this.#clock = clock;
    this.#originMs = originMs;
    this.#userAgent = `storage-probe/${version}`;
    this.#transport = createTargetTransport(target, this.#address.connection, deps);
    this.#signer = signer;
    this.#redactor = redactor;
  }

  /** True once a response has proved that the endpoint is an S3 store. */
  get provedS3(): boolean {
    return this.#history.provedS3;
  }

  /** Called when the content of an object has proved that the endpoint is an S3 store. */
  confirmS3(): void {
    if (!this.#history.provedS3) this.#history = { ...this.#history, provedS3: true };
  }

  /** @returns false if the bucket does not exist. */
  async headBucket(options: CallOptions): Promise<Outcome<boolean>> {
    const { exchange, call } = await this.#call({ operation: 'HeadBucket', options, acceptsNotFound: true });
    return { value: exchange.status !== NOT_FOUND, call };
  }

  /** Needs nearly the same permissions as {@link headBucket}, but an error response has a body with the error code. */
  async getBucketLocation(options: CallOptions): Promise<Outcome<void>> {
    const { call } = await this.#call({ operation: 'GetBucketLocation', query: 'location', options });
    return { value: undefined, call };
  }

  async createBucket(options: CallOptions): Promise<Outcome<void>> {
    const body = bucketConfiguration(this.#target.region);
    const { call } = await this.#call({ operation: 'CreateBucket', options, ...(body && { body }) });
    return { value: undefined, call };
  }

  /** @throws {S3Error} with code `BucketNotEmpty` if the bucket contains objects. */
  async deleteBucket(options: CallOptions): Promise<Outcome<void>> {
    const { call } = await this.#call({ operation: 'DeleteBucket', options });
    return { value: undefined, call };
  }

  async putObject(key: string, body: ObjectBody, options: CallOptions): Promise<Outcome<ObjectVersion>> {
    const { exchange, call } = await this.#call({
      operation: 'PutObject',
      key,
      body,
      options,
      // Buckets with default retention require a checksum, and Content-MD5 is the one that all stores know.
      headers: { 'content-type': 'application/octet-stream', 'content-md5': body.md5 },
      ...(this.#target.encryption && { amzHeaders: encryptionHeaders(this.#target.encryption) }),
    });
    return { value: versionOf(exchange), call };
  }

  /** Passes the object's bytes to `sink` as they arrive. */
  async getObject(key: string, sink: Sink, options: CallOptions): Promise<Outcome<ContentSource>> {
    const { exchange, text, answer, call } = await this.#call({ operation: 'GetObject', key, sink, options });
    return { value: this.#contentSource(exchange, text, answer), call };
  }

  /** @returns undefined if the object does not exist. */
  async headObject(key: string, options: CallOptions): Promise<Outcome<ObjectVersion | undefined>> {
    const { exchange, call } = await this.#call({
      operation: 'HeadObject',
      key,
      options,
      acceptsNotFound: true,
    });
    return { value: exchange.status === NOT_FOUND ? undefined : versionOf(exchange), call };
  }

  /** If no version is given, a bucket with versioning keeps the object and only adds a delete marker. */
  async deleteObject(key: string, { id }: ObjectVersion, options: CallOptions): Promise<Outcome<Deletion>> {
    const query = id === undefined ? '' : `versionId=${encodeSegment(id)}`;
    const { exchange, call } = await this.#call({ operation: 'DeleteObject', key, query, options });
    const addedMarker = id === undefined && header(exchange, 'x-amz-delete-marker') === 'true';
    return { value: { addedMarker }, call };
  }

  /** @returns the keys of a page, or undefined if the response is not a listing. */
  async listObjects(
    prefix: string,
    marker: PageMarker | undefined,
    options: CallOptions,
  ): Promise<Outcome<Page<string> | undefined>> {
    const query = objectsQuery(prefix, marker);
    const { text, call } = await this.#list({ operation: 'ListObjectsV2', query, options });
    return { value: await parseObjects(text), call };
  }

  /** @returns the versions and delete markers of a page, or undefined if the response is not a listing of versions. */
  async listVersions(
    prefix: string,
    marker: PageMarker | undefined,
    options: CallOptions,
  ): Promise<Outcome<Page<ListedVersion> | undefined>> {
    const query = versionsQuery(prefix, marker);
    const { text, call } = await this.#list({ operation: 'ListObjectVersions', query, options });
    return { value: await parseVersions(text), call };
  }

  /** @returns the unfinished uploads of a page, or undefined if the response is not a listing of uploads. */
  async listUploads(
    prefix: string,
    marker: PageMarker | undefined,
    options: CallOptions,
  ): Promise<Outcome<Page<ListedUpload> | undefined>> {
    const query = uploadsQuery(prefix, marker);
    const { text, call } = await this.#list({ operation: 'ListMultipartUploads', query, options });
    return { value: await parseUploads(text), call };
  }

  async abortUpload({ key, uploadId }: ListedUpload, options: CallOptions): Promise<Outcome<void>> {
    const query = `uploadId=${encodeSegment(uploadId)}`;
    const { call } = await this.#call({ operation: 'AbortMultipartUpload', key, query, options });
    return { value: undefined, call };
  }

  close(): void {
    this.#transport.close();
  }

  #list(call: Call): Promise<Completed & { readonly call: CallResult }> {
    return this.#call(call, MAX_LISTING_BYTES);
  }

  async #call(call: Call, maxTextBytes = MAX_TEXT_BYTES): Promise<Completed & { readonly call: CallResult }> {
    const signedAtMs = this.#clock.now();
    const excerpt = new TextSink(maxTextBytes);
    const exchange = await this.#send(call, this.#httpRequest(call, signedAtMs, excerpt));
    const { method, isObject } = OPERATIONS[call.operation];
    const { status = 0 } = exchange;
    const text = excerpt.text();
    // The content of an object proves nothing, even if it looks like a document of S3.
    const isContent = call.sink !== undefined && status < 300;
    const response: Response = { method, isObject, exchange, text: isContent ? '' : text };
    const answer = answeredBy(response, this.#history);
    this.#learnFrom(exchange, answer);

    const isExpected = status < 300 || (status === NOT_FOUND && call.acceptsNotFound === true);
    if (isExpected && answer.by === 'S3 store') {
      return { exchange, text, answer, call: this.#callResult(call, exchange) };
    }
    const { operation } = call;
    const { hostHeader: host } = this.#address;
    const failed = { ...response, text, operation, signedAtMs, host, bucket: this.#bucket };
    throw this.#error(call, exchange, responseFault(failed, answer.by));
  }

  #httpRequest(call: Call, signedAtMs: number, excerpt: TextSink): HttpRequest {
    const { operation, key, query = '', body, sink, options, amzHeaders } = call;
    const { method } = OPERATIONS[operation];
    const { hostHeader: host } = this.#address;
    const path = pathOf(this.#address, key);
    const payloadSha256 = body?.sha256 ?? EMPTY_SHA256;
    const signature = this.#signer.sign({ method, host, path, query, payloadSha256, amzHeaders }, signedAtMs);
    const headers: Record<string, string> = {
      host,
      'user-agent': this.#userAgent,
      ...call.headers,
      ...signature,
    };
    if (options.traceparent !== undefined) headers['traceparent'] = options.traceparent;
    return {
      method,
      path: query === '' ? path : `${path}?${query}`,
      headers,
      body,
      sinkFor: (status) => {
        if (sink === undefined || status >= 300) return excerpt;
        return new Tee(sink, excerpt, MAX_CONTENT_EXCERPT_BYTES);
      },
    };
  }

  async #send(call: Call, request: HttpRequest): Promise<Exchange> {
    const { signal } = call.options;
    try {
      return await this.#transport.send(request, signal);
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      const isCancelled = error.cause === signal.reason && !isTimeout(error.cause);
      const fault: Fault = isCancelled
        ? { reason: 'Cancelled', message: 'cancelled before the response was complete', by: 'nobody' }
        : networkFault(error, {
            host: this.#address.connection.host,
            hasResponded: this.#history.hasResponded,
            hasClientCertificate: this.#target.tls?.clientCertificate !== undefined,
            by: failedBy(error, this.#history),
          });
      throw this.#error(call, error.exchange, fault, error.cause);
    }
  }

  #learnFrom({ headers }: Exchange, { by, provesS3 }: Answer): void {
    const { provedS3, sendsRequestIds, hasResponded } = this.#history;
    const isFromStore = by === 'S3 store' && provesS3;
    const stillSendsIds = isFromStore
      ? (sendsRequestIds || !provedS3) && hasRequestId(headers)
      : sendsRequestIds;
    const isKnown = hasResponded && (provedS3 || !provesS3) && sendsRequestIds === stillSendsIds;
    if (isKnown) return;
    this.#history = {
      hasResponded: true,
      provedS3: provedS3 || provesS3,
      sendsRequestIds: stillSendsIds,
    };
  }

  #contentSource(exchange: Exchange, text: string, { provesS3 }: Answer): ContentSource {
    const { provedS3, sendsRequestIds } = this.#history;
    const isStore = provesS3 || (provedS3 && !sendsRequestIds && !isHtml(exchange));
    const reason = provedS3 ? 'ProxyRefused' : 'NotS3';
    return {
      isStore,
      fault: () => ({
        reason,
        message: this.#redactor.redact(`GetObject: ${exchange.status} ${foreignDetail(exchange, text)}`),
      }),
    };
  }

  #error(call: Call, exchange: Exchange, fault: Fault, cause?: unknown): S3Error {
    const message = this.#redactor.redact(`${call.operation}: ${fault.message}`);
    const code = fault.code === undefined ? undefined : this.#redactor.redact(fault.code);
    return new S3Error({ ...fault, message, code }, this.#callResult(call, exchange), cause);
  }

  #callResult({ operation }: Call, exchange: Exchange): CallResult {
    const { startMs, endMs, headers: _, clientCertificateRequested: __, ...measured } = exchange;
    const result: CallResult = {
      operation,
      startOffsetMs: startMs - this.#originMs,
      durationMs: endMs - startMs,
      ...measured,
    };
    const requestId = this.#printableHeader(exchange, 'x-amz-request-id');
    const hostId = this.#printableHeader(exchange, 'x-amz-id-2');
    const server = this.#printableHeader(exchange, 'server');
    if (requestId !== undefined) result.requestId = requestId;
    if (hostId !== undefined) result.hostId = hostId;
    if (server !== undefined) result.server = server;
    return result;
  }

  #printableHeader(exchange: Exchange, name: string): string | undefined {
    const value = header(exchange, name);
    return value === undefined ? undefined : oneLine(this.#redactor.redact(value));
  }
}

/** Request body of CreateBucket. The default region is expressed by an empty body. */
function bucketConfiguration(region: string): Body | undefined {
  if (region === DEFAULT_REGION || region === '') return undefined;
  const text = `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>${escapeXml(region)}</LocationConstraint></CreateBucketConfiguration>`;
  const bytes = Buffer.from(text);
  return { sizeBytes: bytes.length, sha256: sha256Hex(bytes), chunks: () => [bytes] };
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function encryptionHeaders(encryption: Encryption): Record<string, string> {
  const headers: Record<string, string> = { 'x-amz-server-side-encryption': encryption.algorithm };
  if (encryption.algorithm === 'aws:kms' && encryption.kmsKeyId !== undefined) {
    headers['x-amz-server-side-encryption-aws-kms-key-id'] = encryption.kmsKeyId;
  }
  return headers;
}

function versionOf(exchange: Exchange): ObjectVersion {
  const id = header(exchange, 'x-amz-version-id');
  return { id: id === 'null' ? undefined : id };
}
