import fc from 'fast-check';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it, onTestFinished, vi } from 'vitest';

import { FakeApiServer, type FakeKubeClient, hang, kubeError } from '../../test/support/fake-api-server.ts';
import { ManualClock } from '../clock/manual-clock.ts';
import {
  type LeaderTask,
  LeaderElector,
  type LeaderElectorOptions,
  LeadershipLostError,
  type Term,
} from './leader-elector.ts';
import { LEASE } from './lease.ts';
import { resourcePath } from './objects.ts';

const COLLECTION = resourcePath(LEASE, { namespace: 'storage' });
const PATH = `${COLLECTION}/storage-probe`;
const SHUTDOWN = new Error('shutting down');

interface World {
  readonly clock: ManualClock;
  readonly server: FakeApiServer;
}

interface Candidate {
  readonly elector: LeaderElector;
  readonly client: FakeKubeClient;
  readonly log: Record<'debug' | 'info' | 'warn' | 'error', ReturnType<typeof vi.fn>>;
  readonly leading: boolean[];
  /** Signal of each task call. */
  readonly taskSignals: AbortSignal[];
  readonly stop: AbortController;
  readonly stopped: Promise<void>;
}

function createWorld(): World {
  return { clock: new ManualClock(), server: new FakeApiServer() };
}

function untilAborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => resolve());
  if (signal.aborted) resolve();
  return promise;
}

function start(
  { clock, server }: World,
  identity: string,
  task: LeaderTask = untilAborted,
  options: Partial<LeaderElectorOptions> = {},
): Candidate {
  const client = server.connect();
  const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };
  const leading: boolean[] = [];
  const taskSignals: AbortSignal[] = [];
  const stop = new AbortController();
  const elector = new LeaderElector({
    client,
    clock,
    random: () => 0,
    log,
    namespace: 'storage',
    name: 'storage-probe',
    identity,
    metrics: { leading: (isLeading) => leading.push(isLeading) },
    ...options,
  });
  const stopped = elector.run((signal, term) => {
    taskSignals.push(signal);
    return task(signal, term);
  }, stop.signal);
  onTestFinished(() => stop.abort());
  return { elector, client, log, leading, taskSignals, stop, stopped };
}

function specOf({ server }: World): Record<string, unknown> | undefined {
  return (server.get(PATH) as { spec?: Record<string, unknown> } | undefined)?.spec;
}

function heldBy(identity: string, spec: object = {}): object {
  return {
    metadata: { namespace: 'storage', name: 'storage-probe' },
    // Expired according to the wall clock, which must be ignored.
    spec: {
      holderIdentity: identity,
      leaseDurationSeconds: 15,
      renewTime: '2020-01-01T00:00:00.000000Z',
      ...spec,
    },
  };
}

function unreachable(): Promise<never> {
  throw kubeError(0, 'ConnectionFailed');
}

function unavailable(): never {
  throw kubeError(503, 'ServiceUnavailable');
}

function throttled(): never {
  throw kubeError(429, 'TooManyRequests');
}

function forbidden(): never {
  throw kubeError(403, 'Forbidden');
}

