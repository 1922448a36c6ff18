import { once } from 'node:events';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { FakeS3, type Fault, FAULTS } from '../../test/support/fake-s3.ts';
import { closedPort, serveHttp } from '../../test/support/http-server.ts';
import type { BucketPlan } from '../api/run.ts';
import { ManualClock } from '../clock/manual-clock.ts';
import { addressPolicy } from '../s3/address-policy.ts';
import { TargetKeyring } from '../s3/target-keys.ts';
import { type CleanUpDeps, cleanUpProbe, type CleanUpResult } from './clean-up.ts';
import { ephemeralBucket, keyPrefix, objectKey } from './names.ts';

const CLEAN_UP_TIMEOUT_MS = 10_000;
const IDENTITY = {
  owner: '0b1c7e52-3c1b-4a4e-8f39-1d3f4b9a6f10',
  probe: { namespace: 'storage', name: 'my-minio' },
  target: { name: 'my-minio' },
};
const OWN_BUCKET = ephemeralBucket(IDENTITY);
const OWN_KEYS = [
  objectKey({ ...IDENTITY, runId: 'one-run' }, 0, 1),
  objectKey({ ...IDENTITY, runId: 'one-run' }, 1, 4_096),
  objectKey({ ...IDENTITY, runId: 'other-run' }, 0, 1),
];
const OTHERS_KEYS = [
  'theirs',
  `${keyPrefix(IDENTITY)}notes.txt`,
  objectKey({ ...IDENTITY, owner: 'another', runId: 'one-run' }, 0, 1),
];

interface Setting extends Partial<CleanUpDeps> {
  readonly mode?: BucketPlan['mode'];
  readonly ca?: string;
  readonly signal?: AbortSignal;
}

function cleanUp(url: string, setting: Setting = {}): Promise<CleanUpResult> {
  const { mode = 'Ephemeral', ca, signal = new AbortController().signal, ...deps } = setting;
  const request = {
    ...IDENTITY,
    target: {
      name: 'my-minio',
      endpoint: url,
      region: 'us-east-1',
      credentials: { accessKey: 'access', secretKey: 'secret' },
      ...(ca !== undefined && { ca }),
    },
    bucket: mode === 'Existing' ? { mode, name: 'canary' } : { mode },
    cleanUpTimeoutMs: CLEAN_UP_TIMEOUT_MS,
  };
  const parts = { clock: new ManualClock(), keyring: new TargetKeyring(), version: '1.2.3', ...deps };
  return cleanUpProbe(request, parts, signal);
}

function holding(keys: readonly string[]): Map<string, Buffer> {
  return new Map(keys.map((key) => [key, Buffer.from('x')]));
}

function within(bucket: string, keys: readonly string[]): string[] {
  return keys.map((key) => `${bucket}/${key}`);
}

