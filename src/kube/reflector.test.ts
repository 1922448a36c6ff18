import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';

import { EXPIRED, FakeListWatch, type Item, REFUSED } from '../../test/support/fake-list-watch.ts';
import { ManualClock } from '../clock/manual-clock.ts';
import { KubeError, type KubeLogger } from './kube-client.ts';
import { objectKey, type ResourceType } from './objects.ts';
import { type Change, Reflector, type ReflectorOptions } from './reflector.ts';

const NODES: ResourceType = { group: '', version: 'v1', plural: 'nodes', kind: 'Node' };
const NEVER = new AbortController().signal;
/** With `random: () => 0` a watch asks for so much, and the backoff begins with so much. */
const WATCH_MS = 300_000;
const FIRST_DELAY_MS = 400;

interface Started {
  readonly server: FakeListWatch;
  readonly clock: ManualClock;
  readonly reflector: Reflector<Item>;
  /** `added a=data` of each change. */
  readonly told: string[];
  readonly logged: string[];
  /** Lets go on whatever can without time. */
  readonly settle: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

interface Setting extends Partial<ReflectorOptions<Item>> {
  readonly server?: FakeListWatch;
}

async function start({ server = new FakeListWatch(), ...options }: Setting = {}): Promise<Started> {
  const clock = new ManualClock();
  const told: string[] = [];
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
    onChange: (change) => told.push(textOf(change)),
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
  return { server, clock, reflector, told, logged, settle, stop };
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

describe('the list', () => {
  it('comes in pages', async () => {
    const { server, reflector, told } = await start({ server: serverWith('a', 'b', 'c', 'd', 'e') });
    expect(server.lists).toEqual([
      { limit: 2, continue: undefined },
      { limit: 2, continue: '105/3' },
      { limit: 2, continue: '105/1' },
    ]);
    expect(server.watches).toMatchObject([
      { resourceVersion: '105', allowWatchBookmarks: true, timeoutSeconds: 300 },
    ]);
    expect(told).toEqual(['added a=1', 'added b=1', 'added c=1', 'added d=1', 'added e=1']);
    expect(reflector.size).toBe(5);
    expect(reflector.get('default/c')).toMatchObject({ data: '1' });
    expect(Array.from(reflector.list(), objectKey)).toContain('default/e');
  });

  it('is what synced means', async () => {
    const server = serverWith('a', 'b', 'c');
    server.faults.push(undefined, REFUSED);
    const { clock, reflector } = await start({ server });
    const stop = new AbortController();
    const abandoned = reflector.untilSynced(stop.signal).catch((error: unknown) => error);
    stop.abort('enough');
    await expect(abandoned).resolves.toBe('enough');
    expect(reflector.hasSynced).toBe(false);
    const synced = reflector.untilSynced(NEVER);
    await clock.advance(FIRST_DELAY_MS);
    await synced;
    expect(reflector.hasSynced).toBe(true);
  });

  it('begins anew when a page of it has expired', async () => {
    const server = serverWith('a', 'b', 'c', 'd');
    server.faults.push(undefined, EXPIRED);
    const { clock, told } = await start({ server });
    server.remove('a');
    await clock.advance(FIRST_DELAY_MS);
    expect(told).toEqual(['added a=1', 'added b=1', 'added c=1', 'added d=1', 'deleted a=1']);
    expect(server.lists).toHaveLength(4);
  });

  it('keeps what the transform makes of an object', async () => {
    const { reflector } = await start({
      server: serverWith('a'),
      transform: ({ metadata }) => ({ metadata, data: 'small' }),
    });
    expect(reflector.get('default/a')?.data).toBe('small');
  });

  it('keeps no managedFields', async () => {
    const { server, reflector, settle } = await start({ server: serverWith('a') });
    server.put('b');
    await settle();
    expect(reflector.size).toBe(2);
    for (const { metadata } of reflector.list()) expect(metadata).not.toHaveProperty('managedFields');
  });
});

describe('a watch', () => {
  it('tells of changes as they come', async () => {
    const { server, told, settle } = await start({ server: serverWith('a') });
    server.put('b', '1');
    server.put('a', '2');
    server.remove('b');
    server.put('b', '3');
    await settle();
    expect(told).toEqual(['added a=1', 'added b=1', 'updated a=2 was 1', 'deleted b=1', 'added b=3']);
  });

  it('goes on where the last one ended, and lists no second time', async () => {
    const { server, clock, told } = await start({ server: serverWith('a') });
    await clock.advance(WATCH_MS);
    server.put('a', '2');
    server.endWatches();
    server.put('a', '3');
    await clock.advance(0);
    expect(server.lists).toHaveLength(1);
    expect(server.watches).toMatchObject([{ resourceVersion: '101' }, { resourceVersion: '103' }]);
    expect(told).toEqual(['added a=1', 'updated a=2 was 1', 'updated a=3 was 2']);
  });

  it('goes on from the last bookmark', async () => {
    const { server, clock, settle } = await start({ server: serverWith('a') });
    await clock.advance(WATCH_MS);
    server.bookmark();
    await settle();
    server.compact();
    server.endWatches();
    await settle();
    expect(server.lists).toHaveLength(1);
    expect(server.watches).toMatchObject([{ resourceVersion: '101' }, { resourceVersion: '102' }]);
  });

  it('that the server does not end in time is given up', async () => {
    const { server, clock, logged, told } = await start({ server: serverWith('a') });
    await clock.advance(WATCH_MS + 29_999);
    expect(server.watches).toHaveLength(1);
    await clock.advance(1 + FIRST_DELAY_MS);
    expect(server.watches).toHaveLength(2);
    expect(server.lists).toHaveLength(1);
    expect(logged).toEqual([expect.stringContaining('the watch did not end in time')]);
    expect(told).toHaveLength(1);
  });

  it.each([0, 1_000])(
    'is no storm when every one is cut short after %i ms, and tells of each change soon',
    async (ms) => {
      const { server, clock, told, logged } = await start({ server: serverWith('a') });
      const minutes = 10;
      for (let second = 0; second < minutes * 60; second += 1) {
        server.put('a', String(second));
        if (ms === 0) server.endWatches();
        await clock.advance(1_000);
        if (ms > 0) server.endWatches();
        expect(told.length).toBeGreaterThan(second - 1);
      }
      await clock.advance(2_000);
      expect(server.lists).toHaveLength(1);
      expect(server.watches.length).toBeLessThan(minutes * 30 + 10);
      expect(told.at(-1)).toBe(`updated a=${minutes * 60 - 1} was ${minutes * 60 - 2}`);
      expect(told).toHaveLength(1 + minutes * 60);
      expect(logged).toEqual([expect.stringContaining('watches are cut short')]);
    },
  );

  it.each([
    { name: 'an answer', fault: EXPIRED },
    { name: 'an event', fault: { event: { type: 'ERROR', object: { kind: 'Status', code: 410 } } } },
  ])('that has expired, by $name, leads to a list', async ({ fault }) => {
    const { server, clock, told, logged } = await start({ server: serverWith('a', 'b', 'c', 'd') });
    await clock.advance(WATCH_MS);
    server.faults.push(fault);
    server.endWatches();
    server.put('a', '2');
    server.remove('b');
    server.remove('c');
    server.put('c', 'new');
    // What the faulty watch may have told is told by the list.
    await clock.advance(FIRST_DELAY_MS);
    expect(server.lists).toHaveLength(4);
    expect(told.slice(4).toSorted()).toEqual([
      'added c=new',
      'deleted b=1',
      'deleted c=1',
      'updated a=2 was 1',
    ]);
    expect(told.indexOf('deleted c=1')).toBeLessThan(told.indexOf('added c=new'));
    expect(logged).toEqual([expect.stringContaining('listing again')]);
  });

  it('tells of a namesake as deleted and added', async () => {
    const { server, told, settle } = await start({ server: serverWith('a') });
    server.swap('a');
    await settle();
    expect(told).toEqual(['added a=1', 'deleted a=1', 'added a=']);
  });

  it.each([
    {
      name: 'is asked for what it cannot know',
      fault: new KubeError('504', { status: 504, reason: 'Timeout' }),
      lists: 2,
    },
    { name: 'is forbidden', fault: new KubeError('403', { status: 403, reason: 'Forbidden' }), lists: 1 },
    { name: 'says nonsense', fault: { event: { type: 'ADDED' } }, lists: 2 },
    { name: 'says nothing', fault: { event: null }, lists: 2 },
    { name: 'finds nobody', fault: REFUSED, lists: 1 },
    { name: 'finds the server busy', fault: new KubeError('429', { status: 429, reason: '' }), lists: 1 },
  ])('that $name is tried again, after $lists lists in all', async ({ fault, lists }) => {
    const { server, clock, told } = await start({ server: serverWith('a') });
    await clock.advance(WATCH_MS);
    server.faults.push(fault);
    server.endWatches();
    await clock.advance(FIRST_DELAY_MS - 1);
    server.put('a', '2');
    expect(server.requests).toHaveLength(3);
    await clock.advance(1);
    expect(server.lists).toHaveLength(lists);
    expect(told).toEqual(['added a=1', 'updated a=2 was 1']);
  });
});

describe('a server that is away', () => {
  it('is asked ever more seldom, and soon again once it was well', async () => {
    const server = serverWith('a');
    server.faults.push(...Array.from({ length: 45 }, () => REFUSED));
    const { clock, reflector } = await start({ server });
    const asked: number[] = [];
    for (let minute = 0; minute < 4; minute += 1) {
      asked.push(server.requests.length);
      await clock.advance(60_000);
    }
    expect(asked).toEqual([1, 15, 27, 39]);
    await clock.advance(60_000);
    expect(reflector.hasSynced).toBe(true);
    const before = server.requests.length;
    await clock.advance(WATCH_MS);
    server.faults.push(REFUSED, REFUSED);
    server.endWatches();
    await clock.advance(FIRST_DELAY_MS * 3);
    expect(server.requests.length).toBe(before + 3);
  });

  it('is not waited for any more once it answers, if only that the history is gone', async () => {
    const { server, clock } = await start({ server: serverWith('a') });
    await clock.advance(WATCH_MS);
    server.faults.push(...Array.from({ length: 10 }, () => REFUSED), EXPIRED);
    server.endWatches();
    const faults = (): number => server.faults.length;
    while (faults() > 0) await clock.advance(100);
    expect(server.lists).toHaveLength(1);
    await clock.advance(FIRST_DELAY_MS);
    expect(server.lists).toHaveLength(2);
  });

  it('is asked no sooner than it says', async () => {
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

it('tells nothing twice when a list finds what is known', async () => {
  const { server, clock, told } = await start({ server: serverWith('a', 'b') });
  await clock.advance(WATCH_MS);
  server.faults.push(EXPIRED);
  server.endWatches();
  await clock.advance(FIRST_DELAY_MS);
  expect(server.lists).toHaveLength(2);
  expect(told).toHaveLength(2);
});

it('has a hint for who has not installed the resource', async () => {
  const server = serverWith('a');
  server.faults.push(new KubeError('404 NotFound', { status: 404, reason: 'NotFound' }));
  const { logged } = await start({ server });
  expect(logged).toEqual([expect.stringContaining('is its CustomResourceDefinition installed?')]);
});

it('warns of a spell of trouble once', async () => {
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
  server.endWatches();
  await clock.advance(120_000);
  expect(warned).toMatchObject([{ error: 'ConnectionFailed' }, { error: 'Forbidden' }]);

  server.faults.push(new KubeError('Forbidden', { status: 0, reason: 'Forbidden' }));
  server.endWatches();
  await clock.advance(0);
  expect(warned).toHaveLength(3);
});

it('tells of everything again at each resync', async () => {
  const { clock, told } = await start({ server: serverWith('a', 'b'), resyncMs: 60_000 });
  await clock.advance(120_000);
  const again = ['updated a=1 was 1', 'updated b=1 was 1'];
  expect(told.slice(2)).toEqual([...again, ...again]);
});

it('outlives a handler that throws', async () => {
  const told: string[] = [];
  const { server, logged, settle, reflector } = await start({
    server: serverWith('a', 'b'),
    onChange: ({ object }) => {
      told.push(object.metadata.name);
      throw new Error('cannot handle that\nat all');
    },
  });
  server.put('c');
  await settle();
  expect(told).toEqual(['a', 'b', 'c']);
  expect(reflector.size).toBe(3);
  expect(logged).toHaveLength(3);
  expect(logged[0]).toBe(
    'handler of a change failed {"resource":"nodes","key":"default/a","change":"added","error":"cannot handle that at all"}',
  );
});

it('tells its metrics', async () => {
  const told: string[] = [];
  const { server, clock } = await start({
    server: serverWith('a'),
    metrics: {
      listed: () => told.push('listed'),
      watched: () => told.push('watched'),
      eventAt: (epochMs) => told.push(`event ${epochMs}`),
      items: (count) => told.push(`${count} items`),
    },
  });
  server.put('b');
  await clock.advance(0);
  expect(told).toEqual(['listed', '1 items', 'watched', `event ${clock.now()}`, '2 items']);
});

it.each([
  { name: 'lists', server: serverWith(), faults: ['hang'] as const },
  { name: 'waits to try again', server: serverWith(), faults: [REFUSED] },
  { name: 'begins a watch', server: serverWith(), faults: [undefined, 'hang'] as const },
  { name: 'watches', server: serverWith('a'), faults: [] },
])('stops at once while it $name, and leaves no timer behind', async ({ server, faults }) => {
  server.faults.push(...faults);
  const { clock, logged, stop } = await start({ server, resyncMs: 1_000 });
  const before = logged.length;
  await stop();
  expect(clock.waiting).toBe(0);
  expect(logged).toHaveLength(before);
  const { requests } = server;
  const { length } = requests;
  await clock.advance(3_600_000);
  expect(requests).toHaveLength(length);
});

describe('whatever happens', () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd', 'e');
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant('put' as const), name, data: fc.string({ maxLength: 2 }) }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('remove' as const), name }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('swap' as const), name }) },
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
    { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('compact', 'endWatches', 'bookmark') }) },
  );

  it('the store ends as the server is, and the changes lead there one by one', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const server = serverWith('a', 'b', 'c');
        const copy = new Map<string, Item>();
        const incoherent: string[] = [];
        const { clock, reflector, stop } = await start({
          server,
          onChange: ({ type, object, old }) => {
            const key = objectKey(object);
            const known = copy.get(key);
            const follows =
              type === 'added' ? known === undefined : known?.metadata.uid === object.metadata.uid;
            if (!follows || old !== (type === 'updated' ? known : undefined))
              incoherent.push(`${type} ${key}`);
            if (type === 'deleted') copy.delete(key);
            else copy.set(key, object);
          },
        });
        for (const next of steps) {
          if (next.do === 'put') server.put(next.name, next.data);
          else if (next.do === 'remove' || next.do === 'swap') server[next.do](next.name);
          else if (next.do === 'wait') await clock.advance(next.ms);
          else if (next.do === 'fail') server.faults.push(next.fault);
          else server[next.do]();
        }
        await clock.advance(1_200_000);
        const truth = server.objects.map(versionOf).toSorted();
        expect(Array.from(reflector.list(), versionOf).toSorted()).toEqual(truth);
        expect([...copy.values()].map(versionOf).toSorted()).toEqual(truth);
        expect(incoherent).toEqual([]);
        await stop();
        expect(clock.waiting).toBe(0);
      }),
      { numRuns: 300 },
    );
  });
});

function versionOf(object: Item): string {
  const { uid, resourceVersion } = object.metadata;
  return `${objectKey(object)} ${uid} ${resourceVersion} ${object.data}`;
}