describe('acquiring the Lease', () => {
  it('creates the Lease if it does not exist', async () => {
    const world = createWorld();
    const a = start(world, 'a');
    await world.clock.advance(0);
    expect(a.elector.isLeader).toBe(true);
    expect(a.elector.leader).toBe('a');
    expect(a.leading).toEqual([false, true]);
    expect(specOf(world)).toEqual({
      holderIdentity: 'a',
      leaseDurationSeconds: 15,
      acquireTime: '2026-11-22T12:00:00.000000Z',
      renewTime: '2026-11-22T12:00:00.000000Z',
      leaseTransitions: 0,
    });
  });

  it('acquires a released Lease and keeps other fields', async () => {
    const world = createWorld();
    const labels = { team: 'storage' };
    const lease = heldBy('', { leaseTransitions: 4, strategy: 'OldestEmulationVersion' });
    world.server.put(PATH, { ...lease, metadata: { name: 'storage-probe', namespace: 'storage', labels } });
    start(world, 'a');
    await world.clock.advance(0);
    expect(specOf(world)).toMatchObject({
      holderIdentity: 'a',
      leaseTransitions: 5,
      strategy: 'OldestEmulationVersion',
    });
    expect(world.server.get(PATH)?.metadata.labels).toEqual(labels);
  });

  it('waits for the lease duration after it first saw the record, and ignores renewTime', async () => {
    const world = createWorld();
    world.server.put(PATH, heldBy('dead'));
    const a = start(world, 'a');
    await world.clock.advance(14_999);
    expect(a.elector.isLeader).toBe(false);
    expect(a.elector.leader).toBe('dead');
    await world.clock.advance(1);
    expect(a.elector.isLeader).toBe(true);
  });

  it('restarts the wait at each renewal', async () => {
    const world = createWorld();
    const a = start(world, 'a');
    for (let renewal = 0; renewal < 10; renewal += 1) {
      world.server.put(PATH, heldBy('b', { renewTime: `renewal ${renewal}` }));
      await world.clock.advance(10_000);
      expect(a.elector.isLeader).toBe(false);
    }
    await world.clock.advance(5_000);
    expect(a.elector.isLeader).toBe(true);
  });

  it('does not treat a metadata change as a renewal', async () => {
    const world = createWorld();
    world.server.put(PATH, heldBy('dead'));
    const a = start(world, 'a');
    await world.clock.advance(10_000);
    const labels = { touched: 'yes' };
    world.server.put(PATH, {
      ...heldBy('dead'),
      metadata: { name: 'storage-probe', namespace: 'storage', labels },
    });
    await world.clock.advance(5_000);
    expect(a.elector.isLeader).toBe(true);
  });

  it('waits until a deleted Lease would have expired', async () => {
    const world = createWorld();
    world.server.put(PATH, heldBy('b'));
    const a = start(world, 'a');
    await world.clock.advance(10_000);
    world.server.delete(PATH);
    await world.clock.advance(4_999);
    expect(a.elector.isLeader).toBe(false);
    await world.clock.advance(1);
    expect(a.elector.isLeader).toBe(true);
  });

  it.each(['POST', 'PUT'] as const)('stands by if another process was faster: %s', async (method) => {
    const world = createWorld();
    if (method === 'PUT') world.server.put(PATH, heldBy(''));
    const a = start(world, 'a');
    a.client.onRequest = (request) => {
      if (request.method === method && specOf(world)?.['holderIdentity'] !== 'b') {
        world.server.put(PATH, heldBy('b'));
      }
    };
    await world.clock.advance(10_000);
    expect(a.elector.leader).toBe('b');
    expect(a.elector.isLeader).toBe(false);
    expect(a.log.warn).not.toHaveBeenCalled();
  });

  it('becomes the leader if only the response to its create request was lost', async () => {
    const world = createWorld();
    const a = start(world, 'a');
    let isLost = true;
    a.client.onResponse = ({ method }) => {
      if (method === 'POST' && isLost) {
        isLost = false;
        throw kubeError(0, 'ConnectionFailed');
      }
    };
    await world.clock.advance(2_000);
    expect(isLost).toBe(false);
    expect(a.elector.isLeader).toBe(true);
    expect(specOf(world)).toMatchObject({ holderIdentity: 'a', leaseTransitions: 0 });
    expect(a.taskSignals).toHaveLength(1);
  });
});

