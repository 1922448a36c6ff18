import { describe, expect, it } from 'vitest';

import { runResult, type ResultOptions } from '../../test/support/run-result.ts';
import type { ProbeStatus } from '../api/probe-status.ts';
import type { Reason } from '../api/reasons.ts';
import { ManualClock } from '../clock/manual-clock.ts';
import { type KubeClient, KubeError, type KubeRequest } from '../kube/kube-client.ts';
import { Scheduler } from '../scheduler/scheduler.ts';
import type { DueRun } from '../scheduler/types.ts';
import { HeartbeatPacer } from './heartbeat-pacer.ts';
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

/** A reconciler with one StorageProbe in the API server. The test decides the results of the runs. */
function setUp(first = probe()) {
  const clock = new ManualClock();
  const entries = new ProbeEntries();
  const world = {
    object: first as ProbeObject | undefined,
    isLeader: true,
    /** Why the Secrets cannot be read. */
    obstacle: undefined as Reason | undefined,
    /** Error of the next status write. */
    writeError: undefined as KubeError | undefined,
    writes: [] as Written[],
    events: [] as string[],
    started: [] as DueRun[],
    forgotten: [] as string[],
    cleanedUp: [] as string[],
    health: undefined as boolean | undefined,
    nextRunMs: () => undefined as number | undefined,
  };
  let version = 100;
  const client: KubeClient = {
    request: <T>({ body }: KubeRequest) => {
      const { writeError } = world;
      world.writeError = undefined;
      if (writeError !== undefined) return Promise.reject(writeError);
      const { metadata, status } = body as ProbeObject & { status: ProbeStatus };
      world.writes.push({ resourceVersion: metadata.resourceVersion, status: structuredClone(status) });
      return Promise.resolve({ metadata: { ...metadata, resourceVersion: String(++version) } } as T);
    },
    stream: () => {
      throw new Error('unexpected watch');
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
        else
          target.obstacle = {
            target: target.plan.name,
            reason: obstacle,
            message: `Message of ${obstacle}.`,
          };
        return Promise.resolve(undefined);
      },
    },
    leftoverCleaner: {
      cleanUpAfter: (_ended, { target }) => {
        world.cleanedUp.push(target.plan.name);
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
    heartbeatPacer: new HeartbeatPacer({ clock, heartbeatMs: HEARTBEAT_MS, probeCount: () => 1 }),
  });
  return {
    clock,
    world,
    scheduler,
    reconcile: () => reconciler.reconcile(KEY, signal),
    flush: async () => {
      for (const entry of entries.values()) await reconciler.flush(entry, signal);
    },
    /** Records the result of a finished run. */
    finishRun: (result: ResultOptions = {}) => {
      const entry = entries.get(KEY);
      const target = entry?.targets.get(result.target ?? 'my-minio');
      if (target === undefined) throw new Error('no such target');
      const finished = { ...runResult(result), startTime: new Date(clock.now()).toISOString() };
      target.record = withRun(target.record, finished, entry?.plan?.failureThreshold ?? 1);
    },
  };
}

const timeout = { failed: { step: 'ADD_OBJECT', reason: 'Timeout' } } as const;

function healthIn(written: Written | undefined): string | undefined {
  const found = written?.status.conditions?.find(({ type }) => type === 'Healthy');
  return found && `${found.status} ${found.reason}`;
}

