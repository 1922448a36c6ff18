import { describe, expect, it } from 'vitest';

import { runResult, type ResultOptions } from '../../test/support/run-result.ts';
import type { ProbeStatus } from '../api/probe-status.ts';
import type { Reason } from '../api/reasons.ts';
import { ManualClock } from '../clock/manual-clock.ts';
import { type KubeClient, KubeError, type KubeRequest } from '../kube/kube-client.ts';
import { Scheduler } from '../scheduler/scheduler.ts';
import type { DueRun } from '../scheduler/types.ts';
import { ProbeEntries, runKey } from './probe-entries.ts';
import { type ProbeObject, ProbeReconciler } from './probe-reconciler.ts';
import { withRun } from './target-record.ts';

const KEY = 'storage/my-minio';
const HEARTBEAT_MS = 60_000;
const signal = new AbortController().signal;

function probe(spec: object = {}, metadata: Partial<ProbeObject['metadata']> = {}): ProbeObject {
  return {
    metadata: {
      name: 'my-minio',
      namespace: 'storage',
      uid: 'uid-1',
      generation: 1,
      resourceVersion: '10',
      ...metadata,
    },
    spec: {
      schedule: { interval: '30s' },
      targets: [
        { name: 'my-minio', endpoint: 'http://my-minio:9000', credentialsSecretRef: { name: 'keys' } },
      ],
      ...spec,
    },
  };
}

interface Written {
  readonly resourceVersion: string | undefined;
  readonly status: ProbeStatus;
}

/** A reconciler whose API server holds one StorageProbe, and whose runs end as the test says. */
function setUp(first = probe()) {
  const clock = new ManualClock();
  const entries = new ProbeEntries();
  const world = {
    object: first as ProbeObject | undefined,
    isLeader: true,
    /** Why the Secrets cannot be had. */
    obstacle: undefined as Reason | undefined,
    /** Of the next write. */
    refusal: undefined as KubeError | undefined,
    writes: [] as Written[],
    events: [] as string[],
    started: [] as DueRun[],
    forgotten: [] as string[],
    dropped: [] as string[],
    health: undefined as boolean | undefined,
    nextRunMs: () => undefined as number | undefined,
  };
  let version = 100;
  const client: KubeClient = {
    request: <T>({ body }: KubeRequest) => {
      const { refusal } = world;
      world.refusal = undefined;
      if (refusal !== undefined) return Promise.reject(refusal);
      const { metadata, status } = body as ProbeObject & { status: ProbeStatus };
      world.writes.push({ resourceVersion: metadata.resourceVersion, status: structuredClone(status) });
      return Promise.resolve({ metadata: { ...metadata, resourceVersion: String(++version) } } as T);
    },
    stream: () => {
      throw new Error('a reconciler watches nothing');
    },
    close: () => Promise.resolve(),
  };
  const scheduler = new Scheduler({
    clock,
    log: { warn: () => undefined },
    maxInFlight: 10,
    start: (run) => {
      world.started.push(run);
      return Promise.resolve();
    },
  });
  const reconciler = new ProbeReconciler({
    client,
    clock,
    random: () => 0,
    entries,
    probeAt: () => world.object,
    scheduler,
    runner: {
      resolve: (_entry, target) => {
        const { obstacle } = world;
        if (obstacle === undefined) delete target.obstacle;
        else target.obstacle = { target: target.plan.name, reason: obstacle, message: `${obstacle} it is` };
        return Promise.resolve(undefined);
      },
    },
    leftovers: {
      removeAfter: (_ended, { target }) => {
        world.dropped.push(target.plan.name);
      },
    },
    recordEvent: ({ type, reason, regarding }) => {
      world.events.push(`${type} ${reason} ${regarding.uid}`);
    },
    setTarget: (_ref, { healthy, nextRunMs = () => undefined }) => {
      world.health = healthy;
      world.nextRunMs = nextRunMs;
    },
    forgetTarget: ({ target }) => {
      world.forgotten.push(target);
    },
    isLeader: () => world.isLeader,
    heartbeatMs: HEARTBEAT_MS,
  });
  return {
    clock,
    world,
    scheduler,
    reconcile: () => reconciler.reconcile(KEY, signal),
    flush: async () => {
      for (const entry of entries.values()) await reconciler.flush(entry, signal);
    },
    /** A run of the target ends. */
    ran: (result: ResultOptions = {}) => {
      const entry = entries.get(KEY);
      const target = entry?.targets.get(result.target ?? 'my-minio');
      if (target === undefined) throw new Error('no such target');
      const ended = { ...runResult(result), startTime: new Date(clock.now()).toISOString() };
      target.record = withRun(target.record, ended, entry?.plan?.failureThreshold ?? 1);
    },
  };
}

const timeout = { failed: { step: 'ADD_OBJECT', reason: 'Timeout' } } as const;

function healthIn(written: Written | undefined): string | undefined {
  const found = written?.status.conditions?.find(({ type }) => type === 'Healthy');
  return found && `${found.status} ${found.reason}`;
}