describe('a standby', () => {
  it('takes over immediately when the leader releases the Lease', async () => {
    const world = createWorld();
    const a = start(world, 'a');
    await world.clock.advance(0);
    const b = start(world, 'b');
    await world.clock.advance(7_500);
    a.stop.abort(SHUTDOWN);
    await a.stopped;
    await world.clock.advance(0);
    expect(b.elector.isLeader).toBe(true);
    expect(a.elector.isLeader).toBe(false);
    expect(specOf(world)).toMatchObject({ holderIdentity: 'b', leaseTransitions: 1 });
    const fields = { lease: 'storage/storage-probe', identity: 'b' };
    expect(b.log.info.mock.calls).toEqual([
      [{ ...fields, leader: 'a' }, 'new leader elected'],
      [fields, 'became the leader'],
    ]);
  });

  it('takes over immediately if the Lease is released during an attempt', async () => {
    const world = createWorld();
    world.server.put(PATH, heldBy('b', { leaseDurationSeconds: 3_600 }));
    const a = start(world, 'a');
    await world.clock.advance(1_000);
    a.client.onResponse = async () => {
      a.client.onResponse = () => undefined;
      world.server.put(PATH, heldBy(''));
      await setImmediate();
    };
    await world.clock.advance(1_000);
    await world.clock.advance(0);
    expect(a.elector.isLeader).toBe(true);
  });

  it('polls if it cannot watch, and logs this once', async () => {
    const world = createWorld();
    world.server.put(PATH, heldBy('b', { leaseDurationSeconds: 3_600 }));
    const a = start(world, 'a');
    a.client.onRequest = ({ query }) => {
      if (query?.['watch'] === true) throw kubeError(403, 'Forbidden');
    };
    await world.clock.advance(60_000);
    expect(a.log.warn.mock.calls).toEqual([
      [
        { lease: 'storage/storage-probe', identity: 'a', reason: 'Forbidden', error: 'HTTP 403 Forbidden' },
        'watching the Lease failed; polling instead',
      ],
    ]);
    world.server.put(PATH, heldBy(''));
    await world.clock.advance(2_000);
    expect(a.elector.isLeader).toBe(true);
  });

  it('reopens its watch no more often than it polls, even if the server keeps closing it', async () => {
    const world = createWorld();
    world.server.put(PATH, heldBy('b', { leaseDurationSeconds: 3_600 }));
    const a = start(world, 'a');
    for (let ms = 0; ms < 60_000; ms += 100) {
      world.server.closeWatches();
      await world.clock.advance(100);
    }
    const watches = a.client.requests.filter(({ query }) => query?.['watch'] === true);
    expect(watches.length).toBeGreaterThan(25);
    expect(a.client.requests.length).toBeLessThan(65);
  });

  it('does not retry faster if it cannot acquire a released Lease', async () => {
    const world = createWorld();
    world.server.put(PATH, heldBy(''));
    const a = start(world, 'a');
    a.client.onRequest = ({ method }) => {
      world.server.closeWatches();
      if (method === 'PUT') throw kubeError(403, 'Forbidden');
    };
    await world.clock.advance(60_000);
    expect(a.client.requests.length).toBeLessThan(100);
    expect(a.log.warn).toHaveBeenCalledTimes(1);
  });

  it('closes its watch when it becomes the leader or stops', async () => {
    const world = createWorld();
    world.server.put(PATH, heldBy('dead'));
    const a = start(world, 'a');
    await world.clock.advance(10_000);
    expect(world.server.watches).toBe(1);
    await world.clock.advance(10_000);
    expect(a.elector.isLeader).toBe(true);
    expect(world.server.watches).toBe(0);

    const b = start(world, 'b');
    await world.clock.advance(1_000);
    b.stop.abort(SHUTDOWN);
    await b.stopped;
    expect(world.server.watches).toBe(0);
    expect(b.taskSignals).toEqual([]);
    expect(specOf(world)).toMatchObject({ holderIdentity: 'a' });
  });

  it('logs once per episode why it cannot acquire the Lease', async () => {
    const world = createWorld();
    const a = start(world, 'a');
    a.client.onRequest = () => {
      throw kubeError(403, 'Forbidden');
    };
    await world.clock.advance(60_000);
    expect(
      a.log.warn.mock.calls.filter(([, message]) => message === 'reading or writing the Lease failed'),
    ).toEqual([
      [
        { lease: 'storage/storage-probe', identity: 'a', reason: 'Forbidden', error: 'HTTP 403 Forbidden' },
        expect.any(String),
      ],
    ]);
    a.client.onRequest = () => undefined;
    await world.clock.advance(2_000);
    expect(a.elector.isLeader).toBe(true);
    expect(a.log.info).toHaveBeenCalledWith(expect.anything(), 'Lease reachable again');
  });
});

