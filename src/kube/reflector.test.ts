import fc from 'fast-check';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';

import { EXPIRED, FakeListWatch, type Item, REFUSED } from '../../test/support/fake-list-watch.ts';
import { ManualClock } from '../clock/manual-clock.ts';
import { KubeError, type KubeLogger } from './kube-client.ts';
import { objectKey, type ResourceType } from './objects.ts';
import { type Change, Reflector, type ReflectorMetrics, type ReflectorOptions } from './reflector.ts';

const NODES: ResourceType = { group: '', version: 'v1', plural: 'nodes', kind: 'Node' };
const NEVER = new AbortController().signal;
/** Watch timeout and first backoff delay if `random` returns 0. */
const WATCH_MS = 300_000;
const FIRST_DELAY_MS = 400;
const TOO_LONG = new KubeError('GET: the response is too long', { status: 200, reason: 'ResponseTooLong' });
const FORBIDDEN = new KubeError('GET: 403 Forbidden', { status: 403, reason: 'Forbidden' });

interface Started {
  readonly server: FakeListWatch;
  readonly clock: ManualClock;
  readonly reflector: Reflector<Item>;
  /** Each change as text, such as `added a=data`. */
  readonly changes: string[];
  readonly logged: string[];
  /** Runs all pending work that does not wait for time to pass. */
  readonly settle: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

interface StartOptions extends Partial<ReflectorOptions<Item>> {
  readonly server?: FakeListWatch;
}

async function start({ server = new FakeListWatch(), ...options }: StartOptions = {}): Promise<Started> {
  const clock = new ManualClock();
  const changes: string[] = [];
  const logged: string[] = [];
  const log = (fields: object, message: string): void => {
    logged.push(`${message} ${JSON.stringify(fields)}`);
  };
  const logger: KubeLogger = { debug: log, info: log, warn: log, error: log };
  const reflector = new Reflector<Item>({
    client: server,
    clock,
    random: () => 0,
    log: logger,
    resource: NODES,
    pageSize: 2,
    onChange: (change) => changes.push(textOf(change)),
    ...options,
  });
  const stopping = new AbortController();
  const running = reflector.run(stopping.signal);
  const stop = async (): Promise<void> => {
    stopping.abort(new Error('shutting down'));
    await running;
  };
  onTestFinished(stop);
  const settle = (): Promise<void> => clock.advance(0);
  await settle();
  return { server, clock, reflector, changes, logged, settle, stop };
}

function ignore(): void {}

function textOf({ type, object, old }: Change<Item>): string {
  const change = `${type} ${object.metadata.name}=${object.data}`;
  return old === undefined ? change : `${change} was ${old.data}`;
}

function serverWith(...names: string[]): FakeListWatch {
  const server = new FakeListWatch();
  for (const name of names) server.put(name, '1');
  return server;
}

describe('list', () => {
  it('is read in pages', async () => {
    const { server, reflector, changes } = await start({ server: serverWith('a', 'b', 'c', 'd', 'e') });
    expect(server.lists).toEqual([
      { limit: 2, continue: undefined },
      { limit: 2, continue: '105/3' },
      { limit: 2, continue: '105/1' },
    ]);
    expect(server.watches).toMatchObject([
      { resourceVersion: '105', allowWatchBookmarks: true, timeoutSeconds: 300 },
    ]);
    expect(changes).toEqual(['added a=1', 'added b=1', 'added c=1', 'added d=1', 'added e=1']);
    expect(reflector.size).toBe(5);
    expect(reflector.get('default/c')).toMatchObject({ data: '1' });
    expect(Array.from(reflector.list(), objectKey)).toContain('default/e');
  });

  it('continues with half the page size when a page is too long', async () => {
    const server = serverWith('a', 'b', 'c', 'd', 'e', 'f');
    server.faults.push(undefined, TOO_LONG, undefined, TOO_LONG);
    const { clock, reflector } = await start({ server, pageSize: 3 });
    expect(server.lists).toMatchObject([
      { limit: 3 },
      { limit: 3, continue: '106/3' },
      { limit: 2, continue: '106/3' },
      { limit: 2, continue: '106/1' },
      { limit: 1, continue: '106/1' },
    ]);
    expect(reflector.size).toBe(6);
    server.faults.push(EXPIRED);
    server.closeWatches();
    await clock.advance(WATCH_MS);
    expect(server.lists[5]).toMatchObject({ limit: 1, continue: undefined });
  });

  it('sets hasSynced when it is complete', async () => {
    const server = serverWith('a', 'b', 'c');
    server.faults.push(undefined, REFUSED);
    const { clock, reflector } = await start({ server });
    const stop = new AbortController();
    const aborted = reflector.untilSynced(stop.signal).catch((error: unknown) => error);
    stop.abort('enough');
    await expect(aborted).resolves.toBe('enough');
    expect(reflector.hasSynced).toBe(false);
    const synced = reflector.untilSynced(NEVER);
    await clock.advance(FIRST_DELAY_MS);
    await synced;
    expect(reflector.hasSynced).toBe(true);
  });

  it('starts over when the continue token has expired', async () => {
    const server = serverWith('a', 'b', 'c', 'd');
    server.faults.push(undefined, EXPIRED);
    const { clock, changes } = await start({ server });
    server.remove('a');
    await clock.advance(FIRST_DELAY_MS);
    expect(changes).toEqual(['added a=1', 'added b=1', 'added c=1', 'added d=1', 'deleted a=1']);
    expect(server.lists).toHaveLength(4);
  });

  it('stores the result of the transform', async () => {
    const { reflector } = await start({
      server: serverWith('a'),
      transform: ({ metadata }) => ({ metadata, data: 'small' }),
    });
    expect(reflector.get('default/a')?.data).toBe('small');
  });

  it('removes managedFields', async () => {
    const { server, reflector, settle } = await start({ server: serverWith('a') });
    server.put('b');
    await settle();
    expect(reflector.size).toBe(2);
    for (const { metadata } of reflector.list()) expect(metadata).not.toHaveProperty('managedFields');
  });
});

describe('watch', () => {
  it('reports changes in order', async () => {
    const { server, changes, settle } = await start({ server: serverWith('a') });
    server.put('b', '1');
    server.put('a', '2');
    server.remove('b');
    server.put('b', '3');
    await settle();
    expect(changes).toEqual(['added a=1', 'added b=1', 'updated a=2 was 1', 'deleted b=1', 'added b=3']);
  });

  it('resumes where the previous watch closed, without relisting', async () => {
    const { server, clock, changes } = await start({ server: serverWith('a') });
    await clock.advance(WATCH_MS);
    server.put('a', '2');
    server.closeWatches();
    server.put('a', '3');
    await clock.advance(0);
    expect(server.lists).toHaveLength(1);
    expect(server.watches).toMatchObject([{ resourceVersion: '101' }, { resourceVersion: '103' }]);
    expect(changes).toEqual(['added a=1', 'updated a=2 was 1', 'updated a=3 was 2']);
  });

  it('resumes from the last bookmark', async () => {
    const { server, clock, settle } = await start({ server: serverWith('a') });
    await clock.advance(WATCH_MS);
    server.bookmark();
    await settle();
    server.compact();
    server.closeWatches();
    await settle();
    expect(server.lists).toHaveLength(1);
    expect(server.watches).toMatchObject([{ resourceVersion: '101' }, { resourceVersion: '102' }]);
  });

  it('is replaced if the server does not close it in time', async () => {
    const { server, clock, logged, changes } = await start({ server: serverWith('a') });
    await clock.advance(WATCH_MS + 29_999);
    expect(server.watches).toHaveLength(1);
    await clock.advance(1 + FIRST_DELAY_MS);
    expect(server.watches).toHaveLength(2);
    expect(server.lists).toHaveLength(1);
    expect(logged).toEqual([expect.stringContaining('the watch was not closed in time')]);
    expect(changes).toHaveLength(1);
  });

  it.each([0, 1_000])(
    'is reopened at a limited rate if it closes after %i ms, without losing changes',
    async (ms) => {
      const { server, clock, changes, logged } = await start({ server: serverWith('a') });
      const minutes = 10;
      for (let second = 0; second < minutes * 60; second += 1) {
        server.put('a', String(second));
        if (ms === 0) server.closeWatches();
        await clock.advance(1_000);
        if (ms > 0) server.closeWatches();
        expect(changes.length).toBeGreaterThan(second - 1);
      }
      await clock.advance(2_000);
      expect(server.lists).toHaveLength(1);
      expect(server.watches.length).toBeLessThan(minutes * 30 + 10);
      expect(changes.at(-1)).toBe(`updated a=${minutes * 60 - 1} was ${minutes * 60 - 2}`);
      expect(changes).toHaveLength(1 + minutes * 60);
      expect(logged).toEqual([expect.stringContaining('watch closed early; reopening')]);
    },
  );

  it.each([
    { name: 'a 410 response', fault: EXPIRED },
    { name: 'an ERROR event', fault: { event: { type: 'ERROR', object: { kind: 'Status', code: 410 } } } },
  ])('relists after $name', async ({ fault }) => {
    const { server, clock, changes, logged } = await start({ server: serverWith('a', 'b', 'c', 'd') });
    await clock.advance(WATCH_MS);
    server.faults.push(fault);
    server.closeWatches();
    server.put('a', '2');
    server.remove('b');
    server.remove('c');
    server.put('c', 'new');
    // The list reports the changes that the watch missed.
    await clock.advance(FIRST_DELAY_MS);
    expect(server.lists).toHaveLength(4);
    expect(changes.slice(4).toSorted()).toEqual([
      'added c=new',
      'deleted b=1',
      'deleted c=1',
      'updated a=2 was 1',
    ]);
    expect(changes.indexOf('deleted c=1')).toBeLessThan(changes.indexOf('added c=new'));
    expect(logged).toEqual([expect.stringContaining('relisting')]);
  });

  it('reports a recreated object as deleted and added', async () => {
    const { server, changes, settle } = await start({ server: serverWith('a') });
    server.recreate('a');
    await settle();
    expect(changes).toEqual(['added a=1', 'deleted a=1', 'added a=']);
  });

  it.each([
    {
      name: 'times out with 504',
      fault: new KubeError('504', { status: 504, reason: 'Timeout' }),
      lists: 2,
    },
    { name: 'gets 403', fault: new KubeError('403', { status: 403, reason: 'Forbidden' }), lists: 1 },
    { name: 'gets an event without an object', fault: { event: { type: 'ADDED' } }, lists: 2 },
    { name: 'gets a null event', fault: { event: null }, lists: 2 },
    { name: 'cannot connect', fault: REFUSED, lists: 1 },
    { name: 'gets 429', fault: new KubeError('429', { status: 429, reason: '' }), lists: 1 },
  ])('is retried if it $name, with $lists lists in total', async ({ fault, lists }) => {
    const { server, clock, changes } = await start({ server: serverWith('a') });
    await clock.advance(WATCH_MS);
    server.faults.push(fault);
    server.closeWatches();
    await clock.advance(FIRST_DELAY_MS - 1);
    server.put('a', '2');
    expect(server.requests).toHaveLength(3);
    await clock.advance(1);
    expect(server.lists).toHaveLength(lists);
    expect(changes).toEqual(['added a=1', 'updated a=2 was 1']);
  });
});

describe('an unavailable server', () => {
  it('is retried with backoff that restarts after a recovery', async () => {
    const server = serverWith('a');
    server.faults.push(...Array.from({ length: 45 }, () => REFUSED));
    const { clock, reflector } = await start({ server });
    const requestCounts: number[] = [];
    for (let minute = 0; minute < 4; minute += 1) {
      requestCounts.push(server.requests.length);
      await clock.advance(60_000);
    }
    expect(requestCounts).toEqual([1, 15, 27, 39]);
    await clock.advance(60_000);
    expect(reflector.hasSynced).toBe(true);
    const before = server.requests.length;
    await clock.advance(WATCH_MS);
    server.faults.push(REFUSED, REFUSED);
    server.closeWatches();
    await clock.advance(FIRST_DELAY_MS * 3);
    expect(server.requests.length).toBe(before + 3);
  });

  it('resets the backoff with its first response, even if the response is Expired', async () => {
    const { server, clock } = await start({ server: serverWith('a') });
    await clock.advance(WATCH_MS);
    server.faults.push(...Array.from({ length: 10 }, () => REFUSED), EXPIRED);
    server.closeWatches();
    const faults = (): number => server.faults.length;
    while (faults() > 0) await clock.advance(100);
    expect(server.lists).toHaveLength(1);
    await clock.advance(FIRST_DELAY_MS);
    expect(server.lists).toHaveLength(2);
  });

  it('is not retried before its Retry-After', async () => {
    const server = serverWith('a');
    server.faults.push(
      new KubeError('503', { status: 503, reason: 'ServiceUnavailable', retryAfterMs: 20_000 }),
    );
    const { clock } = await start({ server });
    await clock.advance(19_999);
    expect(server.requests).toHaveLength(1);
    await clock.advance(1);
    expect(server.requests.length).toBeGreaterThan(1);
  });
});

describe('a forbidden list or watch', () => {
  const forbidden: boolean[] = [];
  const metrics: ReflectorMetrics = {
    listed: ignore,
    watched: ignore,
    eventAt: ignore,
    items: ignore,
    forbidden: (isForbidden) => forbidden.push(isForbidden),
  };
  beforeEach(() => {
    forbidden.length = 0;
  });

  it('is reported at once and retried with a backoff of up to a minute', async () => {
    const server = serverWith('a');
    server.faults.push(...Array.from({ length: 100 }, () => FORBIDDEN));
    const { clock, reflector } = await start({ server, metrics });
    await reflector.untilSyncedOrForbidden(NEVER);
    expect([reflector.isForbidden, reflector.hasSynced]).toEqual([true, false]);
    await clock.advance(600_000);
    const before = server.requests.length;
    await clock.advance(600_000);
    expect(server.requests.length - before).toBe(20);
    server.faults.length = 0;
    await clock.advance(60_000);
    expect([reflector.isForbidden, reflector.hasSynced]).toEqual([false, true]);
    expect(forbidden).toEqual([true, false]);
  });

  it.each([
    { keepWhileForbiddenMs: 60_000, want: ['added a=1', 'deleted a=1', 'added a=1'] },
    { keepWhileForbiddenMs: undefined, want: ['added a=1'] },
  ])(
    'drops the objects if keepWhileForbiddenMs is $keepWhileForbiddenMs',
    async ({ keepWhileForbiddenMs, want }) => {
      const { server, clock, changes } = await start({ server: serverWith('a'), keepWhileForbiddenMs });
      await clock.advance(WATCH_MS);
      server.faults.push(...Array.from({ length: 9 }, () => FORBIDDEN));
      server.closeWatches();
      await clock.advance(45_000);
      expect(changes).toEqual(['added a=1']);
      await clock.advance(240_000);
      expect(changes).toEqual(want);
    },
  );

  it('keeps the objects when the watch is allowed again in time', async () => {
    const { server, clock, changes } = await start({
      server: serverWith('a'),
      keepWhileForbiddenMs: 60_000,
      metrics,
    });
    await clock.advance(WATCH_MS);
    server.faults.push(FORBIDDEN, FORBIDDEN);
    server.closeWatches();
    await clock.advance(5_000);
    server.bookmark();
    await clock.advance(0);
    expect(forbidden).toEqual([true, false]);
    server.faults.push(...Array.from({ length: 3 }, () => FORBIDDEN));
    server.closeWatches();
    await clock.advance(120_000);
    expect(changes).toEqual(['added a=1']);
  });
});

it('does not report unchanged objects again after a relist', async () => {
  const { server, clock, changes } = await start({ server: serverWith('a', 'b') });
  await clock.advance(WATCH_MS);
  server.faults.push(EXPIRED);
  server.closeWatches();
  await clock.advance(FIRST_DELAY_MS);
  expect(server.lists).toHaveLength(2);
  expect(changes).toHaveLength(2);
});

it('logs a hint if the resource type is not installed', async () => {
  const server = serverWith('a');
  server.faults.push(new KubeError('404 NotFound', { status: 404, reason: 'NotFound' }));
  const { logged } = await start({ server });
  expect(logged).toEqual([expect.stringContaining('is the CustomResourceDefinition installed?')]);
});

it('warns once per failure episode', async () => {
  const warned: object[] = [];
  const log: KubeLogger = {
    debug: ignore,
    info: ignore,
    error: ignore,
    warn: (fields) => warned.push(fields),
  };
  const { server, clock } = await start({ server: serverWith('a'), log });
  await clock.advance(WATCH_MS);
  for (const reason of ['ConnectionFailed', 'ConnectionFailed', 'Forbidden', 'Forbidden'])
    server.faults.push(new KubeError(reason, { status: 0, reason }));
  server.closeWatches();
  await clock.advance(120_000);
  expect(warned).toMatchObject([{ error: 'ConnectionFailed' }, { error: 'Forbidden' }]);

  server.faults.push(new KubeError('Forbidden', { status: 0, reason: 'Forbidden' }));
  server.closeWatches();
  await clock.advance(0);
  expect(warned).toHaveLength(3);
});

it('reports every object again at each resync', async () => {
  const { clock, changes } = await start({ server: serverWith('a', 'b'), resyncMs: 60_000 });
  await clock.advance(120_000);
  const resync = ['updated a=1 was 1', 'updated b=1 was 1'];
  expect(changes.slice(2)).toEqual([...resync, ...resync]);
});

it('continues after a handler throws', async () => {
  const names: string[] = [];
  const { server, logged, settle, reflector } = await start({
    server: serverWith('a', 'b'),
    onChange: ({ object }) => {
      names.push(object.metadata.name);
      throw new Error('cannot handle\nthis change');
    },
  });
  server.put('c');
  await settle();
  expect(names).toEqual(['a', 'b', 'c']);
  expect(reflector.size).toBe(3);
  expect(logged).toHaveLength(3);
  expect(logged[0]).toBe(
    'change handler failed {"resource":"nodes","key":"default/a","change":"added","error":"cannot handle this change"}',
  );
});

it('reports metrics', async () => {
  const calls: string[] = [];
  const { server, clock } = await start({
    server: serverWith('a'),
    metrics: {
      listed: () => calls.push('listed'),
      watched: () => calls.push('watched'),
      eventAt: (epochMs) => calls.push(`event ${epochMs}`),
      items: (count) => calls.push(`${count} items`),
    },
  });
  server.put('b');
  await clock.advance(0);
  expect(calls).toEqual(['listed', '1 items', 'watched', `event ${clock.now()}`, '2 items']);
});

it.each([
  { name: 'lists', server: serverWith(), faults: ['hang'] as const },
  { name: 'waits for a retry', server: serverWith(), faults: [REFUSED] },
  { name: 'opens a watch', server: serverWith(), faults: [undefined, 'hang'] as const },
  { name: 'watches', server: serverWith('a'), faults: [] },
])('stops immediately while it $name, and leaves no timer', async ({ server, faults }) => {
  server.faults.push(...faults);
  const { clock, logged, stop } = await start({ server, resyncMs: 1_000 });
  const before = logged.length;
  await stop();
  expect(clock.pendingTimers).toBe(0);
  expect(logged).toHaveLength(before);
  const { requests } = server;
  const { length } = requests;
  await clock.advance(3_600_000);
  expect(requests).toHaveLength(length);
});

describe('any sequence of changes and failures', () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd', 'e');
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant('put' as const), name, data: fc.string({ maxLength: 2 }) }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('remove' as const), name }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('recreate' as const), name }) },
    {
      weight: 3,
      arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(0, 0, 500, 20_000) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('fail' as const),
        fault: fc.constantFrom(undefined, EXPIRED, REFUSED, { event: { type: 'ADDED' } }),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('compact', 'closeWatches', 'bookmark') }) },
  );

  it('leaves the store equal to the server, and reports consistent changes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const server = serverWith('a', 'b', 'c');
        const copy = new Map<string, Item>();
        const inconsistent: string[] = [];
        const { clock, reflector, stop } = await start({
          server,
          onChange: ({ type, object, old }) => {
            const key = objectKey(object);
            const known = copy.get(key);
            const isConsistent =
              type === 'added' ? known === undefined : known?.metadata.uid === object.metadata.uid;
            if (!isConsistent || old !== (type === 'updated' ? known : undefined))
              inconsistent.push(`${type} ${key}`);
            if (type === 'deleted') copy.delete(key);
            else copy.set(key, object);
          },
        });
        for (const next of steps) {
          if (next.do === 'put') server.put(next.name, next.data);
          else if (next.do === 'remove' || next.do === 'recreate') server[next.do](next.name);
          else if (next.do === 'wait') await clock.advance(next.ms);
          else if (next.do === 'fail') server.faults.push(next.fault);
          else server[next.do]();
        }
        await clock.advance(1_200_000);
        const expected = server.objects.map(versionOf).toSorted();
        expect(Array.from(reflector.list(), versionOf).toSorted()).toEqual(expected);
        expect([...copy.values()].map(versionOf).toSorted()).toEqual(expected);
        expect(inconsistent).toEqual([]);
        await stop();
        expect(clock.pendingTimers).toBe(0);
      }),
      { numRuns: 300 },
    );
  });
});

function versionOf(object: Item): string {
  const { uid, resourceVersion } = object.metadata;
  return `${objectKey(object)} ${uid} ${resourceVersion} ${object.data}`;
}