describe('the status', () => {
  it('is written when the probe is new, when it becomes healthy, and then by the heartbeat alone', async () => {
    const { clock, ran, reconcile, world } = setUp();
    await reconcile();
    expect(world.writes.map(healthIn)).toEqual(['Unknown NotYetRun']);
    ran();
    await reconcile();
    expect(world.writes.map(healthIn)).toEqual(['Unknown NotYetRun', 'True Passed']);

    await clock.advance(30_000);
    ran();
    expect(await reconcile()).toEqual({ requeueAfterMs: 30_000 });
    expect(world.writes).toHaveLength(2);
    await clock.advance(30_000);
    await reconcile();
    expect(world.writes).toHaveLength(3);
    expect(world.writes[2]?.status.targets?.[0]?.recentRuns).toHaveLength(2);
    expect(await reconcile()).toBeUndefined();
  });

  it('tells of a failure at once, and that it is unhealthy after failureThreshold of them', async () => {
    const { ran, reconcile, world } = setUp();
    await reconcile();
    ran();
    await reconcile();
    ran(timeout);
    await reconcile();
    expect(healthIn(world.writes.at(-1))).toBe('True Passed');
    expect(world.writes.at(-1)?.status.targets?.[0]).toMatchObject({
      verdict: 'Failed',
      consecutiveFailures: 1,
    });
    ran(timeout);
    await reconcile();
    expect(healthIn(world.writes.at(-1))).toBe('False Timeout');
    expect(world.events).toEqual(['Normal Passed uid-1', 'Warning Timeout uid-1']);
    expect(world.health).toBe(false);
  });

  it('is written against the version that was seen, or that the last write made', async () => {
    const { ran, reconcile, world } = setUp();
    await reconcile();
    ran();
    await reconcile();
    expect(world.writes.map(({ resourceVersion }) => resourceVersion)).toEqual(['10', '101']);
    world.object = probe({}, { resourceVersion: '150' });
    ran(timeout);
    await reconcile();
    expect(world.writes.at(-1)?.resourceVersion).toBe('150');
  });

  it('waits for the watch when somebody else has written', async () => {
    const { reconcile, world } = setUp();
    world.refusal = new KubeError('the object has been modified', { status: 409, reason: 'Conflict' });
    expect(await reconcile()).toEqual({ requeueAfterMs: 200 });
    await reconcile();
    expect(world.writes).toHaveLength(1);
  });

  it('is tried again, by the queue, when the API server does not take it', async () => {
    const { reconcile, world } = setUp();
    world.refusal = new KubeError('no', { status: 0, reason: 'ConnectionFailed' });
    await expect(reconcile()).rejects.toThrow('no');
  });

  it('is not written by one who does not lead', async () => {
    const { flush, reconcile, world } = setUp();
    world.isLeader = false;
    expect(await reconcile()).toEqual({ requeueAfterMs: 5_000 });
    await flush();
    expect(world.writes).toEqual([]);
  });

  it('is written by a flush where the heartbeat held it back', async () => {
    const { flush, ran, reconcile, world } = setUp();
    await reconcile();
    ran();
    await reconcile();
    ran();
    await reconcile();
    await flush();
    expect(world.writes.at(-1)?.status.targets?.[0]?.recentRuns).toHaveLength(2);
    await flush();
    expect(world.writes).toHaveLength(3);
  });

  it('goes on from what an earlier prober left', async () => {
    const before = setUp();
    await before.reconcile();
    before.ran(timeout);
    before.ran(timeout);
    await before.reconcile();
    const after = setUp({ ...probe(), status: before.world.writes.at(-1)?.status });
    await after.reconcile();
    expect(after.world.events).toEqual([]);
    after.ran(timeout);
    await after.reconcile();
    expect(after.world.events).toEqual([]);
    after.ran();
    await after.reconcile();
    expect(after.world.events).toEqual(['Normal Passed uid-1']);
  });

  it('says what is wrong with a spec that should not have been admitted', async () => {
    const { reconcile, scheduler, world } = setUp(probe({ schedule: { interval: 'often' } }));
    await reconcile();
    expect(world.writes[0]?.status.conditions?.[0]).toMatchObject({ status: 'False', reason: 'InvalidSpec' });
    expect(world.writes[0]?.status.conditions?.[0]?.message).toContain('spec.schedule.interval');
    expect(scheduler.nextDueMs('uid-1/my-minio')).toBeUndefined();
  });
});

