import { ReasonedError } from '../api/reasons.ts';
import { S3Error } from '../s3/s3-error.ts';
import type { TracedStore } from './traced-store.ts';

const NOT_FOUND = 404;

/**
 * A response to HEAD has no body. Therefore, it neither proves that an S3 store sent it nor explains a failure. In both
 * cases, this function sends a GET as well.
 */
export async function bucketExists(store: TracedStore): Promise<boolean> {
  let exists: boolean;
  try {
    exists = await store.headBucket();
  } catch (error) {
    if (!(error instanceof S3Error) || !isUnexplained(error)) throw error;
    return explain(error, store);
  }
  if (!store.provedS3) await requireS3(store);
  return exists;
}

/**
 * Names the reason for a 404 in response to HEAD, which does not say what was not found: VersityGW also sends one for
 * an unknown access key.
 *
 * @throws {ReasonedError} always.
 */
export async function failWithoutBucket(bucket: string, store: TracedStore): Promise<never> {
  const error = await failureOf(store.getBucketLocation());
  const isOther = error instanceof S3Error && error.code !== undefined && error.code !== 'NoSuchBucket';
  if (isOther && error.call.status === NOT_FOUND) throw error;
  throw new ReasonedError('BucketMissing', `bucket ${bucket} does not exist`);
}

/** @throws {ReasonedError} unless the object is gone. */
export async function confirmRemoved(key: string, bucket: string, store: TracedStore): Promise<void> {
  let stillServed: boolean;
  try {
    stillServed = (await store.headObject(key)) !== undefined;
  } catch (error) {
    if (!(error instanceof S3Error) || error.reason !== 'AccessDenied') throw error;
    const message = `${error.message}; the object was deleted, and without s3:ListBucket stores return 403 instead of 404`;
    throw new ReasonedError('AccessDenied', message, { cause: error });
  }
  if (stillServed) {
    throw new ReasonedError('ObjectNotRemoved', `${bucket}/${key} is still served after it was deleted`);
  }
}

function isUnexplained({ by, code, reason, call }: S3Error): boolean {
  if (by !== 'S3 store' || code !== undefined || call.status === undefined) return false;
  return reason !== 'RegionMismatch' && reason !== 'ClockSkew';
}

/** Asks why HEAD failed. A GET that fails for a reason of its own does not hide the failure of the HEAD. */
async function explain(headError: S3Error, store: TracedStore): Promise<boolean> {
  const getError = await failureOf(store.getBucketLocation());
  if (!(getError instanceof S3Error)) throw headError;
  if (getError.code === 'NoSuchBucket') return false;
  const { reason } = isExplanation(getError, store) ? getError : headError;
  throw new ReasonedError(reason, `${headError.message}; ${getError.message}`, { cause: headError });
}

function isExplanation({ by, code, reason, call }: S3Error, { provedS3 }: TracedStore): boolean {
  if (code !== undefined) return reason !== 'AccessDenied';
  return !provedS3 && by !== 'S3 store' && call.status !== undefined;
}

/** @throws {S3Error} if the endpoint is not an S3 store. An error from a store proves that it is one. */
async function requireS3(store: TracedStore): Promise<void> {
  const error = await failureOf(store.getBucketLocation());
  if (error instanceof S3Error && error.by === 'S3 store') return;
  if (error !== undefined) throw error;
}

function failureOf(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => undefined,
    (error: unknown) => error,
  );
}
