import { oneLine } from '../api/one-line.ts';
import { type Reason, ReasonedError } from '../api/reasons.ts';
import type { RunRequest } from '../api/run.ts';
import { S3Error } from '../s3/s3-error.ts';
import { type CallOptions, S3Client } from '../s3/s3-client.ts';
import { LeftoverRemoval, type LeftoverStore, leftoversOf } from './leftovers.ts';
import { ephemeralBucket } from './names.ts';
import type { ProbeDeps } from './run-probe.ts';

export type CleanUpRequest = Pick<RunRequest, 'owner' | 'probe' | 'target' | 'bucket' | 'cleanUpTimeoutMs'>;
export type CleanUpDeps = Pick<ProbeDeps, 'clock' | 'keyring' | 'version' | 'addressPolicy' | 'resolver'>;

export interface CleanUpResult {
  /** Removed objects (`bucket/key`) and buckets (`bucket`), in the order of removal. */
  removed: string[];
  /** Objects and buckets that were found and may still exist. If there is an `error`, more may exist. */
  leftBehind: string[];
  /** First failure. */
  error?: { reason: Reason; message: string };
}

/**
 * Removes leftovers of a probe's earlier runs from a target: the objects and uploads of all runs and, in mode `Ephemeral`, the
 * bucket unless it contains other objects. Nothing is removed that the probe did not create. No run of the same probe
 * and target may be in progress, because its objects would be removed too.
 *
 * Stops after `request.cleanUpTimeoutMs` or when `signal` aborts. Creates no spans. Failures of the target, the network
 * or the request do not throw but are reported in the result.
 */
export async function cleanUpProbe(
  request: CleanUpRequest,
  deps: CleanUpDeps,
  signal: AbortSignal,
): Promise<CleanUpResult> {
  using deadline = deps.clock.deadline(request.cleanUpTimeoutMs, signal);
  const cleanUp = new CleanUp(request, deadline.signal);
  await cleanUp.run(deps);
  return cleanUp.result;
}

class CleanUp {
  readonly result: CleanUpResult = { removed: [], leftBehind: [] };
  readonly #request: CleanUpRequest;
  readonly #bucket: string;
  readonly #options: CallOptions;

  constructor(request: CleanUpRequest, signal: AbortSignal) {
    this.#request = request;
    this.#bucket = request.bucket.mode === 'Existing' ? request.bucket.name : ephemeralBucket(request);
    this.#options = { signal };
  }

  async run(deps: CleanUpDeps): Promise<void> {
    let client: S3Client | undefined;
    try {
      client = new S3Client(this.#request.target, this.#bucket, {
        ...deps,
        originMs: deps.clock.monotonicMs(),
      });
      await this.#removeFrom(client);
    } catch (error) {
      this.#recordFailure(error);
    } finally {
      client?.close();
    }
  }

  async #removeFrom(client: S3Client): Promise<void> {
    const { removed, leftBehind } = this.result;
    const isOwnBucket = this.#request.bucket.mode === 'Ephemeral';
    const removal = new LeftoverRemoval(storeOf(client, this.#options), leftoversOf(this.#request));
    let failure: unknown;
    try {
      await removal.run();
      if (isOwnBucket) await client.deleteBucket(this.#options);
    } catch (error) {
      failure = error;
    }
    removed.push(...removal.removed.map((key) => `${this.#bucket}/${key}`));
    leftBehind.push(...removal.leftBehind.map((key) => `${this.#bucket}/${key}`));
    if (removal.error !== undefined) this.#recordFailure(removal.error);
    if (isBucketMissing(failure)) return;
    if (failure !== undefined) this.#recordFailure(failure);
    if (isOwnBucket && failure === undefined) removed.push(this.#bucket);
    if (isOwnBucket && failure !== undefined && removal.hasListed) leftBehind.push(this.#bucket);
  }

  #recordFailure(error: unknown): void {
    this.result.error ??=
      error instanceof ReasonedError
        ? { reason: error.reason, message: error.message }
        : { reason: 'ProberError', message: oneLine(String(error)) };
  }
}

function storeOf(client: S3Client, options: CallOptions): LeftoverStore {
  return {
    listObjects: async (prefix, marker) => (await client.listObjects(prefix, marker, options)).value,
    listVersions: async (prefix, marker) => (await client.listVersions(prefix, marker, options)).value,
    listUploads: async (prefix, marker) => (await client.listUploads(prefix, marker, options)).value,
    headObject: async (key) => (await client.headObject(key, options)).value,
    deleteObject: async (key, version) => (await client.deleteObject(key, version, options)).value,
    abortUpload: async (upload) => (await client.abortUpload(upload, options)).value,
  };
}

function isBucketMissing(error: unknown): boolean {
  return error instanceof S3Error && error.reason === 'BucketMissing';
}