describe('a leader', () => {
  it('renews its Lease', async () => {
    const world = createWorld();
    const a = start(world, 'a');
    await world.clock.advance(3_600_000);
    expect(a.taskSignals).toHaveLength(1);
    expect(a.taskSignals[0]?.aborted).toBe(false);
    expect(specOf(world)).toMatchObject({
      acquireTime: '2026-11-22T12:00:00.000000Z',
      renewTime: '2026-11-22T13:00:00.000000Z',
      leaseTransitions: 0,
    });
    expect(a.client.requests.filter(({ method }) => method === 'GET')).toHaveLength(1);
  });

  it.each([
    { name: 'fail', fault: unreachable },
    { name: 'hang', fault: hang },
  ])('stops at its renew deadline when requests $name, and leads again later', async ({ fault }) => {
    const world = createWorld();
    const a = start(world, 'a');
    await world.clock.advance(3_000);
    a.client.onRequest = fault;
    // The last renewal was sent at 2 s.
    await world.clock.advance(8_999);
    expect(a.elector.isLeader).toBe(true);
    expect(a.taskSignals[0]?.aborted).toBe(false);
    await world.clock.advance(1);
    expect(a.elector.isLeader).toBe(false);
    expect(a.taskSignals[0]?.reason).toBeInstanceOf(LeadershipLostError);
    expect(a.leading).toEqual([false, true, false]);

    a.client.onRequest = () => undefined;
    await world.clock.advance(10_000);
    expect(a.elector.isLeader).toBe(true);
    expect(a.taskSignals).toHaveLength(2);
  });

  it('measures the renew deadline from the request, not from the response', async () => {
    const world = createWorld();
    const a = start(world, 'a');
    a.client.onResponse = async ({ method }) => {
      if (method === 'PUT') await world.clock.sleep(4_000, new AbortController().signal);
    };
    await world.clock.advance(6_500);
    a.client.onRequest = hang;
    await world.clock.advance(5_400);
    expect(a.elector.isLeader).toBe(true);
    await world.clock.advance(100);
    expect(a.elector.isLeader).toBe(false);
  });

  it('is not the leader after its renew deadline, even if no timer fired', async () => {
    const world = createWorld();
    const a = start(world, 'a');
    await world.clock.advance(100);
    const monotonicMs = vi.spyOn(world.clock, 'monotonicMs');
    monotonicMs.mockReturnValue(9_999);
    expect(a.elector.isLeader).toBe(true);
    monotonicMs.mockReturnValue(10_000);
    expect(a.elector.isLeader).toBe(false);
  });

  it('keeps leading after a failed renewal and after a write by another client', async () => {
    const world = createWorld();
    const a = start(world, 'a');
    await world.clock.advance(1_000);
    a.client.onRequest = unreachable;
    await world.clock.advance(2_000);
    a.client.onRequest = () => undefined;
    world.server.put(PATH, { ...world.server.get(PATH) });
    await world.clock.advance(60_000);
    expect(a.taskSignals).toHaveLength(1);
    expect(a.elector.isLeader).toBe(true);
  });

  it('creates the Lease again if it was deleted', async () => {
    const world = createWorld();
    const a = start(world, 'a');
    await world.clock.advance(1_000);
    world.server.delete(PATH);
    await world.clock.advance(60_000);
    expect(a.taskSignals).toHaveLength(1);
    expect(specOf(world)).toMatchObject({ holderIdentity: 'a' });
  });

  it('stops as soon as another process holds the Lease', async () => {
    const world = createWorld();
    const a = start(world, 'a');
    await world.clock.advance(1_000);
    world.server.put(PATH, heldBy('b'));
    await world.clock.advance(1_000);
    expect(a.elector.isLeader).toBe(false);
    expect(a.taskSignals[0]?.aborted).toBe(true);
    expect(a.elector.leader).toBe('b');
  });

  it('tries to acquire again only after its task has settled', async () => {
    const world = createWorld();
    const a = start(world, 'a', async (signal) => {
      await untilAborted(signal);
      await world.clock.sleep(60_000, new AbortController().signal);
    });
    await world.clock.advance(1_000);
    world.server.put(PATH, heldBy(''));
    world.server.put(PATH, heldBy('b'));
    await world.clock.advance(59_000);
    expect(a.taskSignals).toHaveLength(1);
    expect(specOf(world)).toMatchObject({ holderIdentity: 'b' });
    await world.clock.advance(60_000);
    expect(a.taskSignals).toHaveLength(2);
  });
});

