import fc from 'fast-check';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it, onTestFinished, vi } from 'vitest';

import { FakeApiServer, type FakeKubeClient, hang, refusal } from '../../test/support/fake-api-server.ts';
import { ManualClock } from '../clock/manual-clock.ts';
import {
  type Lead,
  LEASE,
  LeaderElector,
  type LeaderElectorOptions,
  LeadershipLostError,
} from './leader-elector.ts';
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
  /** The signals of each time that it led. */
  readonly leads: AbortSignal[];
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

function makeWorld(): World {
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
  lead: Lead = untilAborted,
  options: Partial<LeaderElectorOptions> = {},
): Candidate {
  const client = server.connect();
  const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };
  const leading: boolean[] = [];
  const leads: AbortSignal[] = [];
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
  const ended = elector.run((signal, note) => {
    leads.push(signal);
    return lead(signal, note);
  }, stop.signal);
  onTestFinished(() => stop.abort());
  return { elector, client, log, leading, leads, stop, ended };
}

function specOf({ server }: World): Record<string, unknown> | undefined {
  return (server.get(PATH) as { spec?: Record<string, unknown> } | undefined)?.spec;
}

function heldBy(identity: string, spec: object = {}): object {
  return {
    metadata: { namespace: 'storage', name: 'storage-probe' },
    // Long gone by the wall clock, which must not count.
    spec: {
      holderIdentity: identity,
      leaseDurationSeconds: 15,
      renewTime: '2020-01-01T00:00:00.000000Z',
      ...spec,
    },
  };
}

function never(): Promise<never> {
  throw refusal(0, 'ConnectionFailed');
}

function unavailable(): never {
  throw refusal(503, 'ServiceUnavailable');
}

function busy(): never {
  throw refusal(429, 'TooManyRequests');
}

function forbidden(): never {
  throw refusal(403, 'Forbidden');
}

