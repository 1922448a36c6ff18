import { oneLine } from '../api/one-line.ts';
import { type Reason, ReasonedError } from '../api/reasons.ts';
import type { RunRequest } from '../api/run.ts';
import { S3Error } from '../s3/s3-error.ts';
import { type CallOptions, S3Client } from '../s3/s3-client.ts';
import { ephemeralBucket, isOwnKey, keyPrefix } from './names.ts';
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
 * Removes leftovers of a probe's earlier runs from a target: the objects of all runs and, in mode `Ephemeral`, the
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
  #ownBucketExists = false;

  constructor(request: CleanUpRequest, signal: AbortSignal) {
    this.#request = request;
    this.#bucket = request.bucket.mode === 'Existing' ? request.bucket.name : ephemeralBucket(request);
    this.#options = { signal };
  }

  async run(deps: CleanUpDeps): Promise<void> {
    const { target, bucket } = this.#request;
    let client: S3Client | undefined;
    try {
      client = new S3Client(target, this.#bucket, { ...deps, originMs: deps.clock.monotonicMs() });
      await this.#removeObjects(client);
      if (bucket.mode === 'Existing') return;
      await client.deleteBucket(this.#options);
      this.result.removed.push(this.#bucket);
    } catch (error) {
      if (isBucketMissing(error)) return;
      this.#recordFailure(error, this.#ownBucketExists ? this.#bucket : undefined);
    } finally {
      client?.close();
    }
  }

  async #removeObjects(client: S3Client): Promise<void> {
    const prefix = keyPrefix(this.#request);
    let startAfter = '';
    do {
      const options = { ...this.#options, startAfter };
      const { value: keys } = await client.listKeys(prefix, options);
      this.#ownBucketExists = this.#request.bucket.mode === 'Ephemeral';
      // Some stores ignore the prefix and `start-after` of a listing.
      const next = keys.filter((key) => key > startAfter);
      for (const key of next) if (isOwnKey(this.#request, key)) await this.#removeObject(client, key);
      startAfter = next.at(-1) ?? '';
    } while (startAfter !== '');
  }

  /** Records a failure instead of throwing, so that the other objects are still removed. */
  async #removeObject(client: S3Client, key: string): Promise<void> {
    try {
      const { value: version } = await client.headObject(key, this.#options);
      if (version === undefined) return;
      await client.deleteObject(key, version, this.#options);
      this.result.removed.push(`${this.#bucket}/${key}`);
    } catch (error) {
      this.#recordFailure(error, `${this.#bucket}/${key}`);
    }
  }

  #recordFailure(error: unknown, leftover?: string): void {
    if (leftover !== undefined) this.result.leftBehind.push(leftover);
    this.result.error ??=
      error instanceof ReasonedError
        ? { reason: error.reason, message: error.message }
        : { reason: 'ProberError', message: oneLine(String(error)) };
  }
}

function isBucketMissing(error: unknown): boolean {
  return error instanceof S3Error && error.reason === 'BucketMissing';
}
