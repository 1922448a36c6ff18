import { ReasonedError } from '../api/reasons.ts';
import type { FunctionName, RunRequest } from '../api/run.ts';
import type { ObjectBody } from '../s3/body.ts';
import type { ObjectVersion } from '../s3/s3-client.ts';
import { S3Error } from '../s3/s3-error.ts';
import { bucketExists, confirmRemoved, failWithoutBucket } from './existence.ts';
import { LeftoverRemoval, type Leftovers, leftoversOf } from './leftovers.ts';
import { objectKey } from './names.ts';
import { ComparingSink, createPayload, type RandomBytes } from './payload.ts';
import type { TracedStore } from './traced-store.ts';

export interface StepContext {
  readonly request: RunRequest;
  /** Name of the bucket that this run uses. */
  readonly bucket: string;
  readonly created: CreatedResources;
  readonly randomBytes: RandomBytes;
  readonly signal: AbortSignal;
  /** True if the run has failed and the step only removes what the run created. */
  readonly isCleanUp: boolean;
  readonly store: TracedStore;
  /** Adds an event to the step's span. */
  readonly event: (name: string) => void;
}

export interface Step {
  /** Span name. */
  readonly name: string;
  readonly functionName: FunctionName;
  /** @throws {ReasonedError} */
  readonly action: (context: StepContext) => Promise<void>;
  /** Present on steps that also clean up after a failure. True if there is something to clean up. */
  readonly needsCleanUp?: (created: CreatedResources) => boolean;
}

/** Resources that the run has created and not yet removed. The run deletes nothing else. */
export interface CreatedResources {
  /** True if the probe's own bucket exists or may exist. */
  bucket: boolean;
  payloads: ObjectBody[];
  objects: CreatedObject[];
}

interface CreatedObject {
  readonly key: string;
  readonly body: ObjectBody;
  /** Absent until the store confirms the PUT. */
  version?: ObjectVersion;
}

/** The workflow. Names, order and events must match the script of the talk that `README.md` names exactly. */
export const STEPS: readonly Step[] = [
  { name: 'check if bucket exist', functionName: 'CHECK_BUCKET', action: checkBucket },
  { name: 'create object to add', functionName: 'CREATE_OBJECT', action: createObjects },
  { name: 'add created object to bucket', functionName: 'ADD_OBJECT', action: addObjects },
  { name: 'fetch object from bucket', functionName: 'FETCH_OBJECT', action: fetchObjects },
  {
    name: 'remove object from bucket',
    functionName: 'REMOVE_OBJECT',
    action: removeObjects,
    needsCleanUp: (created) => created.objects.length > 0,
  },
  {
    name: 'check if bucket exists',
    functionName: 'REMOVE_BUCKET',
    action: removeBucket,
    needsCleanUp: (created) => created.bucket,
  },
];

async function checkBucket({ request, bucket, created, store, event }: StepContext): Promise<void> {
  event('Checking if bucket exists.');
  const exists = await bucketExists(store);
  if (request.bucket.mode === 'Existing') {
    if (!exists) await failWithoutBucket(bucket, store);
    return;
  }
  // The bucket may exist from here on, even if the response to its creation never arrives.
  created.bucket = true;
  if (exists) return;
  event('Bucket does not exist, going to create it.');
  try {
    await store.createBucket();
  } catch (error) {
    // The name belongs to this probe alone, so an earlier attempt or a run that was killed created the bucket.
    if (error instanceof S3Error && error.code === 'BucketAlreadyOwnedByYou') return;
    if (wasNotCreated(error)) created.bucket = false;
    throw error;
  }
}

async function createObjects({ request, created, randomBytes, signal }: StepContext): Promise<void> {
  for (const sizeBytes of request.objectSizesBytes) {
    created.payloads.push(await createPayload(sizeBytes, randomBytes, signal));
  }
}

async function addObjects({ request, created, store, event }: StepContext): Promise<void> {
  for (const [index, body] of created.payloads.entries()) {
    const object: CreatedObject = { key: objectKey(request, index, body.sizeBytes), body };
    created.objects.push(object);
    try {
      object.version = await store.putObject(object.key, body);
    } catch (error) {
      if (wasNotCreated(error)) created.objects.pop();
      throw error;
    }
  }
  event('Test object has been placed in bucket.');
}

async function fetchObjects({ bucket, created, store, event }: StepContext): Promise<void> {
  for (const { key, body } of created.objects) {
    const sink = new ComparingSink(body);
    const source = await store.getObject(key, sink);
    const difference = sink.difference();
    if (difference === undefined) {
      store.confirmS3();
    } else if (source.isStore) {
      throw new ReasonedError('ContentMismatch', `${bucket}/${key}: ${difference}`);
    } else {
      const { reason, message } = source.fault();
      throw new ReasonedError(reason, `${message}; ${difference}`);
    }
  }
  event('Test object has been fetched from bucket.');
}

async function removeObjects({ bucket, created, store, event }: StepContext): Promise<void> {
  for (let object = created.objects[0]; object !== undefined; object = created.objects[0]) {
    await removeObject(object, bucket, store);
    created.objects.shift();
  }
  event('Test object has been removed from bucket.');
}

async function removeObject(
  { key, version }: CreatedObject,
  bucket: string,
  store: TracedStore,
): Promise<void> {
  const versionToDelete = version ?? (await store.headObject(key));
  if (versionToDelete === undefined) return;
  const { addedMarker } = await store.deleteObject(key, versionToDelete);
  if (addedMarker) await sweep(store, { prefix: key, includes: (each) => each === key });
  await confirmRemoved(key, bucket, store);
}

async function removeBucket({
  request,
  bucket,
  created,
  isCleanUp,
  store,
  event,
}: StepContext): Promise<void> {
  const exists = await bucketExists(store);
  if (!exists) {
    markAllRemoved(created);
    if (isCleanUp) return;
    throw new ReasonedError('BucketMissing', `bucket ${bucket} disappeared during the run`);
  }
  if (request.bucket.mode === 'Existing') return;
  event('Bucket exists, going to remove it.');
  try {
    await store.deleteBucket();
  } catch (error) {
    if (!(error instanceof S3Error) || error.code !== 'BucketNotEmpty') throw error;
    await sweep(store, leftoversOf(request));
    await store.deleteBucket();
  }
  markAllRemoved(created);
}

function markAllRemoved(created: CreatedResources): void {
  created.bucket = false;
  created.objects = [];
}

/** @throws the first failure, after everything else has been removed. */
async function sweep(store: TracedStore, leftovers: Leftovers): Promise<void> {
  const removal = new LeftoverRemoval(store, leftovers);
  await removal.run();
  if (removal.leftBehind.length > 0) throw removal.error;
}

/** True if the store rejected the request or never got it. Otherwise, it may have created the resource. */
function wasNotCreated(error: unknown): boolean {
  if (!(error instanceof S3Error)) return true;
  const { status, phases } = error.call;
  // After an error with a 2xx status, such as a response that was cut short, the resource may exist.
  return status === undefined ? phases.sendMs === undefined : status >= 300 && status < 500;
}
