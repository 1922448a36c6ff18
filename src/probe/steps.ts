import { type Reason, ReasonedError } from '../api/reasons.ts';
import type { FunctionName, RunRequest } from '../api/run.ts';
import type { Body } from '../s3/body.ts';
import { S3Error } from '../s3/s3-error.ts';
import type { ObjectVersion } from '../s3/target-client.ts';
import { isOwnKey, keyPrefix, objectKey } from './names.ts';
import { ComparingSink, createPayload, type RandomBytes } from './payload.ts';
import type { TracedStore } from './traced-store.ts';

export interface StepContext {
  readonly request: RunRequest;
  /** The name of the bucket that this run works in. */
  readonly bucket: string;
  readonly made: Made;
  readonly randomBytes: RandomBytes;
  readonly signal: AbortSignal;
  /** The run has failed already; only what it made is to be removed. */
  readonly isCleanUp: boolean;
  readonly store: TracedStore;
  /** Puts an event into the step's span. */
  readonly event: (name: string) => void;
}

export interface Step {
  /** The span's name. */
  readonly name: string;
  readonly functionName: FunctionName;
  /** @throws {ReasonedError} */
  readonly action: (context: StepContext) => Promise<void>;
  /** For a step that also cleans up after a failure: whether there is anything to clean up. */
  readonly isOwed?: (made: Made) => boolean;
}

/** What the run has made and not yet removed: all that it may ever delete. */
export interface Made {
  /** The probe's own bucket is, or may be, there. */
  bucket: boolean;
  payloads: Body[];
  objects: MadeObject[];
}

interface MadeObject {
  readonly key: string;
  readonly body: Body;
  /** Unknown while the store has not answered that it took the object. */
  version?: ObjectVersion;
}

/** The workflow. Names, order and events are those of the talk's script, to the letter. */
export const STEPS: readonly Step[] = [
  { name: 'check if bucket exist', functionName: 'CHECK_BUCKET', action: checkBucket },
  { name: 'create object to add', functionName: 'CREATE_OBJECT', action: createObjects },
  { name: 'add created object to bucket', functionName: 'ADD_OBJECT', action: addObjects },
  { name: 'fetch object from bucket', functionName: 'FETCH_OBJECT', action: fetchObjects },
  {
    name: 'remove object from bucket',
    functionName: 'REMOVE_OBJECT',
    action: removeObjects,
    isOwed: (made) => made.objects.length > 0,
  },
  {
    name: 'check if bucket exists',
    functionName: 'REMOVE_BUCKET',
    action: removeBucket,
    isOwed: (made) => made.bucket,
  },
];

async function checkBucket({ request, bucket, made, store, event }: StepContext): Promise<void> {
  event('Checking if bucket exists.');
  const exists = await bucketExists(store);
  if (request.bucket.mode === 'Existing') {
    if (!exists) throw new ReasonedError('BucketMissing', `there is no bucket ${bucket}`);
    return;
  }
  // From here on it may be there: an answer that never comes does not say that the bucket was not made.
  made.bucket = true;
  if (exists) return;
  event('Bucket does not exist, going to create it.');
  try {
    await store.createBucket();
  } catch (error) {
    if (wasNotMade(error)) made.bucket = false;
    throw error;
  }
}

/** An answer to HEAD has no body: where the store gives its code nowhere else, a GET finds out what is wrong. */
async function bucketExists(store: TracedStore): Promise<boolean> {
  try {
    return await store.headBucket();
  } catch (error) {
    if (error instanceof S3Error && error.code === undefined && isUnexplained(error.reason)) {
      await store.getBucketLocation().catch((explained: unknown) => {
        if (explained instanceof S3Error && explained.code !== undefined) throw explained;
      });
    }
    throw error;
  }
}

function isUnexplained(reason: Reason): boolean {
  return reason === 'AccessDenied' || reason === 'RequestRejected';
}

async function createObjects({ request, made, randomBytes, signal }: StepContext): Promise<void> {
  for (const sizeBytes of request.objectSizesBytes) {
    made.payloads.push(await createPayload(sizeBytes, randomBytes, signal));
  }
}

async function addObjects({ request, made, store, event }: StepContext): Promise<void> {
  for (const [index, body] of made.payloads.entries()) {
    const object: MadeObject = { key: objectKey(request, index, body.sizeBytes), body };
    made.objects.push(object);
    try {
      object.version = await store.putObject(object.key, body);
    } catch (error) {
      if (wasNotMade(error)) made.objects.pop();
      throw error;
    }
  }
  event('Test object has been placed in bucket.');
}

async function fetchObjects({ bucket, made, store, event }: StepContext): Promise<void> {
  for (const { key, body } of made.objects) {
    const sink = new ComparingSink(body);
    await store.getObject(key, sink);
    const difference = sink.difference();
    if (difference !== undefined)
      throw new ReasonedError('ContentMismatch', `${bucket}/${key}: ${difference}`);
  }
  event('Test object has been fetched from bucket.');
}

async function removeObjects({ bucket, made, store, event }: StepContext): Promise<void> {
  for (let object = made.objects[0]; object !== undefined; object = made.objects[0]) {
    await removeObject(object, bucket, store);
    made.objects.shift();
  }
  event('Test object has been removed from bucket.');
}

async function removeObject({ key, version }: MadeObject, bucket: string, store: TracedStore): Promise<void> {
  const found = version ?? (await store.headObject(key));
  if (found === undefined) return;
  await store.deleteObject(key, found);
  const left = await store.headObject(key);
  if (left !== undefined) {
    throw new ReasonedError('ObjectNotRemoved', `${bucket}/${key} is still served after its removal`);
  }
}

async function removeBucket({ request, bucket, made, isCleanUp, store, event }: StepContext): Promise<void> {
  const exists = await store.headBucket();
  if (!exists) {
    forget(made);
    if (isCleanUp) return;
    throw new ReasonedError('BucketMissing', `bucket ${bucket} has vanished in the middle of the run`);
  }
  if (request.bucket.mode === 'Existing') return;
  event('Bucket exists, going to remove it.');
  try {
    await store.deleteBucket();
  } catch (error) {
    if (!(error instanceof S3Error) || error.code !== 'BucketNotEmpty') throw error;
    await removeStrays(store, request);
    await store.deleteBucket();
  }
  forget(made);
}

/** No bucket, no objects. */
function forget(made: Made): void {
  made.bucket = false;
  made.objects = [];
}

/** Objects that an earlier run of this prober left when it was killed; never anybody else's. */
async function removeStrays(store: TracedStore, request: RunRequest): Promise<void> {
  for (const key of await store.listKeys(keyPrefix(request))) {
    // Some stores list more than they are asked for.
    if (isOwnKey(request, key)) await store.deleteObject(key, { id: undefined });
  }
}

/** The store said no, or was never asked. Anything else leaves open whether it did what it was asked to. */
function wasNotMade(error: unknown): boolean {
  if (!(error instanceof S3Error)) return true;
  const { status, phases } = error.call;
  // A 2xx that is an error was broken off in its body.
  return status === undefined ? phases.sendMs === undefined : status >= 300 && status < 500;
}
