import type { Span } from '@opentelemetry/api';

import type { CallResult } from '../api/run.ts';
import type { Body, Sink } from '../s3/body.ts';
import { S3Error } from '../s3/s3-error.ts';
import type { CallOptions, ObjectVersion, Outcome, TargetClient } from '../s3/target-client.ts';
import { describeCall, traceparent } from './spans.ts';

export interface TracedStoreOptions {
  readonly bucket: string;
  readonly endpoint: URL;
  readonly signal: AbortSignal;
  readonly client: () => TargetClient;
  /** Starts the span of one call at the current time. */
  readonly startSpan: () => Span;
  /** Ends the span of one call at the current time. */
  readonly endSpan: (span: Span, call: CallResult | undefined) => void;
  /** List to which each call's record is added, including that of a failed call. */
  readonly calls: CallResult[];
}

/** Makes the S3 calls of one step. Records each as a CLIENT span under the step's span and in the step's result. */
export class TracedStore {
  readonly #options: TracedStoreOptions;

  constructor(options: TracedStoreOptions) {
    this.#options = options;
  }

  headBucket(): Promise<boolean> {
    return this.#call((client, bucket, options) => client.headBucket(bucket, options));
  }

  getBucketLocation(): Promise<void> {
    return this.#call((client, bucket, options) => client.getBucketLocation(bucket, options));
  }

  createBucket(): Promise<void> {
    return this.#call((client, bucket, options) => client.createBucket(bucket, options));
  }

  deleteBucket(): Promise<void> {
    return this.#call((client, bucket, options) => client.deleteBucket(bucket, options));
  }

  listKeys(prefix: string): Promise<string[]> {
    return this.#call((client, bucket, options) => client.listKeys(bucket, prefix, options));
  }

  putObject(key: string, body: Body): Promise<ObjectVersion> {
    return this.#call((client, bucket, options) => client.putObject(bucket, key, body, options), key);
  }

  getObject(key: string, sink: Sink): Promise<void> {
    return this.#call((client, bucket, options) => client.getObject(bucket, key, sink, options), key);
  }

  /** @returns undefined if the object does not exist. */
  headObject(key: string): Promise<ObjectVersion | undefined> {
    return this.#call((client, bucket, options) => client.headObject(bucket, key, options), key);
  }

  deleteObject(key: string, version: ObjectVersion): Promise<void> {
    return this.#call((client, bucket, options) => client.deleteObject(bucket, key, version, options), key);
  }

  async #call<T>(
    send: (client: TargetClient, bucket: string, options: CallOptions) => Promise<Outcome<T>>,
    key?: string,
  ): Promise<T> {
    const { bucket, endpoint, signal, client, startSpan, endSpan, calls } = this.#options;
    signal.throwIfAborted();
    const targetClient = client();
    const span = startSpan();
    let call: CallResult | undefined;
    try {
      const outcome = await send(targetClient, bucket, { signal, traceparent: traceparent(span) });
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