describe('a leader with keepsLeadershipWhileUnreachable', () => {
  const KEEPS_LEADING = { keepsLeadershipWhileUnreachable: true };
  const stillLeading = 'API server unavailable; still leading without the Lease';

  it.each([
    { name: 'fail', fault: unreachable },
    { name: 'hang', fault: hang },
    { name: 'get a 503', fault: unavailable },
  ])('keeps leading while requests $name, and renews the Lease afterwards', async ({ fault }) => {
    const world = createWorld();
    const a = start(world, 'a', untilAborted, KEEPS_LEADING);
    await world.clock.advance(3_000);
    a.client.onRequest = fault;
    await world.clock.advance(8_999);
    expect(a.leading).toEqual([false, true]);
    await world.clock.advance(1);
    expect(a.elector.isLeader).toBe(false);
    expect(a.leading).toEqual([false, true, false]);
    await world.clock.advance(3_600_000);
    expect(a.elector.isLeader).toBe(false);
    expect(a.taskSignals[0]?.aborted).toBe(false);
    expect(a.log.warn.mock.calls.map(([, message]) => String(message))).toEqual([
      'reading or writing the Lease failed',
      stillLeading,
    ]);
    expect(a.client.requests.length).toBeLessThan(2_000);

    a.client.onRequest = () => undefined;
    await world.clock.advance(7_000);
    expect(a.elector.isLeader).toBe(true);
    expect(a.leading).toEqual([false, true, false, true]);
    expect(a.taskSignals).toHaveLength(1);
    expect(a.log.info).toHaveBeenLastCalledWith(expect.anything(), 'renewed the Lease after the outage');
    expect(specOf(world)).toMatchObject({ holderIdentity: 'a', leaseTransitions: 0 });
    await world.clock.advance(60_000);
    expect(a.taskSignals[0]?.aborted).toBe(false);
    expect(a.elector.isLeader).toBe(true);
  });

  it('stops as soon as it learns that another process holds the Lease', async () => {
    const world = createWorld();
    const a = start(world, 'a', untilAborted, KEEPS_LEADING);
    await world.clock.advance(1_000);
    a.client.onRequest = unreachable;
    await world.clock.advance(30_000);
    world.server.put(PATH, heldBy('b'));
    expect(a.taskSignals[0]?.aborted).toBe(false);
    a.client.onRequest = () => undefined;
    await world.clock.advance(2_000);
    expect(a.taskSignals[0]?.reason).toBeInstanceOf(LeadershipLostError);
    expect(a.elector.leader).toBe('b');
    expect(specOf(world)).toMatchObject({ holderIdentity: 'b' });
  });

  it.each([
    { name: 'refuses', fault: forbidden },
    { name: 'throttles', fault: throttled },
  ])('stops at its renew deadline if the server $name the renewals', async ({ fault }) => {
    const world = createWorld();
    const a = start(world, 'a', untilAborted, KEEPS_LEADING);
    await world.clock.advance(1_000);
    a.client.onRequest = fault;
    await world.clock.advance(8_999);
    expect(a.taskSignals[0]?.aborted).toBe(false);
    await world.clock.advance(1);
    expect(a.taskSignals[0]?.reason).toBeInstanceOf(LeadershipLostError);
  });

  it('stops if another process led and released the Lease during the outage', async () => {
    const world = createWorld();
    const a = start(world, 'a', untilAborted, KEEPS_LEADING);
    await world.clock.advance(1_000);
    a.client.onRequest = unreachable;
    await world.clock.advance(30_000);
    world.server.put(PATH, heldBy('', { leaseTransitions: 1 }));
    a.client.onRequest = () => undefined;
    await world.clock.advance(4_000);
    expect(a.taskSignals[0]?.reason).toBeInstanceOf(LeadershipLostError);
    expect(a.taskSignals).toHaveLength(2);
    expect(specOf(world)).toMatchObject({ holderIdentity: 'a', leaseTransitions: 2 });
  });

  it('tolerates refusals for one renew deadline after an outage', async () => {
    const world = createWorld();
    const a = start(world, 'a', untilAborted, KEEPS_LEADING);
    await world.clock.advance(1_000);
    a.client.onRequest = unreachable;
    await world.clock.advance(30_000);
    a.client.onRequest = forbidden;
    await world.clock.advance(7_000);
    expect(a.taskSignals[0]?.aborted).toBe(false);
    a.client.onRequest = () => undefined;
    await world.clock.advance(2_000);
    expect(a.elector.isLeader).toBe(true);

    a.client.onRequest = unreachable;
    await world.clock.advance(30_000);
    a.client.onRequest = forbidden;
    await world.clock.advance(12_000);
    expect(a.taskSignals[0]?.reason).toBeInstanceOf(LeadershipLostError);
  });

  it('does not mistake its own suspension for an outage', async () => {
    const world = createWorld();
    const a = start(world, 'a', untilAborted, KEEPS_LEADING);
    await world.clock.advance(1_000);
    // After the suspension, the leader's timers fire late, all at once.
    const monotonicMs = world.clock.monotonicMs.bind(world.clock);
    vi.spyOn(world.clock, 'monotonicMs').mockImplementation(() => monotonicMs() + 60_000);
    world.server.put(PATH, heldBy('b'));
    await world.clock.advance(1_000);
    expect(a.taskSignals[0]?.reason).toBeInstanceOf(LeadershipLostError);
    expect(a.log.warn.mock.calls.map(([, message]) => String(message))).toEqual(['lost leadership']);
  });

  it('is still the leader after the outage, even if a standby reconnects first', async () => {
    const world = createWorld();
    const a = start(world, 'a', untilAborted, KEEPS_LEADING);
    await world.clock.advance(1_000);
    const b = start(world, 'b', untilAborted, KEEPS_LEADING);
    await world.clock.advance(5_000);
    a.client.onRequest = unreachable;
    b.client.onRequest = unreachable;
    world.server.closeWatches();
    await world.clock.advance(60_000);
    b.client.onRequest = () => undefined;
    await world.clock.advance(10_000);
    expect(b.taskSignals).toEqual([]);
    a.client.onRequest = () => undefined;
    await world.clock.advance(60_000);
    expect(b.taskSignals).toEqual([]);
    expect(a.taskSignals[0]?.aborted).toBe(false);
    expect(a.elector.isLeader).toBe(true);
  });

  it('is replaced if it does not return after the outage', async () => {
    const world = createWorld();
    world.server.put(PATH, heldBy('dead'));
    const b = start(world, 'b', untilAborted, KEEPS_LEADING);
    await world.clock.advance(5_000);
    b.client.onRequest = unreachable;
    await world.clock.advance(60_000);
    b.client.onRequest = () => undefined;
    await world.clock.advance(14_999);
    expect(b.elector.isLeader).toBe(false);
    await world.clock.advance(2_001);
    expect(b.elector.isLeader).toBe(true);
  });

  it('never has isLeader true in two processes at once, whichever requests fail', async () => {
    const behavior = fc.constantFrom(() => undefined, unreachable, hang, forbidden, unavailable);
    const step = fc.record({
      index: fc.nat(2),
      onRequest: behavior,
      onResponse: behavior,
      durationMs: fc.integer({ min: 0, max: 12_000 }),
      leaves: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const world = createWorld();
        const join = (identity: string): Candidate => start(world, identity, untilAborted, KEEPS_LEADING);
        const all = ['0', '1', '2'].map(join);
        const present = [...all];
        const leaders = (): number => all.filter(({ elector }) => elector.isLeader).length;
        for (const { index, onRequest, onResponse, durationMs, leaves } of steps) {
          Object.assign(present[index]?.client ?? {}, { onRequest, onResponse });
          for (let ms = 0; ms < durationMs; ms += 500) {
            await world.clock.advance(500);
            expect(leaders()).toBeLessThan(2);
          }
          if (!leaves) continue;
          present[index]?.stop.abort(SHUTDOWN);
          present[index] = join(String(all.length));
          all.push(present[index]);
        }
        for (const { client } of all)
          Object.assign(client, { onRequest: () => undefined, onResponse: () => undefined });
        await world.clock.advance(40_000);
        expect(leaders()).toBe(1);
        for (const { stop } of present) stop.abort(SHUTDOWN);
        await Promise.all(all.map(({ stopped }) => stopped));
      }),
      { numRuns: 100 },
    );
  });

  it.each([
    { name: 'fail', fault: unreachable },
    { name: 'hang', fault: hang },
  ])('stops within seconds while requests $name', async ({ fault }) => {
    const world = createWorld();
    const a = start(world, 'a', untilAborted, KEEPS_LEADING);
    await world.clock.advance(1_000);
    a.client.onRequest = fault;
    await world.clock.advance(60_000);
    a.stop.abort(SHUTDOWN);
    await world.clock.advance(5_000);
    await a.stopped;
    expect(a.taskSignals[0]?.reason).toBe(SHUTDOWN);
    expect(world.clock.pendingTimers).toBe(0);
  });
});

