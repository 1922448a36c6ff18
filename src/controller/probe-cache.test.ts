import { expect, it, onTestFinished } from 'vitest';

import { ManualClock } from '../clock/manual-clock.ts';
import { type KubeClient, KubeError, type KubeRequest } from '../kube/kube-client.ts';
import { ProbeCache, type ProbeCacheMetrics } from './probe-cache.ts';

const NEVER = new AbortController().signal;

function ignore(): void {}

function namespaceOf({ path }: KubeRequest): string {
  return /namespaces\/([^/]+)/.exec(path)?.[1] ?? '';
}

/** An API server with one probe in each namespace. */
function setUp(
  namespaces: readonly string[],
  { forbidden = new Set<string>(), broken = new Set<string>() } = {},
) {
  const clock = new ManualClock();
  const gauges: Record<string, number> = {};
  const warned: object[] = [];
  function check(request: KubeRequest): void {
    const namespace = namespaceOf(request);
    if (forbidden.has(namespace)) throw new KubeError('403', { status: 403, reason: 'Forbidden' });
    if (broken.has(namespace)) throw new KubeError('500', { status: 500, reason: 'InternalError' });
  }
  const client: KubeClient = {
    request: async <T>(request: KubeRequest) => {
      check(request);
      const annotations = { 'storageprobe.dev/run-requested-at': 'now', large: 'x'.repeat(1_000) };
      const metadata = { name: 'my-minio', namespace: namespaceOf(request), uid: 'uid-1', annotations };
      return { metadata: { resourceVersion: '10' }, items: [{ metadata, spec: {} }] } as T;
    },
    async *stream(request, signal) {
      check(request);
      yield { type: 'BOOKMARK', object: { metadata: { resourceVersion: '11' } } };
      await clock.sleep(3_600_000, signal);
    },
    close: () => Promise.resolve(),
  };
  const metrics: ProbeCacheMetrics = {
    listed: ignore,
    watched: ignore,
    eventAt: ignore,
    items: (count) => (gauges['items'] = count),
    forbiddenNamespaces: (count) => (gauges['forbidden'] = count),
  };
  const warn = (fields: object): number => warned.push(fields);
  const log = { debug: ignore, info: ignore, error: ignore, warn };
  const cache = new ProbeCache({ client, clock, random: () => 0, log, namespaces, metrics });
  const stopping = new AbortController();
  const running = cache.run(stopping.signal);
  onTestFinished(async () => {
    stopping.abort();
    await running;
  });
  return { cache, clock, forbidden, broken, gauges, warned };
}

it('skips forbidden namespaces, reports them, and reads them once they are allowed', async () => {
  const { cache, clock, forbidden, gauges, warned } = setUp(['a', 'b', 'c', 'd'], {
    forbidden: new Set(['b', 'd']),
  });
  await clock.advance(0);
  await cache.untilSynced(NEVER);
  expect(cache.hasSynced).toBe(true);
  expect(gauges).toEqual({ items: 2, forbidden: 2 });
  expect(warned).toContainEqual({ namespaces: ['b', 'd'], count: 2 });
  const keys: string[] = [];
  cache.subscribe((key) => keys.push(key));
  forbidden.delete('b');
  await clock.advance(60_000);
  expect(keys).toEqual(['a/my-minio', 'c/my-minio', 'b/my-minio']);
  expect(gauges).toEqual({ items: 3, forbidden: 1 });
});

it('has not synced while every namespace is forbidden', async () => {
  const { cache, clock, forbidden } = setUp(['a'], { forbidden: new Set(['a']) });
  let isResolved = false;
  void cache.untilSynced(NEVER).then(() => (isResolved = true));
  await clock.advance(600_000);
  expect([cache.hasSynced, isResolved]).toEqual([false, false]);
  forbidden.clear();
  await clock.advance(60_000);
  expect([cache.hasSynced, isResolved]).toEqual([true, true]);
});

it('waits for a namespace that cannot be read for another reason', async () => {
  const { cache, clock, broken } = setUp(['a', 'b'], { broken: new Set(['b']) });
  await clock.advance(60_000);
  expect(cache.hasSynced).toBe(false);
  broken.clear();
  await clock.advance(60_000);
  expect(cache.hasSynced).toBe(true);
});

it('keeps only the annotation that the operator uses', async () => {
  const { cache, clock } = setUp(['a']);
  await clock.advance(0);
  expect(cache.get('a/my-minio')?.metadata.annotations).toEqual({
    'storageprobe.dev/run-requested-at': 'now',
  });
});