describe('taking the lead', () => {
  it('makes the Lease where there is none', async () => {
    const world = makeWorld();
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

  it('takes one that nobody holds, and keeps what others wrote there', async () => {
    const world = makeWorld();
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

  it('waits for as long as the record stays as it is, whatever time the record tells', async () => {
    const world = makeWorld();
    world.server.put(PATH, heldBy('gone'));
    const a = start(world, 'a');
    await world.clock.advance(14_999);
    expect(a.elector.isLeader).toBe(false);
    expect(a.elector.leader).toBe('gone');
    await world.clock.advance(1);
    expect(a.elector.isLeader).toBe(true);
  });

  it('waits anew with each renewal', async () => {
    const world = makeWorld();
    const a = start(world, 'a');
    for (let renewal = 0; renewal < 10; renewal += 1) {
      world.server.put(PATH, heldBy('b', { renewTime: `renewal ${renewal}` }));
      await world.clock.advance(10_000);
      expect(a.elector.isLeader).toBe(false);
    }
    await world.clock.advance(5_000);
    expect(a.elector.isLeader).toBe(true);
  });

  it('does not take a change of other things for a renewal', async () => {
    const world = makeWorld();
    world.server.put(PATH, heldBy('gone'));
    const a = start(world, 'a');
    await world.clock.advance(10_000);
    const labels = { touched: 'yes' };
    world.server.put(PATH, {
      ...heldBy('gone'),
      metadata: { name: 'storage-probe', namespace: 'storage', labels },
    });
    await world.clock.advance(5_000);
    expect(a.elector.isLeader).toBe(true);
  });

  it('lets a Lease that somebody deletes count until it would have expired', async () => {
    const world = makeWorld();
    world.server.put(PATH, heldBy('b'));
    const a = start(world, 'a');
    await world.clock.advance(10_000);
    world.server.delete(PATH);
    await world.clock.advance(4_999);
    expect(a.elector.isLeader).toBe(false);
    await world.clock.advance(1);
    expect(a.elector.isLeader).toBe(true);
  });

  it.each(['POST', 'PUT'] as const)('leaves it to who was faster: %s', async (method) => {
    const world = makeWorld();
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

  it('leads after all when the answer to its taking was lost', async () => {
    const world = makeWorld();
    const a = start(world, 'a');
    let isLost = true;
    a.client.onAnswer = ({ method }) => {
      if (method === 'POST' && isLost) {
        isLost = false;
        throw refusal(0, 'ConnectionFailed');
      }
    };
    await world.clock.advance(2_000);
    expect(isLost).toBe(false);
    expect(a.elector.isLeader).toBe(true);
    expect(specOf(world)).toMatchObject({ holderIdentity: 'a', leaseTransitions: 0 });
    expect(a.leads).toHaveLength(1);
  });
});

describe('a standby', () => {
  it('takes over at once when the leader leaves', async () => {
    const world = makeWorld();
    const a = start(world, 'a');
    await world.clock.advance(0);
    const b = start(world, 'b');
    await world.clock.advance(7_500);
    a.stop.abort(SHUTDOWN);
    await a.ended;
    await world.clock.advance(0);
    expect(b.elector.isLeader).toBe(true);
    expect(a.elector.isLeader).toBe(false);
    expect(specOf(world)).toMatchObject({ holderIdentity: 'b', leaseTransitions: 1 });
    const fields = { lease: 'storage/storage-probe', identity: 'b' };
    expect(b.log.info.mock.calls).toEqual([
      [{ ...fields, leader: 'a' }, 'there is a new leader'],
      [fields, 'became the leader'],
    ]);
  });

  it('does so also when it sees that in the middle of an attempt', async () => {
    const world = makeWorld();
    world.server.put(PATH, heldBy('b', { leaseDurationSeconds: 3_600 }));
    const a = start(world, 'a');
    await world.clock.advance(1_000);
    a.client.onAnswer = async () => {
      a.client.onAnswer = () => undefined;
      world.server.put(PATH, heldBy(''));
      await setImmediate();
    };
    await world.clock.advance(1_000);
    await world.clock.advance(0);
    expect(a.elector.isLeader).toBe(true);
  });

  it('polls where it cannot watch, and says so once', async () => {
    const world = makeWorld();
    world.server.put(PATH, heldBy('b', { leaseDurationSeconds: 3_600 }));
    const a = start(world, 'a');
    a.client.onRequest = ({ query }) => {
      if (query?.['watch'] === true) throw refusal(403, 'Forbidden');
    };
    await world.clock.advance(60_000);
    expect(a.log.warn.mock.calls).toEqual([
      [
        { lease: 'storage/storage-probe', identity: 'a', reason: 'Forbidden', error: 'HTTP 403 Forbidden' },
        'the Lease cannot be watched and is only polled',
      ],
    ]);
    world.server.put(PATH, heldBy(''));
    await world.clock.advance(2_000);
    expect(a.elector.isLeader).toBe(true);
  });

  it('opens a watch that breaks off again and again no faster than it polls', async () => {
    const world = makeWorld();
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

  it('does not hurry after a release that it cannot use', async () => {
    const world = makeWorld();
    world.server.put(PATH, heldBy(''));
    const a = start(world, 'a');
    a.client.onRequest = ({ method }) => {
      world.server.closeWatches();
      if (method === 'PUT') throw refusal(403, 'Forbidden');
    };
    await world.clock.advance(60_000);
    expect(a.client.requests.length).toBeLessThan(100);
    expect(a.log.warn).toHaveBeenCalledTimes(1);
  });

  it('has no watch any more once it leads, nor once it has ended', async () => {
    const world = makeWorld();
    world.server.put(PATH, heldBy('gone'));
    const a = start(world, 'a');
    await world.clock.advance(10_000);
    expect(world.server.watches).toBe(1);
    await world.clock.advance(10_000);
    expect(a.elector.isLeader).toBe(true);
    expect(world.server.watches).toBe(0);

    const b = start(world, 'b');
    await world.clock.advance(1_000);
    b.stop.abort(SHUTDOWN);
    await b.ended;
    expect(world.server.watches).toBe(0);
    expect(b.leads).toEqual([]);
    expect(specOf(world)).toMatchObject({ holderIdentity: 'a' });
  });

  it('says once per spell why it cannot take the Lease', async () => {
    const world = makeWorld();
    const a = start(world, 'a');
    a.client.onRequest = () => {
      throw refusal(403, 'Forbidden');
    };
    await world.clock.advance(60_000);
    expect(
      a.log.warn.mock.calls.filter(([, message]) => message === 'the Lease cannot be read or written'),
    ).toEqual([
      [
        { lease: 'storage/storage-probe', identity: 'a', reason: 'Forbidden', error: 'HTTP 403 Forbidden' },
        expect.any(String),
      ],
    ]);
    a.client.onRequest = () => undefined;
    await world.clock.advance(2_000);
    expect(a.elector.isLeader).toBe(true);
    expect(a.log.info).toHaveBeenCalledWith(expect.anything(), 'the Lease can be reached again');
  });
});

describe('a leader', () => {
  it('renews its Lease', async () => {
    const world = makeWorld();
    const a = start(world, 'a');
    await world.clock.advance(3_600_000);
    expect(a.leads).toHaveLength(1);
    expect(a.leads[0]?.aborted).toBe(false);
    expect(specOf(world)).toMatchObject({
      acquireTime: '2026-11-22T12:00:00.000000Z',
      renewTime: '2026-11-22T13:00:00.000000Z',
      leaseTransitions: 0,
    });
    expect(a.client.requests.filter(({ method }) => method === 'GET')).toHaveLength(1);
  });

  it.each([
    { name: 'refuse', away: never },
    { name: 'hang', away: hang },
  ])('stops at its deadline when requests $name, and leads again when it can', async ({ away }) => {
    const world = makeWorld();
    const a = start(world, 'a');
    await world.clock.advance(3_000);
    a.client.onRequest = away;
    // The last renewal was sent at 2 s.
    await world.clock.advance(8_999);
    expect(a.elector.isLeader).toBe(true);
    expect(a.leads[0]?.aborted).toBe(false);
    await world.clock.advance(1);
    expect(a.elector.isLeader).toBe(false);
    expect(a.leads[0]?.reason).toBeInstanceOf(LeadershipLostError);
    expect(a.leading).toEqual([false, true, false]);

    a.client.onRequest = () => undefined;
    await world.clock.advance(10_000);
    expect(a.elector.isLeader).toBe(true);
    expect(a.leads).toHaveLength(2);
  });

  it('counts its deadline from when it sent the renewal, not from the answer', async () => {
    const world = makeWorld();
    const a = start(world, 'a');
    a.client.onAnswer = async ({ method }) => {
      if (method === 'PUT') await world.clock.sleep(4_000, new AbortController().signal);
    };
    await world.clock.advance(6_500);
    a.client.onRequest = hang;
    await world.clock.advance(5_400);
    expect(a.elector.isLeader).toBe(true);
    await world.clock.advance(100);
    expect(a.elector.isLeader).toBe(false);
  });

  it('is none after its deadline, though no timer went off', async () => {
    const world = makeWorld();
    const a = start(world, 'a');
    await world.clock.advance(100);
    const monotonicMs = vi.spyOn(world.clock, 'monotonicMs');
    monotonicMs.mockReturnValue(9_999);
    expect(a.elector.isLeader).toBe(true);
    monotonicMs.mockReturnValue(10_000);
    expect(a.elector.isLeader).toBe(false);
  });

  it('survives one failed renewal, and somebody who writes to the Lease', async () => {
    const world = makeWorld();
    const a = start(world, 'a');
    await world.clock.advance(1_000);
    a.client.onRequest = never;
    await world.clock.advance(2_000);
    a.client.onRequest = () => undefined;
    world.server.put(PATH, { ...world.server.get(PATH) });
    await world.clock.advance(60_000);
    expect(a.leads).toHaveLength(1);
    expect(a.elector.isLeader).toBe(true);
  });

  it('makes the Lease again when somebody deleted it', async () => {
    const world = makeWorld();
    const a = start(world, 'a');
    await world.clock.advance(1_000);
    world.server.delete(PATH);
    await world.clock.advance(60_000);
    expect(a.leads).toHaveLength(1);
    expect(specOf(world)).toMatchObject({ holderIdentity: 'a' });
  });

  it('stops as soon as it sees that somebody else has the Lease', async () => {
    const world = makeWorld();
    const a = start(world, 'a');
    await world.clock.advance(1_000);
    world.server.put(PATH, heldBy('b'));
    await world.clock.advance(1_000);
    expect(a.elector.isLeader).toBe(false);
    expect(a.leads[0]?.aborted).toBe(true);
    expect(a.elector.leader).toBe('b');
  });

  it('becomes a candidate only after what it led has ended', async () => {
    const world = makeWorld();
    const a = start(world, 'a', async (signal) => {
      await untilAborted(signal);
      await world.clock.sleep(60_000, new AbortController().signal);
    });
    await world.clock.advance(1_000);
    world.server.put(PATH, heldBy(''));
    world.server.put(PATH, heldBy('b'));
    await world.clock.advance(59_000);
    expect(a.leads).toHaveLength(1);
    expect(specOf(world)).toMatchObject({ holderIdentity: 'b' });
    await world.clock.advance(60_000);
    expect(a.leads).toHaveLength(2);
  });
});

describe('a leader that outlasts an outage', () => {
  const OUTLASTS = { keepsLeadWhileUnreachable: true };
  const without = 'leads on without the Lease: nobody can take it either';

  it.each([
    { name: 'refuse', away: never },
    { name: 'hang', away: hang },
    { name: 'are answered by 503', away: unavailable },
    { name: 'are answered by 429', away: busy },
  ])('leads on while requests $name, and then by its Lease again', async ({ away }) => {
    const world = makeWorld();
    const a = start(world, 'a', untilAborted, OUTLASTS);
    await world.clock.advance(3_000);
    a.client.onRequest = away;
    await world.clock.advance(8_999);
    expect(a.leading).toEqual([false, true]);
    await world.clock.advance(1);
    expect(a.elector.isLeader).toBe(false);
    expect(a.leading).toEqual([false, true, false]);
    await world.clock.advance(3_600_000);
    expect(a.elector.isLeader).toBe(false);
    expect(a.leads[0]?.aborted).toBe(false);
    expect(a.log.warn.mock.calls.map(([, message]) => String(message))).toEqual([
      'the Lease cannot be read or written',
      without,
    ]);
    expect(a.client.requests.length).toBeLessThan(2_000);

    a.client.onRequest = () => undefined;
    await world.clock.advance(7_000);
    expect(a.elector.isLeader).toBe(true);
    expect(a.leading).toEqual([false, true, false, true]);
    expect(a.leads).toHaveLength(1);
    expect(a.log.info).toHaveBeenLastCalledWith(expect.anything(), 'leads by the Lease again');
    expect(specOf(world)).toMatchObject({ holderIdentity: 'a', leaseTransitions: 0 });
    await world.clock.advance(60_000);
    expect(a.leads[0]?.aborted).toBe(false);
    expect(a.elector.isLeader).toBe(true);
  });

  it('stops at once when the answer is that somebody else has the Lease', async () => {
    const world = makeWorld();
    const a = start(world, 'a', untilAborted, OUTLASTS);
    await world.clock.advance(1_000);
    a.client.onRequest = never;
    await world.clock.advance(30_000);
    world.server.put(PATH, heldBy('b'));
    expect(a.leads[0]?.aborted).toBe(false);
    a.client.onRequest = () => undefined;
    await world.clock.advance(2_000);
    expect(a.leads[0]?.reason).toBeInstanceOf(LeadershipLostError);
    expect(a.elector.leader).toBe('b');
    expect(specOf(world)).toMatchObject({ holderIdentity: 'b' });
  });

  it('stops at its deadline when the server answers, and refuses', async () => {
    const world = makeWorld();
    const a = start(world, 'a', untilAborted, OUTLASTS);
    await world.clock.advance(1_000);
    a.client.onRequest = forbidden;
    await world.clock.advance(8_999);
    expect(a.leads[0]?.aborted).toBe(false);
    await world.clock.advance(1);
    expect(a.leads[0]?.reason).toBeInstanceOf(LeadershipLostError);
  });

  it('gives a server that is starting one more deadline to grant what it refuses at first', async () => {
    const world = makeWorld();
    const a = start(world, 'a', untilAborted, OUTLASTS);
    await world.clock.advance(1_000);
    a.client.onRequest = never;
    await world.clock.advance(30_000);
    a.client.onRequest = forbidden;
    await world.clock.advance(7_000);
    expect(a.leads[0]?.aborted).toBe(false);
    a.client.onRequest = () => undefined;
    await world.clock.advance(2_000);
    expect(a.elector.isLeader).toBe(true);

    a.client.onRequest = never;
    await world.clock.advance(30_000);
    a.client.onRequest = forbidden;
    await world.clock.advance(12_000);
    expect(a.leads[0]?.reason).toBeInstanceOf(LeadershipLostError);
  });

  it('does not take it for an outage that it was stopped for a while itself', async () => {
    const world = makeWorld();
    const a = start(world, 'a', untilAborted, OUTLASTS);
    await world.clock.advance(1_000);
    // Its timers go off late, all at once.
    const monotonicMs = world.clock.monotonicMs.bind(world.clock);
    vi.spyOn(world.clock, 'monotonicMs').mockImplementation(() => monotonicMs() + 60_000);
    world.server.put(PATH, heldBy('b'));
    await world.clock.advance(1_000);
    expect(a.leads[0]?.reason).toBeInstanceOf(LeadershipLostError);
    expect(a.log.warn.mock.calls.map(([, message]) => String(message))).toEqual(['lost the lead']);
  });

  it('has the lead after the outage, too, whoever sees the server first', async () => {
    const world = makeWorld();
    const a = start(world, 'a', untilAborted, OUTLASTS);
    await world.clock.advance(1_000);
    const b = start(world, 'b', untilAborted, OUTLASTS);
    await world.clock.advance(5_000);
    a.client.onRequest = never;
    b.client.onRequest = never;
    world.server.closeWatches();
    await world.clock.advance(60_000);
    b.client.onRequest = () => undefined;
    await world.clock.advance(10_000);
    expect(b.leads).toEqual([]);
    a.client.onRequest = () => undefined;
    await world.clock.advance(60_000);
    expect(b.leads).toEqual([]);
    expect(a.leads[0]?.aborted).toBe(false);
    expect(a.elector.isLeader).toBe(true);
  });

  it('is replaced when it does not come back from the outage', async () => {
    const world = makeWorld();
    world.server.put(PATH, heldBy('gone'));
    const b = start(world, 'b', untilAborted, OUTLASTS);
    await world.clock.advance(5_000);
    b.client.onRequest = never;
    await world.clock.advance(60_000);
    b.client.onRequest = () => undefined;
    await world.clock.advance(14_999);
    expect(b.elector.isLeader).toBe(false);
    await world.clock.advance(2_001);
    expect(b.elector.isLeader).toBe(true);
  });

  it('never counts two as leaders, whatever goes wrong on the way to the API server', async () => {
    const way = fc.constantFrom(() => undefined, never, hang, forbidden, unavailable);
    const step = fc.record({
      who: fc.nat(2),
      onRequest: way,
      onAnswer: way,
      forMs: fc.integer({ min: 0, max: 12_000 }),
      leaves: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const world = makeWorld();
        const join = (identity: string): Candidate => start(world, identity, untilAborted, OUTLASTS);
        const all = ['0', '1', '2'].map(join);
        const present = [...all];
        const leaders = (): number => all.filter(({ elector }) => elector.isLeader).length;
        for (const { who, onRequest, onAnswer, forMs, leaves } of steps) {
          Object.assign(present[who]?.client ?? {}, { onRequest, onAnswer });
          for (let ms = 0; ms < forMs; ms += 500) {
            await world.clock.advance(500);
            expect(leaders()).toBeLessThan(2);
          }
          if (!leaves) continue;
          present[who]?.stop.abort(SHUTDOWN);
          present[who] = join(String(all.length));
          all.push(present[who]);
        }
        for (const { client } of all)
          Object.assign(client, { onRequest: () => undefined, onAnswer: () => undefined });
        await world.clock.advance(40_000);
        expect(leaders()).toBe(1);
        for (const { stop } of present) stop.abort(SHUTDOWN);
        await Promise.all(all.map(({ ended }) => ended));
      }),
      { numRuns: 100 },
    );
  });

  it.each([
    { name: 'refuse', away: never },
    { name: 'hang', away: hang },
  ])('ends within seconds while requests $name', async ({ away }) => {
    const world = makeWorld();
    const a = start(world, 'a', untilAborted, OUTLASTS);
    await world.clock.advance(1_000);
    a.client.onRequest = away;
    await world.clock.advance(60_000);
    a.stop.abort(SHUTDOWN);
    await world.clock.advance(5_000);
    await a.ended;
    expect(a.leads[0]?.reason).toBe(SHUTDOWN);
    expect(world.clock.waiting).toBe(0);
  });
});

describe('the note to the next leader', () => {
  const noteAnnotation = 'example.com/note';

  it('is there after an end in good order, and for one leader only', async () => {
    const world = makeWorld();
    const notes: (string | undefined)[] = [];
    const lead = async (signal: AbortSignal, note: string | undefined): Promise<string> => {
      notes.push(note);
      await untilAborted(signal);
      return `from ${notes.length}`;
    };
    const a = start(world, 'a', lead, { noteAnnotation });
    await world.clock.advance(1_000);
    a.stop.abort(SHUTDOWN);
    await a.ended;
    const b = start(world, 'b', lead, { noteAnnotation });
    await world.clock.advance(1_000);
    b.client.onRequest = never;
    const c = start(world, 'c', lead, { noteAnnotation });
    await world.clock.advance(40_000);
    expect(c.elector.isLeader).toBe(true);
    expect(notes).toEqual([undefined, 'from 1', undefined]);
  });
});

describe('the end', () => {
  it('keeps the Lease until what it led has ended, then releases it', async () => {
    const world = makeWorld();
    const a = start(world, 'a', async (signal) => {
      await untilAborted(signal);
      await world.clock.sleep(30_000, new AbortController().signal);
      signal.throwIfAborted();
    });
    await world.clock.advance(1_000);
    a.stop.abort(SHUTDOWN);
    await world.clock.advance(29_000);
    expect(a.leads[0]?.reason).toBe(SHUTDOWN);
    expect(a.elector.isLeader).toBe(true);
    await world.clock.advance(1_000);
    await a.ended;
    expect(specOf(world)).toMatchObject({ holderIdentity: '', leaseDurationSeconds: 1, leaseTransitions: 0 });
    expect(a.leading).toEqual([false, true, false]);
    expect(world.clock.waiting).toBe(0);
  });

  it('comes when the API server does not answer, too', async () => {
    const world = makeWorld();
    const a = start(world, 'a');
    await world.clock.advance(1_000);
    a.client.onRequest = hang;
    a.stop.abort(SHUTDOWN);
    await world.clock.advance(5_000);
    await a.ended;
    expect(a.log.warn).toHaveBeenCalledWith(
      expect.objectContaining({ reason: 'TimeoutError' }),
      'the lead was not released and has to expire',
    );
  });

  it('releases also what a renewal that was broken off has changed', async () => {
    const world = makeWorld();
    const a = start(world, 'a');
    await world.clock.advance(1_000);
    a.client.onAnswer = ({ method, body }) =>
      method === 'PUT' && JSON.stringify(body).includes('"holderIdentity":"a"') ? hang() : undefined;
    await world.clock.advance(1_500);
    a.stop.abort(SHUTDOWN);
    await a.ended;
    expect(specOf(world)).toMatchObject({ holderIdentity: '' });
  });

  it('gives on what the lead threw, after the release', async () => {
    const world = makeWorld();
    const fault = new Error('no schedule');
    const a = start(world, 'a', () => Promise.reject(fault));
    await expect(a.ended).rejects.toBe(fault);
    expect(specOf(world)).toMatchObject({ holderIdentity: '' });
    expect(a.elector.isLeader).toBe(false);
  });

  it('comes when the lead has nothing more to do', async () => {
    const world = makeWorld();
    const a = start(world, 'a', () => Promise.resolve());
    await a.ended;
    expect(specOf(world)).toMatchObject({ holderIdentity: '' });
    expect(world.clock.waiting).toBe(0);
  });
});

it('never has two leaders, whatever goes wrong on the way to the API server, and has one when all is well', async () => {
  const ways = {
    well: () => undefined,
    refused: never,
    hanging: hang,
    forbidden: () => {
      throw refusal(403, 'Forbidden');
    },
  };
  const way = fc.constantFrom(...Object.values(ways));
  const step = fc.record({
    who: fc.nat(2),
    onRequest: way,
    onAnswer: way,
    forMs: fc.integer({ min: 0, max: 12_000 }),
    next: fc.constantFrom('nothing', 'leave', 'closeWatches'),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const world = makeWorld();
      const leading = new Set<string>();
      let isTwice = false;
      let born = 0;
      function join(): Candidate {
        const identity = `candidate-${(born += 1)}`;
        return start(world, identity, async (signal) => {
          leading.add(identity);
          isTwice ||= leading.size > 1;
          await untilAborted(signal);
          leading.delete(identity);
        });
      }
      const candidates = [join(), join(), join()];
      for (const { who, onRequest, onAnswer, forMs, next } of steps) {
        const candidate = candidates[who] as Candidate;
        Object.assign(candidate.client, { onRequest, onAnswer });
        await world.clock.advance(forMs);
        if (next === 'closeWatches') world.server.closeWatches();
        if (next === 'leave') {
          candidate.stop.abort(SHUTDOWN);
          candidates[who] = join();
        }
      }
      for (const { client } of candidates)
        Object.assign(client, { onRequest: ways.well, onAnswer: ways.well });
      await world.clock.advance(25_000);
      expect(isTwice).toBe(false);
      expect(candidates.filter(({ elector }) => elector.isLeader)).toHaveLength(1);
      expect(leading.size).toBe(1);
      for (const { stop } of candidates) stop.abort(SHUTDOWN);
      await Promise.all(candidates.map(({ ended }) => ended));
    }),
    { numRuns: 100 },
  );
});

it('refuses times that do not fit each other', () => {
  const { clock, server } = makeWorld();
  const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };
  const names = { namespace: 'storage', name: 'storage-probe', identity: 'a' };
  const options = { client: server.connect(), clock, random: Math.random, log, ...names };
  expect(() => new LeaderElector({ ...options, leaseDurationMs: 10_000 })).toThrow(RangeError);
  expect(() => new LeaderElector({ ...options, retryPeriodMs: 9_000 })).toThrow(RangeError);
});