describe('the status', () => {
  it('is written for a new probe, when it becomes healthy, and then only on the heartbeat', async () => {
    const { clock, finishRun, reconcile, world } = setUp();
    await reconcile();
    expect(world.writes.map(healthIn)).toEqual(['Unknown NotYetRun']);
    finishRun();
    await reconcile();
    expect(world.writes.map(healthIn)).toEqual(['Unknown NotYetRun', 'True Passed']);

    await clock.advance(30_000);
    finishRun();
    expect(await reconcile()).toEqual({ requeueAfterMs: 30_000 });
    expect(world.writes).toHaveLength(2);
    await clock.advance(30_000);
    await reconcile();
    expect(world.writes).toHaveLength(3);
    expect(world.writes[2]?.status.targets?.[0]?.recentRuns).toHaveLength(2);
    expect(await reconcile()).toBeUndefined();
  });

  it('shows a failure at once, and is unhealthy after failureThreshold failures', async () => {
    const { finishRun, reconcile, world } = setUp();
    await reconcile();
    finishRun();
    await reconcile();
    finishRun(timeout);
    await reconcile();
    expect(healthIn(world.writes.at(-1))).toBe('True Passed');
    expect(world.writes.at(-1)?.status.targets?.[0]).toMatchObject({
      verdict: 'Failed',
      consecutiveFailures: 1,
    });
    finishRun(timeout);
    await reconcile();
    expect(healthIn(world.writes.at(-1))).toBe('False Timeout');
    expect(world.events).toEqual(['Normal Passed uid-1', 'Warning Timeout uid-1']);
    expect(world.health).toBe(false);
  });

  it('is written with the cached resourceVersion, or with the one from the last write if that is newer', async () => {
    const { finishRun, reconcile, world } = setUp();
    await reconcile();
    finishRun();
    await reconcile();
    expect(world.writes.map(({ resourceVersion }) => resourceVersion)).toEqual(['10', '101']);
    world.object = probe({}, { resourceVersion: '150' });
    finishRun(timeout);
    await reconcile();
    expect(world.writes.at(-1)?.resourceVersion).toBe('150');
  });

  it('is written again after a conflict, once the watch has caught up', async () => {
    const { reconcile, world } = setUp();
    world.writeError = new KubeError('the object has been modified', { status: 409, reason: 'Conflict' });
    expect(await reconcile()).toEqual({ requeueAfterMs: 200 });
    await reconcile();
    expect(world.writes).toHaveLength(1);
  });

  it('is retried by the queue when the API server is unreachable', async () => {
    const { reconcile, world } = setUp();
    world.writeError = new KubeError('no', { status: 0, reason: 'ConnectionFailed' });
    await expect(reconcile()).rejects.toThrow('no');
  });

  it('is not written by a prober that is not the leader', async () => {
    const { flush, reconcile, world } = setUp();
    world.isLeader = false;
    expect(await reconcile()).toEqual({ requeueAfterMs: 5_000 });
    await flush();
    expect(world.writes).toEqual([]);
  });

  it('is written by a flush while it waits for the heartbeat', async () => {
    const { flush, finishRun, reconcile, world } = setUp();
    await reconcile();
    finishRun();
    await reconcile();
    finishRun();
    await reconcile();
    await flush();
    expect(world.writes.at(-1)?.status.targets?.[0]?.recentRuns).toHaveLength(2);
    await flush();
    expect(world.writes).toHaveLength(3);
  });

  it('continues from the status of an earlier prober', async () => {
    const before = setUp();
    await before.reconcile();
    before.finishRun(timeout);
    before.finishRun(timeout);
    await before.reconcile();
    const after = setUp({ ...probe(), status: before.world.writes.at(-1)?.status });
    await after.reconcile();
    expect(after.world.events).toEqual([]);
    after.finishRun(timeout);
    await after.reconcile();
    expect(after.world.events).toEqual([]);
    after.finishRun();
    await after.reconcile();
    expect(after.world.events).toEqual(['Normal Passed uid-1']);
  });

  it('reports the error of an invalid spec that was admitted', async () => {
    const { reconcile, scheduler, world } = setUp(probe({ schedule: { interval: 'often' } }));
    await reconcile();
    expect(world.writes[0]?.status.conditions?.[0]).toMatchObject({ status: 'False', reason: 'InvalidSpec' });
    expect(world.writes[0]?.status.conditions?.[0]?.message).toContain('spec.schedule.interval');
    expect(scheduler.nextDueMs('uid-1/my-minio')).toBeUndefined();
  });
});

