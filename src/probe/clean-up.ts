import { oneLine } from '../api/one-line.ts';
import { type Reason, ReasonedError } from '../api/reasons.ts';
import type { RunRequest } from '../api/run.ts';
import { S3Error } from '../s3/s3-error.ts';
import { type CallOptions, TargetClient } from '../s3/target-client.ts';
import { ephemeralBucket, isOwnKey, keyPrefix } from './names.ts';
import type { ProbeDeps } from './run-probe.ts';

export type CleanUpRequest = Pick<RunRequest, 'owner' | 'probe' | 'target' | 'bucket' | 'cleanUpTimeoutMs'>;
export type CleanUpDeps = Pick<ProbeDeps, 'clock' | 'keyring' | 'version' | 'addressPolicy' | 'resolve'>;

export interface CleanUpResult {
  /** `bucket/key` and `bucket`, in the order in which they went. */
  removed: string[];
  /** What was found and may still be there, named alike. With an `error`, there may be more than was found. */
  leftBehind: string[];
  /** What went wrong first. */
  error?: { reason: Reason; message: string };
}

/**
 * Removes what earlier runs of a probe may have left at a target: their objects, whichever runs made them, and the
 * bucket of mode `Ephemeral` if nothing else is in it. Never anything that the probe did not make. No run of the same
 * probe and target may be under way: its objects would go too.
 *
 * Ends after `request.cleanUpTimeoutMs` or when `signal` aborts, and makes no trace. Never throws for what the target,
 * the network or the request did: the result says it.
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
  #ownBucketIsThere = false;

  constructor(request: CleanUpRequest, signal: AbortSignal) {
    this.#request = request;
    this.#bucket = request.bucket.mode === 'Existing' ? request.bucket.name : ephemeralBucket(request);
    this.#options = { signal };
  }

  async run(deps: CleanUpDeps): Promise<void> {
    const { target, bucket } = this.#request;
    let client: TargetClient | undefined;
    try {
      client = new TargetClient(target, { ...deps, originMs: deps.clock.monotonicMs() });
      await this.#removeObjects(client);
      if (bucket.mode === 'Existing') return;
      await client.deleteBucket(this.#bucket, this.#options);
      this.result.removed.push(this.#bucket);
    } catch (error) {
      if (isBucketMissing(error)) return;
      this.#fail(error, this.#ownBucketIsThere ? this.#bucket : undefined);
    } finally {
      client?.close();
    }
  }

  async #removeObjects(client: TargetClient): Promise<void> {
    const prefix = keyPrefix(this.#request);
    let startAfter = '';
    do {
      const options = { ...this.#options, startAfter };
      const { value: keys } = await client.listKeys(this.#bucket, prefix, options);
      this.#ownBucketIsThere = this.#request.bucket.mode === 'Ephemeral';
      // Some stores list more than they are asked for, and from the start each time.
      const next = keys.filter((key) => key > startAfter);
      for (const key of next) if (isOwnKey(this.#request, key)) await this.#removeObject(client, key);
      startAfter = next.at(-1) ?? '';
    } while (startAfter !== '');
  }

  /** One that the store keeps does not save the others. */
  async #removeObject(client: TargetClient, key: string): Promise<void> {
    try {
      const { value: version } = await client.headObject(this.#bucket, key, this.#options);
      if (version === undefined) return;
      await client.deleteObject(this.#bucket, key, version, this.#options);
      this.result.removed.push(`${this.#bucket}/${key}`);
    } catch (error) {
      this.#fail(error, `${this.#bucket}/${key}`);
    }
  }

  #fail(error: unknown, left?: string): void {
    if (left !== undefined) this.result.leftBehind.push(left);
    this.result.error ??=
      error instanceof ReasonedError
        ? { reason: error.reason, message: error.message }
        : { reason: 'ProberError', message: oneLine(String(error)) };
  }
}

function isBucketMissing(error: unknown): boolean {
  return error instanceof S3Error && error.reason === 'BucketMissing';
}