describe('cleaning up after a probe', () => {
  it('removes its own bucket with what its runs left there', async () => {
    const store = await FakeS3.start();
    store.buckets.set(OWN_BUCKET, holding(OWN_KEYS));
    store.buckets.set('theirs', holding(OWN_KEYS));
    expect(await cleanUp(store.url)).toEqual({
      removed: [...within(OWN_BUCKET, OWN_KEYS), OWN_BUCKET],
      leftBehind: [],
    });
    expect(store.contents).toEqual(['theirs', ...within('theirs', OWN_KEYS)]);
  });

  it('removes an empty bucket of its own', async () => {
    const store = await FakeS3.start();
    store.buckets.set(OWN_BUCKET, holding([]));
    expect(await cleanUp(store.url)).toEqual({ removed: [OWN_BUCKET], leftBehind: [] });
    expect(store.contents).toEqual([]);
  });

  it.each(['Ephemeral', 'Existing'] as const)('asks once where there is nothing: %s', async (mode) => {
    const store = await FakeS3.start();
    expect(await cleanUp(store.url, { mode })).toEqual({ removed: [], leftBehind: [] });
    expect(store.requests).toHaveLength(1);
  });

  it('leaves its own bucket to others who have objects there', async () => {
    const store = await FakeS3.start();
    store.buckets.set(OWN_BUCKET, holding([...OTHERS_KEYS, ...OWN_KEYS]));
    expect(await cleanUp(store.url)).toMatchObject({
      removed: within(OWN_BUCKET, OWN_KEYS),
      leftBehind: [OWN_BUCKET],
      error: { reason: 'BucketConflict' },
    });
    expect(store.contents).toEqual([OWN_BUCKET, ...within(OWN_BUCKET, OTHERS_KEYS)]);
  });

  it('removes its objects from an existing bucket, and nothing else', async () => {
    const store = await FakeS3.start();
    store.buckets.set('canary', holding([...OTHERS_KEYS, ...OWN_KEYS]));
    store.buckets.set(OWN_BUCKET, holding(OWN_KEYS));
    expect(await cleanUp(store.url, { mode: 'Existing' })).toEqual({
      removed: within('canary', OWN_KEYS),
      leftBehind: [],
    });
    expect([...(store.buckets.get('canary')?.keys() ?? [])]).toEqual(OTHERS_KEYS);
    expect(store.buckets.get(OWN_BUCKET)?.size).toBe(OWN_KEYS.length);
  });

  it('removes only what is its own, even if the store lists more', async () => {
    const served = new FakeS3();
    served.buckets.set('canary', holding([...OTHERS_KEYS, ...OWN_KEYS]));
    const server = await serveHttp((request, response) => {
      request.url = request.url?.replace(/prefix=[^&]*/, '') ?? '';
      void served.handle(request, response);
    });
    await cleanUp(server.url, { mode: 'Existing' });
    expect([...(served.buckets.get('canary')?.keys() ?? [])]).toEqual(OTHERS_KEYS);
  });

  it('says what the store keeps, and removes the rest', async () => {
    const [kept = ''] = OWN_KEYS;
    const store = await FakeS3.start({
      faultAt: (_call, request) => (request === `DELETE /${OWN_BUCKET}/${kept}` ? 'denies' : undefined),
    });
    store.buckets.set(OWN_BUCKET, holding(OWN_KEYS));
    expect(await cleanUp(store.url)).toEqual({
      removed: within(OWN_BUCKET, OWN_KEYS.slice(1)),
      leftBehind: [`${OWN_BUCKET}/${kept}`, OWN_BUCKET],
      error: { reason: 'AccessDenied', message: expect.stringContaining('DeleteObject: 403') as string },
    });
  });

  it('makes no trace, and closes its connection', async () => {
    const served = new FakeS3();
    served.buckets.set(OWN_BUCKET, holding(OWN_KEYS));
    const server = await serveHttp((request, response) => void served.handle(request, response));
    await cleanUp(server.url);
    expect(served.contents).toEqual([]);
    expect(server.headers.filter(({ traceparent }) => traceparent !== undefined)).toEqual([]);
    const [connection, ...more] = server.connections;
    expect(more).toEqual([]);
    // Sooner than the server itself would.
    if (connection?.closed === false) await once(connection, 'close', { signal: AbortSignal.timeout(2_000) });
  });

  it('says that nothing listens', async () => {
    expect(await cleanUp(`http://127.0.0.1:${await closedPort()}`)).toMatchObject({
      removed: [],
      leftBehind: [],
      error: { reason: 'ConnectionRefused' },
    });
  });

  it('says that a CA bundle is none', async () => {
    const result = await cleanUp('https://127.0.0.1:1', { ca: 'nonsense' });
    expect(result.error?.reason).toBe('SecretInvalid');
  });

  it('goes by the address policy', async () => {
    const store = await FakeS3.start();
    const result = await cleanUp(store.url, { addressPolicy: addressPolicy({ allowed: [] }) });
    expect(result.error?.reason).toBe('AddressNotAllowed');
    expect(store.requests).toEqual([]);
  });

  it('ends when its time is over, and says what is left', async () => {
    const clock = new ManualClock();
    const store = await FakeS3.start({
      faultAt: (_call, request) => (request.startsWith('DELETE') ? 'hangsBefore' : undefined),
      onHang: () => void clock.advance(CLEAN_UP_TIMEOUT_MS),
    });
    store.buckets.set(OWN_BUCKET, holding(OWN_KEYS));
    expect(await cleanUp(store.url, { clock })).toMatchObject({
      removed: [],
      leftBehind: [...within(OWN_BUCKET, OWN_KEYS), OWN_BUCKET],
      error: { reason: 'Timeout' },
    });
    expect(clock.monotonicMs()).toBe(CLEAN_UP_TIMEOUT_MS);
    expect(clock.waiting).toBe(0);
  });

  it('ends at once when it is stopped', async () => {
    const stop = new AbortController();
    const clock = new ManualClock();
    const store = await FakeS3.start({
      faultAt: () => 'hangsBefore',
      onHang: () => {
        stop.abort();
      },
    });
    const result = await cleanUp(store.url, { clock, signal: stop.signal });
    expect(result).toMatchObject({ removed: [], error: { reason: 'Cancelled' } });
    expect(clock.waiting).toBe(0);
  });

  const scenario = fc.record({
    mode: fc.constantFrom<BucketPlan['mode']>('Ephemeral', 'Existing'),
    failingCall: fc.nat({ max: 9 }),
    forGood: fc.boolean(),
    own: fc.subarray(OWN_KEYS),
    others: fc.subarray(OTHERS_KEYS),
  });
  it.each(FAULTS)('says what is true: the store %s', async (fault) => {
    expect.hasAssertions();
    await fc.assert(
      fc.asyncProperty(scenario, async ({ mode, failingCall, forGood, own, others }) => {
        const clock = new ManualClock();
        const store = await FakeS3.start({
          faultAt: (call): Fault | undefined =>
            call === failingCall || (forGood && call > failingCall) ? fault : undefined,
          onHang: () => void clock.advance(CLEAN_UP_TIMEOUT_MS),
        });
        const bucket = mode === 'Existing' ? 'canary' : OWN_BUCKET;
        store.buckets.set(bucket, holding([...others, ...own]));

        const { removed, leftBehind, error } = await cleanUp(store.url, { mode, clock });

        const { contents } = store;
        const mayGo = [...within(bucket, own), ...(mode === 'Ephemeral' ? [bucket] : [])];
        expect(contents).toEqual(expect.arrayContaining(within(bucket, others)));
        expect(mayGo).toEqual(expect.arrayContaining([...removed, ...leftBehind]));
        for (const name of removed) expect(contents).not.toContain(name);
        // Whatever is left of its own is spoken of.
        const left = mayGo.filter((name) => contents.includes(name));
        expect(left.length > 0 && error === undefined).toBe(false);
        expect(leftBehind.length > 0 && error === undefined).toBe(false);
        expect(clock.waiting).toBe(0);
      }),
      { numRuns: 30, endOnFailure: true },
    );
  });
});