describe('the number of a term', () => {
  it('is different for each leader, and kept by a leader that creates its Lease again', async () => {
    const world = createWorld();
    const numbers: string[] = [];
    const taskOf =
      (identity: string): LeaderTask =>
      (signal, { number }) => {
        numbers.push(`${identity}${number}`);
        return untilAborted(signal);
      };
    const a = start(world, 'a', taskOf('a'), { keepsLeadershipWhileUnreachable: true });
    await world.clock.advance(1_000);
    a.client.onRequest = unreachable;
    const b = start(world, 'b', taskOf('b'));
    await world.clock.advance(20_000);
    world.server.delete(PATH);
    await world.clock.advance(3_000);
    expect(specOf(world)).toMatchObject({ holderIdentity: 'b', leaseTransitions: 1 });
    b.stop.abort(SHUTDOWN);
    await b.stopped;
    a.client.onRequest = () => undefined;
    await world.clock.advance(5_000);
    expect(numbers).toEqual(['a0', 'b1', 'a2']);
  });
});

it('sends all requests about the Lease as urgent', async () => {
  const world = createWorld();
  const a = start(world, 'a');
  await world.clock.advance(5_000);
  const requests = a.client.requests.filter(({ query }) => query?.['watch'] !== true);
  expect(requests.length).toBeGreaterThan(2);
  expect(requests.filter(({ isUrgent }) => isUrgent !== true)).toEqual([]);
});