describe('the schedule', () => {
  it('starts a new probe at once, but not a probe that an earlier prober already ran', async () => {
    const fresh = setUp();
    await fresh.reconcile();
    expect(fresh.scheduler.nextDueMs('uid-1/my-minio')).toBe(fresh.clock.now());

    fresh.finishRun();
    await fresh.reconcile();
    const restarted = setUp({ ...probe(), status: fresh.world.writes.at(-1)?.status });
    await restarted.reconcile();
    expect(restarted.scheduler.nextDueMs('uid-1/my-minio')).toBeGreaterThan(restarted.clock.now());
  });

  it('starts at once after an edit', async () => {
    const { clock, finishRun, reconcile, scheduler, world } = setUp();
    await reconcile();
    finishRun();
    await clock.advance(1_000);
    world.object = probe({ failureThreshold: 3 }, { generation: 2 });
    await reconcile();
    expect(scheduler.nextDueMs('uid-1/my-minio')).toBe(clock.now());
  });

  it('is empty for a suspended probe, whose health is unknown', async () => {
    const { reconcile, scheduler, world } = setUp(probe({ suspend: true }));
    await reconcile();
    expect(scheduler.nextDueMs('uid-1/my-minio')).toBeUndefined();
    expect(healthIn(world.writes[0])).toBe('Unknown Suspended');
    expect(world.health).toBeUndefined();
    expect(world.nextRunMs()).toBeUndefined();
  });

  it('provides metrics with the current due time, not the due time at the last reconcile', async () => {
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

  it('answers a run request once and remembers it', async () => {
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

describe('a missing Secret', () => {
  it('is reported, read again with a backoff, and causes a run as soon as it exists', async () => {
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

describe('removal', () => {
  it.each([
    { name: 'deleted', object: undefined },
    { name: 'being deleted', object: probe({}, { deletionTimestamp: '2026-11-22T12:00:00Z' }) },
  ])('stops and forgets a probe that is $name', async ({ object }) => {
    const { reconcile, scheduler, world } = setUp();
    await reconcile();
    world.object = object;
    await reconcile();
    expect(scheduler.nextDueMs('uid-1/my-minio')).toBeUndefined();
    expect(world.cleanedUp).toEqual(['my-minio']);
    expect(world.forgotten).toEqual(['my-minio']);
    expect(world.writes).toHaveLength(1);
  });

  it('distinguishes a deleted probe from a new probe with the same name', async () => {
    const { finishRun, reconcile, scheduler, world } = setUp();
    await reconcile();
    finishRun();
    await reconcile();
    world.object = probe({}, { uid: 'uid-2', resourceVersion: '200' });
    await reconcile();
    expect(world.cleanedUp).toEqual(['my-minio']);
    expect(scheduler.nextDueMs(runKey({ uid: 'uid-1' }, 'my-minio'))).toBeUndefined();
    expect(scheduler.nextDueMs(runKey({ uid: 'uid-2' }, 'my-minio'))).toBeDefined();
    expect(world.writes.at(-1)).toMatchObject({ resourceVersion: '200' });
    expect(healthIn(world.writes.at(-1))).toBe('Unknown NotYetRun');
    expect(world.writes.at(-1)?.status.targets?.[0]?.recentRuns).toBeUndefined();
  });

  it('affects only the target that was removed from the spec', async () => {
    const { finishRun, reconcile, world } = setUp();
    await reconcile();
    finishRun();
    world.object = probe(
      {
        targets: [{ name: 'other', endpoint: 'http://other:9000', credentialsSecretRef: { name: 'keys' } }],
      },
      { generation: 2 },
    );
    await reconcile();
    expect(world.cleanedUp).toEqual(['my-minio']);
    expect(world.writes.at(-1)?.status.targets?.map(({ name }) => name)).toEqual(['other']);
  });
});