describe('the schedule', () => {
  it('starts a new probe at once, and not one that an earlier prober ran', async () => {
    const fresh = setUp();
    await fresh.reconcile();
    expect(fresh.scheduler.nextDueMs('uid-1/my-minio')).toBe(fresh.clock.now());

    fresh.ran();
    await fresh.reconcile();
    const restarted = setUp({ ...probe(), status: fresh.world.writes.at(-1)?.status });
    await restarted.reconcile();
    expect(restarted.scheduler.nextDueMs('uid-1/my-minio')).toBeGreaterThan(restarted.clock.now());
  });

  it('starts at once after an edit', async () => {
    const { clock, ran, reconcile, scheduler, world } = setUp();
    await reconcile();
    ran();
    await clock.advance(1_000);
    world.object = probe({ failureThreshold: 3 }, { generation: 2 });
    await reconcile();
    expect(scheduler.nextDueMs('uid-1/my-minio')).toBe(clock.now());
  });

  it('has nothing for a suspended probe, whose health is unknown', async () => {
    const { reconcile, scheduler, world } = setUp(probe({ suspend: true }));
    await reconcile();
    expect(scheduler.nextDueMs('uid-1/my-minio')).toBeUndefined();
    expect(healthIn(world.writes[0])).toBe('Unknown Suspended');
    expect(world.health).toBeUndefined();
    expect(world.nextRunMs()).toBeUndefined();
  });

  it('is told as it is, not as it was when the probe was last looked at', async () => {
    const { clock, reconcile, scheduler, world } = setUp();
    await reconcile();
    const [atOnceMs, stop] = [clock.now(), new AbortController()];
    await clock.advance(10_000);
    expect(world.nextRunMs()).toBe(atOnceMs);
    const running = scheduler.run(stop.signal);
    await clock.advance(0);
    expect(world.nextRunMs()).toBeGreaterThan(clock.now());
    stop.abort();
    await running;
  });

  it('heeds a request once, and remembers it', async () => {
    const annotations = { 'storageprobe.dev/run-requested-at': 'now' };
    const { clock, reconcile, scheduler, world } = setUp(probe({ suspend: true }, { annotations }));
    await reconcile();
    await reconcile();
    const stop = new AbortController();
    const running = scheduler.run(stop.signal);
    await clock.advance(60_000);
    stop.abort();
    await running;
    expect(world.started).toMatchObject([{ key: 'uid-1/my-minio', trigger: 'run-now' }]);
    expect(world.writes.at(-1)?.status.lastRunRequest).toBe('now');
  });
});

describe('a Secret that is missing', () => {
  it('is told, looked for at growing distances, and leads to a run as soon as it is there', async () => {
    const { reconcile, scheduler, world } = setUp();
    world.obstacle = 'SecretMissing';
    const delays: unknown[] = [];
    for (let lookup = 0; lookup < 6; lookup += 1) delays.push((await reconcile())?.requeueAfterMs);
    expect(delays).toEqual([1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
    expect(world.events).toEqual(['Warning SecretMissing uid-1']);
    expect(healthIn(world.writes.at(-1))).toBe('Unknown SecretMissing');
    expect(world.nextRunMs()).toBeUndefined();

    world.obstacle = undefined;
    expect(await reconcile()).toBeUndefined();
    expect(world.writes.at(-1)?.status.conditions?.[0]).toMatchObject({ type: 'Ready', status: 'True' });
    expect(scheduler.nextDueMs('uid-1/my-minio')).toBeDefined();
    expect(world.nextRunMs()).toBe(scheduler.nextDueMs('uid-1/my-minio'));
  });
});

describe('the end', () => {
  it.each([
    { name: 'deleted', object: undefined },
    { name: 'being deleted', object: probe({}, { deletionTimestamp: '2026-11-22T12:00:00Z' }) },
  ])('of a probe that is $name leaves nothing', async ({ object }) => {
    const { reconcile, scheduler, world } = setUp();
    await reconcile();
    world.object = object;
    await reconcile();
    expect(scheduler.nextDueMs('uid-1/my-minio')).toBeUndefined();
    expect(world.dropped).toEqual(['my-minio']);
    expect(world.forgotten).toEqual(['my-minio']);
    expect(world.writes).toHaveLength(1);
  });

  it('of a namesake is told apart from the beginning of the next', async () => {
    const { ran, reconcile, scheduler, world } = setUp();
    await reconcile();
    ran();
    await reconcile();
    world.object = probe({}, { uid: 'uid-2', resourceVersion: '200' });
    await reconcile();
    expect(world.dropped).toEqual(['my-minio']);
    expect(scheduler.nextDueMs(runKey({ uid: 'uid-1' }, 'my-minio'))).toBeUndefined();
    expect(scheduler.nextDueMs(runKey({ uid: 'uid-2' }, 'my-minio'))).toBeDefined();
    expect(world.writes.at(-1)).toMatchObject({ resourceVersion: '200' });
    expect(healthIn(world.writes.at(-1))).toBe('Unknown NotYetRun');
    expect(world.writes.at(-1)?.status.targets?.[0]?.recentRuns).toBeUndefined();
  });

  it('of a target that the spec no longer names is the end of that one alone', async () => {
    const { ran, reconcile, world } = setUp();
    await reconcile();
    ran();
    world.object = probe(
      {
        targets: [{ name: 'other', endpoint: 'http://other:9000', credentialsSecretRef: { name: 'keys' } }],
      },
      { generation: 2 },
    );
    await reconcile();
    expect(world.dropped).toEqual(['my-minio']);
    expect(world.writes.at(-1)?.status.targets?.map(({ name }) => name)).toEqual(['other']);
  });
});