describe('the note for the next leader', () => {
  const noteAnnotation = 'example.com/note';

  it('is passed to one leader only, after a clean shutdown', async () => {
    const world = createWorld();
    const notes: (string | undefined)[] = [];
    const task = async (signal: AbortSignal, { note }: Term): Promise<string> => {
      notes.push(note);
      await untilAborted(signal);
      return `from ${notes.length}`;
    };
    const a = start(world, 'a', task, { noteAnnotation });
    await world.clock.advance(1_000);
    a.stop.abort(SHUTDOWN);
    await a.stopped;
    const b = start(world, 'b', task, { noteAnnotation });
    await world.clock.advance(1_000);
    b.client.onRequest = unreachable;
    const c = start(world, 'c', task, { noteAnnotation });
    await world.clock.advance(40_000);
    expect(c.elector.isLeader).toBe(true);
    expect(notes).toEqual([undefined, 'from 1', undefined]);
  });
});

describe('shutdown', () => {
  it('keeps the Lease until the task has settled, then releases it', async () => {
    const world = createWorld();
    const a = start(world, 'a', async (signal) => {
      await untilAborted(signal);
      await world.clock.sleep(30_000, new AbortController().signal);
      signal.throwIfAborted();
    });
    await world.clock.advance(1_000);
    a.stop.abort(SHUTDOWN);
    await world.clock.advance(29_000);
    expect(a.taskSignals[0]?.reason).toBe(SHUTDOWN);
    expect(a.elector.isLeader).toBe(true);
    await world.clock.advance(1_000);
    await a.stopped;
    expect(specOf(world)).toMatchObject({ holderIdentity: '', leaseDurationSeconds: 1, leaseTransitions: 0 });
    expect(a.leading).toEqual([false, true, false]);
    expect(world.clock.pendingTimers).toBe(0);
  });

  it('completes even if the API server does not respond', async () => {
    const world = createWorld();
    const a = start(world, 'a');
    await world.clock.advance(1_000);
    a.client.onRequest = hang;
    a.stop.abort(SHUTDOWN);
    await world.clock.advance(5_000);
    await a.stopped;
    expect(a.log.warn).toHaveBeenCalledWith(
      expect.objectContaining({ reason: 'TimeoutError' }),
      'could not release the Lease; standbys must wait until it expires',
    );
  });

  it('aborts a renewal in progress at once, and releases within the given time', async () => {
    const world = createWorld();
    const a = start(world, 'a', untilAborted, { releaseTimeoutMs: () => 300 });
    await world.clock.advance(1_000);
    a.client.onRequest = hang;
    await world.clock.advance(2_000);
    a.stop.abort(SHUTDOWN);
    await world.clock.advance(300);
    await expect(a.stopped).resolves.toBeUndefined();
  });

  it('releases the Lease even if an aborted renewal changed it', async () => {
    const world = createWorld();
    const a = start(world, 'a');
    await world.clock.advance(1_000);
    a.client.onResponse = ({ method, body }) =>
      method === 'PUT' && JSON.stringify(body).includes('"holderIdentity":"a"') ? hang() : undefined;
    await world.clock.advance(1_500);
    a.stop.abort(SHUTDOWN);
    await a.stopped;
    expect(specOf(world)).toMatchObject({ holderIdentity: '' });
  });

  it('throws the error of the task, after the release', async () => {
    const world = createWorld();
    const error = new Error('no schedule');
    const a = start(world, 'a', () => Promise.reject(error));
    await expect(a.stopped).rejects.toBe(error);
    expect(specOf(world)).toMatchObject({ holderIdentity: '' });
    expect(a.elector.isLeader).toBe(false);
  });

  it('also happens when the task resolves', async () => {
    const world = createWorld();
    const a = start(world, 'a', () => Promise.resolve());
    await a.stopped;
    expect(specOf(world)).toMatchObject({ holderIdentity: '' });
    expect(world.clock.pendingTimers).toBe(0);
  });
});

