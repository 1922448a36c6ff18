import type { Span } from '@opentelemetry/api';

import type { CallResult } from '../api/run.ts';
import type { ObjectBody, Sink } from '../s3/body.ts';
import type { ListedUpload, ListedVersion, Page, PageMarker } from '../s3/listings.ts';
import type {
  CallOptions,
  ContentSource,
  Deletion,
  ObjectVersion,
  Outcome,
  S3Client,
} from '../s3/s3-client.ts';
import { S3Error } from '../s3/s3-error.ts';
import type { LeftoverStore } from './leftovers.ts';
import { describeCall, traceparent } from './spans.ts';

export interface TracedStoreOptions {
  readonly bucket: string;
  readonly endpoint: URL;
  readonly signal: AbortSignal;
  readonly client: () => S3Client;
  /** Starts the span of one call at the current time. */
  readonly startSpan: () => Span;
  /** Ends the span of one call at the current time. */
  readonly endSpan: (span: Span, call: CallResult | undefined) => void;
  /** List to which each call's record is added, including that of a failed call. */
  readonly calls: CallResult[];
}

/** Makes the S3 calls of one step. Records each as a CLIENT span under the step's span and in the step's result. */
export class TracedStore implements LeftoverStore {
  readonly #options: TracedStoreOptions;

  constructor(options: TracedStoreOptions) {
    this.#options = options;
  }

  /** True once a response has proved that the endpoint is an S3 store. */
  get provedS3(): boolean {
    return this.#options.client().provedS3;
  }

  /** Called when the content of an object has proved that the endpoint is an S3 store. */
  confirmS3(): void {
    this.#options.client().confirmS3();
  }

  headBucket(): Promise<boolean> {
    return this.#call((client, options) => client.headBucket(options));
  }

  getBucketLocation(): Promise<void> {
    return this.#call((client, options) => client.getBucketLocation(options));
  }

  createBucket(): Promise<void> {
    return this.#call((client, options) => client.createBucket(options));
  }

  deleteBucket(): Promise<void> {
    return this.#call((client, options) => client.deleteBucket(options));
  }

  listObjects(prefix: string, marker?: PageMarker): Promise<Page<string> | undefined> {
    return this.#call((client, options) => client.listObjects(prefix, marker, options));
  }

  listVersions(prefix: string, marker?: PageMarker): Promise<Page<ListedVersion> | undefined> {
    return this.#call((client, options) => client.listVersions(prefix, marker, options));
  }

  listUploads(prefix: string, marker?: PageMarker): Promise<Page<ListedUpload> | undefined> {
    return this.#call((client, options) => client.listUploads(prefix, marker, options));
  }

  abortUpload(upload: ListedUpload): Promise<void> {
    return this.#call((client, options) => client.abortUpload(upload, options), upload.key);
  }

  putObject(key: string, body: ObjectBody): Promise<ObjectVersion> {
    return this.#call((client, options) => client.putObject(key, body, options), key);
  }

  getObject(key: string, sink: Sink): Promise<ContentSource> {
    return this.#call((client, options) => client.getObject(key, sink, options), key);
  }

  /** @returns undefined if the object does not exist. */
  headObject(key: string): Promise<ObjectVersion | undefined> {
    return this.#call((client, options) => client.headObject(key, options), key);
  }

  deleteObject(key: string, version: ObjectVersion): Promise<Deletion> {
    return this.#call((client, options) => client.deleteObject(key, version, options), key);
  }

  async #call<T>(
    send: (client: S3Client, options: CallOptions) => Promise<Outcome<T>>,
    key?: string,
  ): Promise<T> {
    const { bucket, endpoint, signal, client, startSpan, endSpan, calls } = this.#options;
    signal.throwIfAborted();
    const s3 = client();
    const span = startSpan();
    let call: CallResult | undefined;
    try {
      const outcome = await send(s3, { signal, traceparent: traceparent(span) });
      call = outcome.call;
      return outcome.value;
    } catch (error) {
      if (error instanceof S3Error) call = error.call;
      throw error;
    } finally {
      if (call !== undefined) {
        calls.push(call);
        describeCall(span, { endpoint, bucket, key, call });
      }
      endSpan(span, call);
    }
  }
}
