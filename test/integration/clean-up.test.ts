import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';

import type { BucketPlan, Credentials } from '../../src/api/run.ts';
import { systemClock } from '../../src/clock/system-clock.ts';
import { cleanUpProbe, type CleanUpRequest } from '../../src/probe/clean-up.ts';
import { ephemeralBucket, keyPrefix, objectKey } from '../../src/probe/names.ts';
import { addressPolicy } from '../../src/s3/address-policy.ts';
import { TargetKeyring } from '../../src/s3/target-keys.ts';
import { uniqueName } from '../support/unique-name.ts';
import {
  adminOf,
  bucketsOf,
  keysIn,
  createBucket,
  FOREIGN_OBJECT,
  sharedStore,
  temporaryCredentials,
  user,
} from './store.ts';

const DEPS = {
  clock: systemClock,
  keyring: new TargetKeyring(),
  version: '1.2.3',
  addressPolicy: addressPolicy({ allowed: ['127.0.0.1'] }),
};

function requestOf(credentials: Credentials, bucket: BucketPlan): CleanUpRequest {
  const name = uniqueName('clean-up');
  return {
    owner: randomUUID(),
    probe: { namespace: 'storage', name },
    target: { name, endpoint: sharedStore.url, region: 'us-east-1', credentials },
    bucket,
    cleanUpTimeoutMs: 30_000,
  };
}

function cleanUp(request: CleanUpRequest): ReturnType<typeof cleanUpProbe> {
  return cleanUpProbe(request, DEPS, new AbortController().signal);
}

/** Puts the objects that a killed run leaves behind. Returns their paths. */
async function putLeftovers(request: CleanUpRequest, bucket: string, objects = 2): Promise<string[]> {
  const runId = randomUUID();
  const keys = Array.from({ length: objects }, (_, index) => objectKey({ ...request, runId }, index, 4_096));
  const admin = adminOf();
  await Promise.all(keys.map((key) => admin.putObject(bucket, key, 'x')));
  return keys.map((key) => `${bucket}/${key}`);
}

describe('clean-up of an Ephemeral bucket', () => {
  it('removes all leftovers, with no more rights than a run needs', async () => {
    const request = requestOf(user, { mode: 'Ephemeral' });
    const bucket = ephemeralBucket(request);
    await adminOf().makeBucket(bucket);
    const leftovers = [...(await putLeftovers(request, bucket)), ...(await putLeftovers(request, bucket))];

    const { removed, ...rest } = await cleanUp(request);
    expect(rest).toEqual({ leftBehind: [] });
    expect(removed.toSorted()).toEqual([...leftovers, bucket].toSorted());
    expect(await bucketsOf(request.probe.name)).toEqual([]);
    expect(await cleanUp(request)).toEqual({ removed: [], leftBehind: [] });
  });

  it('removes more objects than one page of a listing has', async () => {
    const request = requestOf(user, { mode: 'Ephemeral' });
    const bucket = ephemeralBucket(request);
    await adminOf().makeBucket(bucket);
    await putLeftovers(request, bucket, 230);
    const { removed, ...rest } = await cleanUp(request);
    expect(rest).toEqual({ leftBehind: [] });
    expect(removed).toHaveLength(231);
  });

  it("keeps a bucket that contains another client's object", async () => {
    const request = requestOf(user, { mode: 'Ephemeral' });
    const bucket = ephemeralBucket(request);
    const admin = adminOf();
    await admin.makeBucket(bucket);
    await admin.putObject(bucket, 'another-client/object', 'keep me');
    const leftovers = await putLeftovers(request, bucket);
    try {
      const result = await cleanUp(request);
      expect(result).toMatchObject({ leftBehind: [bucket], error: { reason: 'BucketConflict' } });
      expect(result.removed.toSorted()).toEqual(leftovers.toSorted());
      expect(await keysIn(bucket)).toEqual(['another-client/object']);
    } finally {
      await admin.removeObject(bucket, 'another-client/object');
      await admin.removeBucket(bucket);
    }
  });
});

describe('clean-up of an Existing bucket', () => {
  it.each([
    { name: 'plain', versioned: false },
    { name: 'versioned', versioned: true },
  ])("removes only the probe's objects from a $name bucket", async ({ versioned }) => {
    await using bucket = await createBucket({ versioned });
    const request = requestOf(await leastRights(bucket.name, versioned), {
      mode: 'Existing',
      name: bucket.name,
    });
    const unrelatedKey = `${keyPrefix(request)}notes.txt`;
    await adminOf().putObject(bucket.name, unrelatedKey, 'not from a run');
    const leftovers = await putLeftovers(request, bucket.name);
    await putLeftovers({ ...request, owner: 'another prober' }, bucket.name, 1);

    const { removed, ...rest } = await cleanUp(request);
    expect(rest).toEqual({ leftBehind: [] });
    expect(removed.toSorted()).toEqual(leftovers.toSorted());
    const kept = await keysIn(bucket.name);
    expect(kept).toHaveLength(3);
    expect(kept).toEqual(expect.arrayContaining([FOREIGN_OBJECT, unrelatedKey]));
  });

  it("finds the probe's objects after more than a page of unrelated objects", async () => {
    await using bucket = await createBucket();
    const request = requestOf(await leastRights(bucket.name, false), { mode: 'Existing', name: bucket.name });
    const admin = adminOf();
    const unrelatedKeys = Array.from({ length: 120 }, (_, index) => `${keyPrefix(request)}--notes-${index}`);
    await Promise.all(unrelatedKeys.map((key) => admin.putObject(bucket.name, key, 'not from a run')));
    const leftovers = await putLeftovers(request, bucket.name);

    const { removed, ...rest } = await cleanUp(request);
    expect(rest).toEqual({ leftBehind: [] });
    expect(removed.toSorted()).toEqual(leftovers.toSorted());
    expect(await keysIn(bucket.name)).toHaveLength(121);
  });

  it('reports objects that it may not remove', async () => {
    await using bucket = await createBucket();
    const credentials = await temporaryCredentials([
      { Action: ['s3:ListBucket'], Resource: [`arn:aws:s3:::${bucket.name}`] },
      { Action: ['s3:GetObject'], Resource: [`arn:aws:s3:::${bucket.name}/storage-probe/*`] },
    ]);
    const request = requestOf(credentials, { mode: 'Existing', name: bucket.name });
    const leftovers = await putLeftovers(request, bucket.name);
    const result = await cleanUp(request);
    expect(result).toMatchObject({ removed: [], error: { reason: 'AccessDenied' } });
    expect(result.leftBehind.toSorted()).toEqual(leftovers.toSorted());
  });
});

/** The rights that deploy/samples/existing-bucket.yaml asks for. */
function leastRights(bucket: string, versioned: boolean): Promise<Credentials> {
  const deletion = versioned ? ['s3:DeleteObject', 's3:DeleteObjectVersion'] : ['s3:DeleteObject'];
  return temporaryCredentials([
    { Action: ['s3:ListBucket'], Resource: [`arn:aws:s3:::${bucket}`] },
    {
      Action: ['s3:PutObject', 's3:GetObject', ...deletion],
      Resource: [`arn:aws:s3:::${bucket}/storage-probe/*`],
    },
  ]);
}
