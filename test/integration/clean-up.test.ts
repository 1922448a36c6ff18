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
  makeBucket,
  OTHERS_OBJECT,
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

/** What a killed run leaves. */
async function leave(request: CleanUpRequest, bucket: string, objects = 2): Promise<string[]> {
  const runId = randomUUID();
  const keys = Array.from({ length: objects }, (_, index) => objectKey({ ...request, runId }, index, 4_096));
  const admin = adminOf();
  await Promise.all(keys.map((key) => admin.putObject(bucket, key, 'x')));
  return keys.map((key) => `${bucket}/${key}`);
}

describe('after a probe with a bucket of its own', () => {
  it('all that its runs left goes, with no more rights than a run needs', async () => {
    const request = requestOf(user, { mode: 'Ephemeral' });
    const bucket = ephemeralBucket(request);
    await adminOf().makeBucket(bucket);
    const left = [...(await leave(request, bucket)), ...(await leave(request, bucket))];

    const { removed, ...rest } = await cleanUp(request);
    expect(rest).toEqual({ leftBehind: [] });
    expect(removed.toSorted()).toEqual([...left, bucket].toSorted());
    expect(await bucketsOf(request.probe.name)).toEqual([]);
    expect(await cleanUp(request)).toEqual({ removed: [], leftBehind: [] });
  });

  it('more goes than stands on one page of a listing', async () => {
    const request = requestOf(user, { mode: 'Ephemeral' });
    const bucket = ephemeralBucket(request);
    await adminOf().makeBucket(bucket);
    await leave(request, bucket, 230);
    const { removed, ...rest } = await cleanUp(request);
    expect(rest).toEqual({ leftBehind: [] });
    expect(removed).toHaveLength(231);
  });

  it('a bucket stays in which others have objects', async () => {
    const request = requestOf(user, { mode: 'Ephemeral' });
    const bucket = ephemeralBucket(request);
    const admin = adminOf();
    await admin.makeBucket(bucket);
    await admin.putObject(bucket, 'somebody/else', 'keep me');
    const left = await leave(request, bucket);
    try {
      const result = await cleanUp(request);
      expect(result).toMatchObject({ leftBehind: [bucket], error: { reason: 'BucketConflict' } });
      expect(result.removed.toSorted()).toEqual(left.toSorted());
      expect(await keysIn(bucket)).toEqual(['somebody/else']);
    } finally {
      await admin.removeObject(bucket, 'somebody/else');
      await admin.removeBucket(bucket);
    }
  });
});

describe('after a probe of an existing bucket', () => {
  it.each([
    { name: 'plain', versioned: false },
    { name: 'versioned', versioned: true },
  ])('its objects go from one that is $name, and no others', async ({ versioned }) => {
    await using bucket = await makeBucket({ versioned });
    const request = requestOf(await leastRights(bucket.name, versioned), {
      mode: 'Existing',
      name: bucket.name,
    });
    const beside = `${keyPrefix(request)}notes.txt`;
    await adminOf().putObject(bucket.name, beside, 'not of a run');
    const left = await leave(request, bucket.name);
    await leave({ ...request, owner: 'another prober' }, bucket.name, 1);

    const { removed, ...rest } = await cleanUp(request);
    expect(rest).toEqual({ leftBehind: [] });
    expect(removed.toSorted()).toEqual(left.toSorted());
    const kept = await keysIn(bucket.name);
    expect(kept).toHaveLength(3);
    expect(kept).toEqual(expect.arrayContaining([OTHERS_OBJECT, beside]));
  });

  it('its objects go from behind more than a page of others', async () => {
    await using bucket = await makeBucket();
    const request = requestOf(await leastRights(bucket.name, false), { mode: 'Existing', name: bucket.name });
    const admin = adminOf();
    const beside = Array.from({ length: 120 }, (_, index) => `${keyPrefix(request)}--notes-${index}`);
    await Promise.all(beside.map((key) => admin.putObject(bucket.name, key, 'not of a run')));
    const left = await leave(request, bucket.name);

    const { removed, ...rest } = await cleanUp(request);
    expect(rest).toEqual({ leftBehind: [] });
    expect(removed.toSorted()).toEqual(left.toSorted());
    expect(await keysIn(bucket.name)).toHaveLength(121);
  });

  it('what may not be removed is named', async () => {
    await using bucket = await makeBucket();
    const credentials = await temporaryCredentials([
      { Action: ['s3:ListBucket'], Resource: [`arn:aws:s3:::${bucket.name}`] },
      { Action: ['s3:GetObject'], Resource: [`arn:aws:s3:::${bucket.name}/storage-probe/*`] },
    ]);
    const request = requestOf(credentials, { mode: 'Existing', name: bucket.name });
    const left = await leave(request, bucket.name);
    const result = await cleanUp(request);
    expect(result).toMatchObject({ removed: [], error: { reason: 'AccessDenied' } });
    expect(result.leftBehind.toSorted()).toEqual(left.toSorted());
  });
});

/** What deploy/samples/existing-bucket.yaml asks for. */
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
