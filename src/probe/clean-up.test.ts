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
      ...(ca !== undefined && { tls: { ca } }),
    },
    bucket: mode === 'Existing' ? { mode, name: 'canary' } : { mode },
    cleanUpTimeoutMs: CLEAN_UP_TIMEOUT_MS,
  };
  const allDeps = { clock: new ManualClock(), keyring: new TargetKeyring(), version: '1.2.3', ...deps };
  return cleanUpProbe(request, allDeps, signal);
}

function objectsWith(keys: readonly string[]): Map<string, Buffer> {
  return new Map(keys.map((key) => [key, Buffer.from('x')]));
}

function namesIn(bucket: string, keys: readonly string[]): string[] {
  return keys.map((key) => `${bucket}/${key}`);
}

describe('cleaning up after a probe', () => {
  it("removes the probe's own bucket and the leftover objects in it", async () => {
    const store = await FakeS3.start();
    store.buckets.set(OWN_BUCKET, objectsWith(OWN_KEYS));
    store.buckets.set('theirs', objectsWith(OWN_KEYS));
    expect(await cleanUp(store.url)).toEqual({
      removed: [...namesIn(OWN_BUCKET, OWN_KEYS), OWN_BUCKET],
      leftBehind: [],
    });
    expect(store.contents).toEqual(['theirs', ...namesIn('theirs', OWN_KEYS)]);
  });

  it("removes the probe's own bucket if it is empty", async () => {
    const store = await FakeS3.start();
    store.buckets.set(OWN_BUCKET, objectsWith([]));
    expect(await cleanUp(store.url)).toEqual({ removed: [OWN_BUCKET], leftBehind: [] });
    expect(store.contents).toEqual([]);
  });

  it.each(['Ephemeral', 'Existing'] as const)(
    'sends one request if there is nothing to remove: %s',
    async (mode) => {
      const store = await FakeS3.start();
      expect(await cleanUp(store.url, { mode })).toEqual({ removed: [], leftBehind: [] });
      expect(store.requests).toHaveLength(1);
    },
  );

  it("keeps the probe's own bucket if it contains other objects", async () => {
    const store = await FakeS3.start();
    store.buckets.set(OWN_BUCKET, objectsWith([...OTHERS_KEYS, ...OWN_KEYS]));
    expect(await cleanUp(store.url)).toMatchObject({
      removed: namesIn(OWN_BUCKET, OWN_KEYS),
      leftBehind: [OWN_BUCKET],
      error: { reason: 'BucketConflict' },
    });
    expect(store.contents).toEqual([OWN_BUCKET, ...namesIn(OWN_BUCKET, OTHERS_KEYS)]);
  });

  it("removes only the probe's objects from an existing bucket", async () => {
    const store = await FakeS3.start();
    store.buckets.set('canary', objectsWith([...OTHERS_KEYS, ...OWN_KEYS]));
    store.buckets.set(OWN_BUCKET, objectsWith(OWN_KEYS));
    expect(await cleanUp(store.url, { mode: 'Existing' })).toEqual({
      removed: namesIn('canary', OWN_KEYS),
      leftBehind: [],
    });
    expect([...(store.buckets.get('canary')?.keys() ?? [])]).toEqual(OTHERS_KEYS);
    expect(store.buckets.get(OWN_BUCKET)?.size).toBe(OWN_KEYS.length);
  });

  it("removes only the probe's objects even if the store ignores the listing prefix", async () => {
    const store = new FakeS3();
    store.buckets.set('canary', objectsWith([...OTHERS_KEYS, ...OWN_KEYS]));
    const server = await serveHttp((request, response) => {
      request.url = request.url?.replace(/prefix=[^&]*/, '') ?? '';
      void store.handle(request, response);
    });
    await cleanUp(server.url, { mode: 'Existing' });
    expect([...(store.buckets.get('canary')?.keys() ?? [])]).toEqual(OTHERS_KEYS);
  });

  it.each([
    { name: 'versioned', options: { versioning: 'Enabled' } },
    { name: 'suspended', options: { versioning: 'Suspended' } },
    { name: 'versioned, in pages of one entry', options: { versioning: 'Enabled', pageSize: 1 } },
  ] as const)('removes all versions and delete markers: $name', async ({ options }) => {
    for (const mode of ['Ephemeral', 'Existing'] as const) {
      const bucket = mode === 'Existing' ? 'canary' : OWN_BUCKET;
      const store = await FakeS3.start(options);
      store.seed(bucket, [...OWN_KEYS, ...OWN_KEYS]);
      const versions = store.versions.get(bucket);
      versions?.add(OWN_KEYS[0] ?? '');
      if (mode === 'Existing') for (const key of OTHERS_KEYS) versions?.add(key, Buffer.from('x'));
      const { removed, ...rest } = await cleanUp(store.url, { mode });
      expect(rest).toEqual({ leftBehind: [] });
      expect(removed.toSorted()).toEqual(
        [...namesIn(bucket, OWN_KEYS), ...(mode === 'Ephemeral' ? [bucket] : [])].toSorted(),
      );
      expect(versions?.listed.map(({ key }) => key).toSorted()).toEqual(
        mode === 'Existing' ? OTHERS_KEYS.toSorted() : [],
      );
    }
  });

  it('removes objects from a time when the bucket had no versioning', async () => {
    const store = await FakeS3.start({ versioning: 'Enabled' });
    store.seed('canary', []);
    const versions = store.versions.get('canary');
    for (const key of OWN_KEYS) versions?.add(key, Buffer.from('x'), 'Suspended');
    versions?.add(OWN_KEYS[1] ?? '', Buffer.from('newer'));
    const { removed, ...rest } = await cleanUp(store.url, { mode: 'Existing' });
    expect(rest).toEqual({ leftBehind: [] });
    expect(removed).toHaveLength(OWN_KEYS.length);
    expect(versions?.listed).toEqual([]);
  });

  it.each([
    { name: 'pages of two entries', pageSize: 2 },
    { name: 'no listing of versions', pageSize: 2, refuses: { versions: 501 } },
    { name: 'no right to list versions', refuses: { versions: 403 } },
    { name: 'no listing of versions or uploads', refuses: { versions: 405, uploads: 405 } },
  ])('removes all objects and nothing else with $name', async (options) => {
    const store = await FakeS3.start(options);
    store.seed('canary', [...OTHERS_KEYS, ...OWN_KEYS]);
    const { removed, ...rest } = await cleanUp(store.url, { mode: 'Existing' });
    expect(rest).toEqual({ leftBehind: [] });
    expect(removed.toSorted()).toEqual(namesIn('canary', OWN_KEYS).toSorted());
    expect([...(store.buckets.get('canary')?.keys() ?? [])]).toEqual(OTHERS_KEYS);
  });

  it('needs no right to delete versions if the bucket has none', async () => {
    const store = await FakeS3.start();
    store.seed('canary', OWN_KEYS);
    await cleanUp(store.url, { mode: 'Existing' });
    expect(store.requests.filter((request) => request.includes('versionId'))).toEqual([]);
  });

  it.each([
    { name: 'lists uploads by prefix', ignoresPrefix: false },
    { name: 'ignores the prefix', ignoresPrefix: true },
  ])('aborts its unfinished uploads, and no others, if the store $name', async ({ ignoresPrefix }) => {
    const store = new FakeS3({ pageSize: 1 });
    store.seed('canary', []);
    const theirs = OTHERS_KEYS.map((key) => ({ bucket: 'canary', key, id: 'theirs' }));
    store.uploads = [
      ...OWN_KEYS.map((key, index) => ({ bucket: 'canary', key, id: `u${index}` })),
      ...theirs,
    ];
    const server = await serveHttp((request, response) => {
      if (ignoresPrefix) request.url = request.url?.replace(/prefix=[^&]*/, '') ?? '';
      void store.handle(request, response);
    });
    const { removed, ...rest } = await cleanUp(server.url, { mode: 'Existing' });
    expect(rest).toEqual({ leftBehind: [] });
    expect(removed.toSorted()).toEqual(namesIn('canary', OWN_KEYS).toSorted());
    expect(store.uploads).toEqual(theirs);
  });

  it('finds its uploads in a store that lists only those of a whole bucket', async () => {
    const store = new FakeS3();
    store.seed('canary', []);
    store.uploads = OWN_KEYS.map((key) => ({ bucket: 'canary', key, id: 'u1' }));
    const server = await serveHttp((request, response) => {
      request.url = request.url?.replace(/(uploads.*prefix=).+/, '$1none') ?? '';
      void store.handle(request, response);
    });
    await cleanUp(server.url, { mode: 'Existing' });
    expect(store.uploads).toEqual([]);
  });

  it('reports locked objects, and removes the others', async () => {
    const [locked = ''] = OWN_KEYS;
    const store = await FakeS3.start({ versioning: 'Enabled', isLocked: (key) => key === locked });
    store.seed('canary', OWN_KEYS);
    expect(await cleanUp(store.url, { mode: 'Existing' })).toMatchObject({
      removed: namesIn('canary', OWN_KEYS.slice(1)),
      leftBehind: [`canary/${locked}`],
      error: { reason: 'ObjectLocked' },
    });
    // The locked version is tried once.
    expect(store.requests.filter((request) => request.startsWith(`DELETE /canary/${locked}`))).toHaveLength(
      1,
    );
  });

  it('reports objects that the store hides instead of removing them', async () => {
    const store = await FakeS3.start({ versioning: 'Enabled', refuses: { versions: 501 } });
    store.seed('canary', OWN_KEYS);
    const server = await serveHttp((request, response) => void store.handle(request, response));
    expect(await cleanUp(server.url, { mode: 'Existing' })).toMatchObject({
      leftBehind: namesIn('canary', OWN_KEYS),
      error: { reason: 'ObjectNotRemoved' },
    });
  });

  it('ends if the store sends the same page forever', async () => {
    const store = new FakeS3({ pageSize: 2 });
    store.seed('canary', [...OTHERS_KEYS, ...OWN_KEYS]);
    const server = await serveHttp((request, response) => {
      request.url = request.url?.replaceAll(/&(prefix|key-marker|version-id-marker)=[^&]*/g, '') ?? '';
      void store.handle(request, response);
    });
    const { leftBehind } = await cleanUp(server.url, { mode: 'Existing' });
    expect(leftBehind).toEqual([]);
    expect(server.requests.length).toBeLessThan(20);
    expect(store.contents).toEqual(expect.arrayContaining(namesIn('canary', OTHERS_KEYS)));
  });

  it('reads a bounded number of pages', async () => {
    let page = 0;
    const server = await serveHttp((_request, response) => {
      page += 1;
      response.writeHead(200, { 'x-amz-request-id': '17F0' });
      response.end(
        `<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>${page}</NextKeyMarker></ListVersionsResult>`,
      );
    });
    await cleanUp(server.url, { mode: 'Existing' });
    expect(page).toBeLessThan(60);
  });

  it('reports a response that is no listing', async () => {
    const server = await serveHttp((_request, response) => {
      response.writeHead(200, { 'x-amz-request-id': '17F0' }).end('<Welcome/>');
    });
    expect(await cleanUp(server.url)).toMatchObject({
      removed: [],
      leftBehind: [],
      error: { reason: 'NotS3' },
    });
  });

  it('reports an object that the store does not delete, and removes the others', async () => {
    const [undeletable = ''] = OWN_KEYS;
    const store = await FakeS3.start({
      faultAt: (_call, request) =>
        request === `DELETE /${OWN_BUCKET}/${undeletable}` ? 'denies' : undefined,
    });
    store.buckets.set(OWN_BUCKET, objectsWith(OWN_KEYS));
    expect(await cleanUp(store.url)).toEqual({
      removed: namesIn(OWN_BUCKET, OWN_KEYS.slice(1)),
      leftBehind: [`${OWN_BUCKET}/${undeletable}`, OWN_BUCKET],
      error: { reason: 'AccessDenied', message: expect.stringContaining('DeleteObject: 403') as string },
    });
  });

  it('sends no traceparent and closes its connection', async () => {
    const store = new FakeS3();
    store.buckets.set(OWN_BUCKET, objectsWith(OWN_KEYS));
    const server = await serveHttp((request, response) => void store.handle(request, response));
    await cleanUp(server.url);
    expect(store.contents).toEqual([]);
    expect(server.headers.filter(({ traceparent }) => traceparent !== undefined)).toEqual([]);
    const [connection, ...more] = server.connections;
    expect(more).toEqual([]);
    // The timeout is shorter than the server's own keep-alive timeout.
    if (connection?.closed === false) await once(connection, 'close', { signal: AbortSignal.timeout(2_000) });
  });

  it('reports a refused connection', async () => {
    expect(await cleanUp(`http://127.0.0.1:${await closedPort()}`)).toMatchObject({
      removed: [],
      leftBehind: [],
      error: { reason: 'ConnectionRefused' },
    });
  });

  it('reports an invalid CA bundle', async () => {
    const result = await cleanUp('https://127.0.0.1:1', { ca: 'nonsense' });
    expect(result.error?.reason).toBe('SecretInvalid');
  });

  it('does not connect to a blocked address', async () => {
    const store = await FakeS3.start();
    const result = await cleanUp(store.url, { addressPolicy: addressPolicy({ allowed: [] }) });
    expect(result.error?.reason).toBe('AddressNotAllowed');
    expect(store.requests).toEqual([]);
  });

  it('times out and reports what is left', async () => {
    const clock = new ManualClock();
    const store = await FakeS3.start({
      faultAt: (_call, request) => (request.startsWith('DELETE') ? 'hangsBefore' : undefined),
      onHang: () => void clock.advance(CLEAN_UP_TIMEOUT_MS),
    });
    store.buckets.set(OWN_BUCKET, objectsWith(OWN_KEYS));
    expect(await cleanUp(store.url, { clock })).toMatchObject({
      removed: [],
      leftBehind: [...namesIn(OWN_BUCKET, OWN_KEYS), OWN_BUCKET],
      error: { reason: 'Timeout' },
    });
    expect(clock.monotonicMs()).toBe(CLEAN_UP_TIMEOUT_MS);
    expect(clock.pendingTimers).toBe(0);
  });

  it('stops at once when the signal aborts', async () => {
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
    expect(clock.pendingTimers).toBe(0);
  });

  const scenario = fc.record({
    mode: fc.constantFrom<BucketPlan['mode']>('Ephemeral', 'Existing'),
    failingCall: fc.nat({ max: 9 }),
    isPermanent: fc.boolean(),
    own: fc.subarray(OWN_KEYS),
    others: fc.subarray(OTHERS_KEYS),
    versioning: fc.constantFrom('Enabled' as const, 'Suspended' as const, undefined),
    pageSize: fc.integer({ min: 1, max: 5 }),
  });
  it.each(FAULTS)('reports correctly what it removed and what is left, with fault %s', async (fault) => {
    expect.hasAssertions();
    await fc.assert(
      fc.asyncProperty(
        scenario,
        async ({ mode, failingCall, isPermanent, own, others, versioning, pageSize }) => {
          const clock = new ManualClock();
          const store = await FakeS3.start({
            ...(versioning !== undefined && { versioning }),
            pageSize,
            faultAt: (call): Fault | undefined =>
              call === failingCall || (isPermanent && call > failingCall) ? fault : undefined,
            onHang: () => void clock.advance(CLEAN_UP_TIMEOUT_MS),
          });
          const bucket = mode === 'Existing' ? 'canary' : OWN_BUCKET;
          store.seed(bucket, [...others, ...own]);

          const { removed, leftBehind, error } = await cleanUp(store.url, { mode, clock });

          const { contents } = store;
          const versions = store.versions.get(bucket)?.listed ?? [];
          const removable = [...namesIn(bucket, own), ...(mode === 'Ephemeral' ? [bucket] : [])];
          expect(contents).toEqual(expect.arrayContaining(namesIn(bucket, others)));
          expect(removable).toEqual(expect.arrayContaining([...removed, ...leftBehind]));
          for (const name of removed) expect(contents).not.toContain(name);
          for (const { key } of versions) expect(removed).not.toContain(`${bucket}/${key}`);
          // If anything of the probe is left, there is an error.
          const left = removable.filter((name) => contents.includes(name));
          expect(left.length > 0 && error === undefined).toBe(false);
          expect(leftBehind.length > 0 && error === undefined).toBe(false);
          expect(clock.pendingTimers).toBe(0);
        },
      ),
      { numRuns: 30, endOnFailure: true },
    );
  });
});