it('never has two leaders, whichever requests fail, and has one when no request fails', async () => {
  const behaviors = {
    ok: () => undefined,
    unreachable,
    hanging: hang,
    forbidden: () => {
      throw kubeError(403, 'Forbidden');
    },
  };
  const behavior = fc.constantFrom(...Object.values(behaviors));
  const step = fc.record({
    index: fc.nat(2),
    onRequest: behavior,
    onResponse: behavior,
    durationMs: fc.integer({ min: 0, max: 12_000 }),
    next: fc.constantFrom('nothing', 'leave', 'closeWatches'),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const world = createWorld();
      const leading = new Set<string>();
      let hadTwoLeaders = false;
      let joined = 0;
      function join(): Candidate {
        const identity = `candidate-${(joined += 1)}`;
        return start(world, identity, async (signal) => {
          leading.add(identity);
          hadTwoLeaders ||= leading.size > 1;
          await untilAborted(signal);
          leading.delete(identity);
        });
      }
      const candidates = [join(), join(), join()];
      for (const { index, onRequest, onResponse, durationMs, next } of steps) {
        const candidate = candidates[index] as Candidate;
        Object.assign(candidate.client, { onRequest, onResponse });
        await world.clock.advance(durationMs);
        if (next === 'closeWatches') world.server.closeWatches();
        if (next === 'leave') {
          candidate.stop.abort(SHUTDOWN);
          candidates[index] = join();
        }
      }
      for (const { client } of candidates)
        Object.assign(client, { onRequest: behaviors.ok, onResponse: behaviors.ok });
      await world.clock.advance(25_000);
      expect(hadTwoLeaders).toBe(false);
      expect(candidates.filter(({ elector }) => elector.isLeader)).toHaveLength(1);
      expect(leading.size).toBe(1);
      for (const { stop } of candidates) stop.abort(SHUTDOWN);
      await Promise.all(candidates.map(({ stopped }) => stopped));
    }),
    { numRuns: 100 },
  );
});

it('rejects durations that do not fit together', () => {
  const { clock, server } = createWorld();
  const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };
  const names = { namespace: 'storage', name: 'storage-probe', identity: 'a' };
  const options = { client: server.connect(), clock, random: Math.random, log, ...names };
  expect(() => new LeaderElector({ ...options, leaseDurationMs: 10_000 })).toThrow(RangeError);
  expect(() => new LeaderElector({ ...options, retryPeriodMs: 9_000 })).toThrow(RangeError);
});
