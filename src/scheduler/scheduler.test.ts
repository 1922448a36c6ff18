import fc from 'fast-check';
import { describe, expect, it, onTestFinished, vi } from 'vitest';

import type { Clock } from '../clock/clock.ts';
import { ManualClock } from '../clock/manual-clock.ts';
import { timetableFor } from './next-due.ts';
import { Scheduler, type SchedulerOptions } from './scheduler.ts';
import type { DueRun, ScheduleEntry } from './types.ts';

const START_MS = Date.UTC(2026, 10, 22, 12);
const INTERVAL_MS = 30_000;

function entry(key: string, more: Partial<ScheduleEntry> = {}): ScheduleEntry {
  return { key, group: 'storage', schedule: { intervalMs: INTERVAL_MS }, seed: key, ...more };
}

/** A manual clock whose wall time can be set and whose sleeps can overrun. */
class SettableClock implements Clock {
  readonly manual = new ManualClock(START_MS);
  readonly monotonicMs = this.manual.monotonicMs.bind(this.manual);
  readonly deadline = this.manual.deadline.bind(this.manual);
  stepMs = 0;
  oversleepMs = 0;

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return this.manual.sleep(ms + this.oversleepMs, signal);
  }

  now(): number {
    return this.manual.now() + this.stepMs;
  }
}

class FakeMetrics {
  readonly started = vi.fn<(trigger: string, lagMs: number) => void>();
  readonly coalesced = vi.fn<() => void>();
  readonly inFlight = vi.fn<(runs: number) => void>();
  readonly waiting = vi.fn<(runs: number) => void>();
  readonly entries = vi.fn<(count: number) => void>();
  missedRuns = 0;

  missed(runs: number): void {
    this.missedRuns += runs;
  }
}

interface StartedRun extends DueRun {
  /** Start time, monotonic. */
  readonly atMs: number;
  readonly signal: AbortSignal;
}

interface TestScheduler {
  readonly clock: SettableClock;
  readonly scheduler: Scheduler;
  readonly metrics: FakeMetrics;
  readonly warn: ReturnType<typeof vi.fn<(fields: object, message: string) => void>>;
  readonly runs: StartedRun[];
  readonly stop: () => Promise<void>;
  readonly advance: (ms: number) => Promise<void>;
  /** Monotonic times at which runs of the key started. */
  readonly startsOf: (key: string) => number[];
}

/** Starts a scheduler. Each run takes `runMs`, or less if aborted and `ignoreAbort` is false. */
function startScheduler({
  runMs = 100,
  ignoreAbort = false,
  ...options
}: Partial<SchedulerOptions> & {
  readonly runMs?: number;
  readonly ignoreAbort?: boolean;
} = {}): TestScheduler {
  const clock = new SettableClock();
  const metrics = new FakeMetrics();
  const warn = vi.fn<(fields: object, message: string) => void>();
  const runs: StartedRun[] = [];
  const scheduler = new Scheduler({
    clock,
    log: { warn },
    maxInFlight: 50,
    metrics,
    start: async (run, signal) => {
      runs.push({ ...run, atMs: clock.monotonicMs(), signal });
      await clock.sleep(runMs, ignoreAbort ? new AbortController().signal : signal).catch(() => undefined);
    },
    ...options,
  });
  const stopping = new AbortController();
  const finished = scheduler.run(stopping.signal);
  const stop = (): Promise<void> => {
    stopping.abort();
    return finished;
  };
  onTestFinished(async () => {
    stopping.abort();
    await clock.manual.advance(runMs);
    await finished;
  });
  return {
    clock,
    scheduler,
    metrics,
    warn,
    runs,
    stop,
    advance: (ms) => clock.manual.advance(ms),
    startsOf: (key) => runs.filter((run) => run.key === key).map(({ atMs }) => atMs),
  };
}

/** Time from the start to the first due time of an interval entry with this key. */
function dueMs(key: string, intervalMs = INTERVAL_MS): number {
  return timetableFor({ intervalMs }, key)(START_MS).nextMs - START_MS;
}

describe('a scheduler', () => {
  it('runs 1,000 entries once at each due time, within the concurrency limit', async () => {
    const { scheduler, metrics, runs, advance, clock } = startScheduler({ runMs: 500 });
    const keys = Array.from({ length: 1_000 }, (_, index) => `probe-${index}`);
    for (const [index, key] of keys.entries())
      scheduler.set(entry(key, { group: `namespace-${index % 10}` }));
    await advance(600_000);

    const due = keys
      .flatMap((key) =>
        Array.from({ length: 20 }, (_, k) => `${key} ${START_MS + dueMs(key) + k * INTERVAL_MS}`),
      )
      .toSorted((a, b) => (a < b ? -1 : 1));
    expect(runs.map(({ key, dueMs: at }) => `${key} ${at}`).toSorted((a, b) => (a < b ? -1 : 1))).toEqual(
      due,
    );
    expect(Math.max(...metrics.inFlight.mock.calls.map(([count]) => count))).toBeLessThanOrEqual(50);
    expect([metrics.missedRuns, metrics.coalesced.mock.calls.length]).toEqual([0, 0]);
    const lags = runs.map(({ startLagMs }) => startLagMs).toSorted((a, b) => a - b);
    expect(lags[Math.floor(lags.length * 0.99)]).toBeLessThan(500);
    expect(clock.manual.pendingTimers).toBeLessThan(60);
  }, 30_000);

  it('runs a cron entry only at its due times', async () => {
    const { scheduler, runs, advance } = startScheduler();
    scheduler.set(
      entry('a', { schedule: { cron: '*/20 * * * *', timeZone: 'Europe/Berlin' }, startsAtOnce: true }),
    );
    await advance(3_600_000);
    expect(runs.map(({ dueMs: at, trigger }) => [at - START_MS, trigger])).toEqual([
      [1_200_000, 'schedule'],
      [2_400_000, 'schedule'],
      [3_600_000, 'schedule'],
    ]);
  });

  it('never runs an entry that is never due', async () => {
    const { scheduler, runs, advance } = startScheduler();
    scheduler.set(entry('a', { schedule: { cron: '0 0 30 2 *', timeZone: 'UTC' } }));
    expect(scheduler.nextDueMs('a')).toBeUndefined();
    await advance(3_600_000);
    expect(runs).toEqual([]);
  });

  it('returns the next due time', async () => {
    const { scheduler, advance } = startScheduler();
    scheduler.set(entry('a'));
    expect(scheduler.nextDueMs('a')).toBe(START_MS + dueMs('a'));
    await advance(dueMs('a'));
    expect(scheduler.nextDueMs('a')).toBe(START_MS + dueMs('a') + INTERVAL_MS);
    expect(scheduler.nextDueMs('unknown')).toBeUndefined();
  });

  it('returns the original due time of a run that waits for a slot', async () => {
    const { scheduler, advance } = startScheduler({ maxInFlight: 1, runMs: 2.5 * INTERVAL_MS });
    scheduler.set(entry('long', { startsAtOnce: true }));
    await advance(0);
    scheduler.set(entry('long', { suspended: true }));
    scheduler.set(entry('a'));
    await advance(2.5 * INTERVAL_MS - 1);
    expect(scheduler.nextDueMs('a')).toBe(START_MS + dueMs('a'));
    await advance(1);
    expect(scheduler.nextDueMs('a')).toBeGreaterThan(START_MS + 2.5 * INTERVAL_MS);
  });

  it('returns no due time for a waiting manual run of a suspended entry', async () => {
    const { scheduler, metrics, advance } = startScheduler({ maxInFlight: 1, runMs: INTERVAL_MS });
    scheduler.set(entry('long', { startsAtOnce: true }));
    scheduler.set(entry('a', { suspended: true }));
    await advance(0);
    scheduler.runNow('a');
    expect(metrics.waiting).toHaveBeenLastCalledWith(1);
    expect(scheduler.nextDueMs('a')).toBeUndefined();
  });

  it('reports progress while idle', async () => {
    const { scheduler, clock, advance } = startScheduler();
    await advance(3_601_000);
    expect(clock.monotonicMs() - scheduler.lastProgressMs).toBeLessThanOrEqual(5_000);
  });

  it('merges all runs that fall due before a late wake-up into one', async () => {
    const { scheduler, clock, metrics, advance, startsOf } = startScheduler();
    scheduler.set(entry('a'));
    clock.oversleepMs = 91_000;
    await advance(5_000);
    clock.oversleepMs = 0;
    await advance(115_000);
    expect(startsOf('a')).toEqual([5_000 + 91_000 + 5_000, dueMs('a') + 3 * INTERVAL_MS]);
    expect(metrics.missedRuns).toBe(2);
  });

  it('logs a rejected run on one line and keeps running', async () => {
    const { scheduler, warn, advance } = startScheduler({ start: () => Promise.reject(new Error('oh\nno')) });
    scheduler.set(entry('a'));
    await advance(dueMs('a') + INTERVAL_MS);
    expect(warn.mock.calls).toEqual([
      [{ key: 'a', error: 'oh no' }, 'run ended with an unexpected error'],
      [{ key: 'a', error: 'oh no' }, 'run ended with an unexpected error'],
    ]);
  });
});

describe('an immediate start', () => {
  it('respects the rate limit, then follows the schedule', async () => {
    const { scheduler, runs, advance, startsOf } = startScheduler({
      startRateLimit: { burst: 2, perSecond: 10 },
    });
    for (const key of ['a', 'b', 'c']) scheduler.set(entry(key, { startsAtOnce: true, seed: 'same' }));
    await advance(0);
    expect(runs.map(({ key, trigger, startLagMs }) => [key, trigger, startLagMs])).toEqual([
      ['a', 'at-once', 0],
      ['b', 'at-once', 0],
    ]);
    await advance(dueMs('same'));
    expect(startsOf('c')).toEqual([100, dueMs('same')]);
  });

  it('waits for the due time if the rate limit would take longer', async () => {
    const { scheduler, runs, advance } = startScheduler({ startRateLimit: { burst: 1, perSecond: 0.001 } });
    scheduler.set(entry('a', { startsAtOnce: true }));
    scheduler.set(entry('b', { startsAtOnce: true }));
    await advance(INTERVAL_MS);
    expect(runs.find(({ key }) => key === 'b')).toMatchObject({ trigger: 'schedule', atMs: dueMs('b') });
  });

  it('also covers a due time shortly after it', async () => {
    const { scheduler, advance, startsOf } = startScheduler();
    expect(dueMs('d')).toBeLessThan(INTERVAL_MS / 2);
    scheduler.set(entry('d', { startsAtOnce: true }));
    await advance(2 * INTERVAL_MS);
    expect(startsOf('d')).toEqual([0, dueMs('d') + INTERVAL_MS]);
  });

  it('does not happen for an entry with a recorded last start', async () => {
    const { scheduler, runs, advance } = startScheduler();
    scheduler.set(entry('up-to-date', { lastStartMs: START_MS - 1, seed: 'same' }));
    scheduler.set(entry('missed', { lastStartMs: START_MS - 10 * INTERVAL_MS, seed: 'same' }));
    await advance(0);
    expect(runs).toMatchObject([{ key: 'missed', trigger: 'catch-up', startLagMs: 0 }]);
  });

  it('counts missed due times when an entry is added', () => {
    const { scheduler, metrics } = startScheduler();
    const latestMs = START_MS + dueMs('a') - INTERVAL_MS;
    scheduler.set(entry('a', { lastStartMs: latestMs - 10 * INTERVAL_MS }));
    expect(metrics.missedRuns).toBe(9);
  });
});

describe('changing an entry', () => {
  it('keeps the planned run if the schedule is unchanged', async () => {
    const { scheduler, advance, startsOf } = startScheduler();
    scheduler.set(entry('a', { startsAtOnce: true }));
    scheduler.set(entry('a'));
    await advance(0);
    scheduler.set(entry('a', { lastStartMs: 0 }));
    await advance(dueMs('a'));
    expect(startsOf('a')).toEqual([0, dueMs('a')]);
  });

  it('applies a new schedule from now on', async () => {
    const { scheduler, advance, startsOf } = startScheduler();
    scheduler.set(entry('a', { schedule: { intervalMs: 3_600_000 } }));
    await advance(0);
    scheduler.set(entry('a', { schedule: { intervalMs: 7_000 }, lastStartMs: 0 }));
    await advance(7_000);
    expect(startsOf('a')).toEqual([dueMs('a', 7_000)]);
  });

  it('moves the due times if the seed changes', () => {
    const { scheduler } = startScheduler();
    scheduler.set(entry('a'));
    scheduler.set(entry('a', { seed: 'b' }));
    expect(scheduler.nextDueMs('a')).toBe(START_MS + dueMs('b'));
  });

  it('suspends and resumes without counting missed runs', async () => {
    const { scheduler, metrics, advance, startsOf } = startScheduler();
    scheduler.set(entry('a'));
    scheduler.set(entry('a', { suspended: true }));
    expect(scheduler.nextDueMs('a')).toBeUndefined();
    await advance(10 * INTERVAL_MS);
    scheduler.set(entry('a'));
    await advance(INTERVAL_MS);
    expect(startsOf('a')).toEqual([10 * INTERVAL_MS + dueMs('a')]);
    expect(metrics.missedRuns).toBe(0);
  });

  it('starts no stale runs after many changes', async () => {
    const { scheduler, advance, startsOf } = startScheduler();
    for (let index = 0; index < 5_000; index += 1) {
      scheduler.set(entry('a', { schedule: { intervalMs: 1_000 + (index % 2) } }));
      scheduler.set(entry('b', { suspended: index % 2 === 0 }));
    }
    await advance(INTERVAL_MS);
    expect(startsOf('a')).toHaveLength(Math.floor((INTERVAL_MS - dueMs('a', 1_001)) / 1_001) + 1);
    expect(startsOf('b')).toEqual([dueMs('b')]);
  });
});

describe('a run that takes longer than its interval', () => {
  it('absorbs the runs that fall due while it is in progress', async () => {
    const { scheduler, metrics, advance, startsOf } = startScheduler({ runMs: 2.5 * INTERVAL_MS });
    scheduler.set(entry('a'));
    await advance(dueMs('a') + 3 * INTERVAL_MS);
    expect(startsOf('a')).toEqual([dueMs('a'), dueMs('a') + 3 * INTERVAL_MS]);
    expect(metrics.coalesced).toHaveBeenCalledTimes(2);
  });

  it('absorbs the runs that fall due while it waits for a slot', async () => {
    const { scheduler, metrics, advance, startsOf } = startScheduler({
      runMs: 2.5 * INTERVAL_MS,
      maxInFlight: 1,
    });
    scheduler.set(entry('long', { startsAtOnce: true }));
    await advance(0);
    scheduler.set(entry('a', { group: 'other' }));
    scheduler.set(entry('long', { suspended: true }));
    await advance(2.5 * INTERVAL_MS);
    expect(startsOf('a')).toEqual([2.5 * INTERVAL_MS]);
    expect(metrics.coalesced.mock.calls.length).toBeGreaterThanOrEqual(1);
  });
});

describe('runNow', () => {
  it('starts a run at once, even if the entry is suspended', async () => {
    const { scheduler, runs, advance } = startScheduler();
    scheduler.set(entry('a', { suspended: true }));
    scheduler.runNow('a');
    scheduler.runNow('unknown');
    await advance(INTERVAL_MS);
    expect(runs).toMatchObject([{ key: 'a', trigger: 'run-now', atMs: 0 }]);
  });

  it('starts one more run after the run in progress', async () => {
    const { scheduler, runs, advance } = startScheduler();
    scheduler.set(entry('a', { suspended: true }));
    scheduler.runNow('a');
    await advance(50);
    scheduler.runNow('a');
    scheduler.runNow('a');
    await advance(INTERVAL_MS);
    expect(runs.map(({ atMs }) => atMs)).toEqual([0, 100]);
  });

  it('is kept when the entry changes during the run in progress', async () => {
    const { scheduler, runs, advance } = startScheduler();
    for (const key of ['a', 'b']) {
      scheduler.set(entry(key, { startsAtOnce: true }));
    }
    await advance(50);
    scheduler.runNow('a');
    for (const key of ['a', 'b']) scheduler.set(entry(key, { startsAtOnce: true }));
    await advance(10);
    for (const key of ['a', 'b']) scheduler.set(entry(key, { suspended: true }));
    await advance(INTERVAL_MS);
    expect(runs.slice(2)).toMatchObject([{ key: 'a', trigger: 'run-now', atMs: 100 }]);
  });

  it('waits for a slot, even if the entry is suspended during the wait', async () => {
    const { scheduler, runs, advance } = startScheduler({ maxInFlight: 1 });
    for (const key of ['a', 'b', 'c']) scheduler.set(entry(key, { startsAtOnce: true, seed: 'same' }));
    await advance(0);
    scheduler.runNow('b');
    for (const key of ['b', 'c']) scheduler.set(entry(key, { suspended: true }));
    await advance(1_000);
    expect(runs).toMatchObject([
      { key: 'a', trigger: 'at-once' },
      { key: 'b', trigger: 'run-now', atMs: 100 },
    ]);
  });
});

describe('remove', () => {
  it('aborts the run in progress and resolves when it has finished', async () => {
    const { scheduler, runs, metrics, advance } = startScheduler({ ignoreAbort: true });
    scheduler.set(entry('a', { startsAtOnce: true }));
    await advance(50);
    const onRemoved = vi.fn<() => void>();
    scheduler.runNow('a');
    const removed = scheduler.remove('a').then(onRemoved);
    await advance(49);
    expect([runs[0]?.signal.aborted, onRemoved.mock.calls.length]).toEqual([true, 0]);
    await advance(1);
    await removed;
    await advance(10 * INTERVAL_MS);
    expect(runs).toHaveLength(1);
    expect([metrics.inFlight.mock.lastCall, metrics.entries.mock.lastCall]).toEqual([[0], [0]]);
  });

  it('drops a waiting run', async () => {
    const { scheduler, metrics, advance, startsOf } = startScheduler({ maxInFlight: 1 });
    for (const key of ['a', 'b']) scheduler.set(entry(key, { startsAtOnce: true }));
    await advance(0);
    await scheduler.remove('b');
    expect(metrics.waiting.mock.lastCall).toEqual([0]);
    await advance(INTERVAL_MS);
    expect(startsOf('b')).toEqual([]);
  });

  it('makes a new entry with the same key wait for the old run to finish', async () => {
    const { scheduler, advance, startsOf } = startScheduler({ ignoreAbort: true });
    scheduler.set(entry('a', { startsAtOnce: true }));
    await advance(50);
    void scheduler.remove('a');
    scheduler.set(entry('a', { startsAtOnce: true }));
    await advance(100);
    expect(startsOf('a')).toEqual([0, 100]);
  });

  it('does nothing for an unknown key', async () => {
    await expect(startScheduler().scheduler.remove('unknown')).resolves.toBeUndefined();
  });
});

describe('fair sharing of slots', () => {
  it('prevents a namespace with hanging targets from starving another namespace', async () => {
    const started: string[] = [];
    const { scheduler, metrics, advance } = startScheduler({
      maxInFlight: 8,
      start: async ({ key, startLagMs }, signal) => {
        started.push(`${key} ${startLagMs}`);
        if (key !== 'responsive') await untilAborted(signal);
      },
    });
    for (let index = 0; index < 100; index += 1) scheduler.set(entry(`hung-${index}`, { group: 'hung' }));
    scheduler.set(entry('responsive', { group: 'responsive' }));
    await advance(10 * INTERVAL_MS);
    expect(started.filter((run) => run.startsWith('responsive'))).toEqual(
      Array.from({ length: 10 }, () => 'responsive 0'),
    );
    expect(metrics.inFlight.mock.lastCall).toEqual([6]);
    expect(metrics.waiting.mock.lastCall).toEqual([94]);
  });
});

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => {
      resolve();
    });
  });
}

describe('when the wall clock steps', () => {
  it('forward, one run catches up on all skipped due times', async () => {
    const { scheduler, clock, metrics, runs, advance, warn } = startScheduler();
    scheduler.set(entry('a'));
    await advance(dueMs('a') + 100);
    clock.stepMs = 10 * INTERVAL_MS;
    await advance(5_000);
    expect(runs.map(({ trigger }) => trigger)).toEqual(['schedule', 'catch-up']);
    expect(metrics.missedRuns).toBe(9);
    expect(warn).toHaveBeenCalledWith({ stepMs: 10 * INTERVAL_MS }, 'wall clock jumped');
    await advance(INTERVAL_MS);
    expect(runs).toHaveLength(3);
  });

  it('forward, 1,000 entries catch up within the rate limit or at their next due times', async () => {
    const { scheduler, clock, runs, advance } = startScheduler();
    for (let index = 0; index < 1_000; index += 1) scheduler.set(entry(`probe-${index}`));
    clock.stepMs = 3_600_000;
    await advance(INTERVAL_MS + 5_000);
    expect(new Set(runs.map(({ key }) => key)).size).toBe(1_000);
    const perSecond = Map.groupBy(runs, ({ atMs }) => Math.floor(atMs / 1_000));
    expect(Math.max(...[...perSecond.values()].map(({ length }) => length))).toBeLessThan(100);
  });

  it('forward or back, runs waiting for a slot or the rate limit are not delayed', async () => {
    for (const stepMs of [-3_600_000, 3_600_000]) {
      const { scheduler, clock, runs, advance } = startScheduler({
        runMs: 8_000,
        maxInFlight: 1,
        startRateLimit: { burst: 2, perSecond: 0.1 },
      });
      for (const key of ['a', 'b', 'c']) scheduler.set(entry(key, { startsAtOnce: true, seed: 'same' }));
      await advance(100);
      clock.stepMs = stepMs;
      await advance(16_000);
      expect(runs.map(({ key, trigger, atMs, startLagMs }) => [key, trigger, atMs, startLagMs])).toEqual([
        ['a', 'at-once', 0, 0],
        ['b', 'at-once', 8_000, 8_000],
        ['c', 'at-once', 16_000, 6_000],
      ]);
    }
  });

  it('by small amounts repeatedly, the schedule is unaffected', async () => {
    const { scheduler, clock, runs, advance, warn } = startScheduler();
    scheduler.set(entry('a'));
    for (let step = 0; step < 100; step += 1) {
      clock.stepMs += 100;
      await advance(6_000);
    }
    expect(runs).toHaveLength(20);
    expect(new Set(runs.map(({ trigger }) => trigger))).toEqual(new Set(['schedule']));
    expect(warn).not.toHaveBeenCalled();
  });

  it('back, a recorded last start in the future does not delay the next run', async () => {
    const { scheduler, clock, startsOf, advance } = startScheduler();
    scheduler.set(entry('a', { lastStartMs: START_MS + 10 * 365 * 86_400_000 }));
    clock.stepMs = -2_000;
    await advance(2 * INTERVAL_MS);
    expect(startsOf('a').length).toBeGreaterThanOrEqual(1);
  });

  it('forward, a cron run past its starting deadline does not start', async () => {
    const { scheduler, clock, metrics, runs, advance } = startScheduler();
    scheduler.set(entry('a', { schedule: { cron: '0 13 * * *', timeZone: 'UTC' } }));
    clock.stepMs = 2 * 3_600_000;
    await advance(3_600_000);
    expect([runs.length, metrics.missedRuns]).toEqual([0, 1]);
  });

  it('back, a cron due time does not run twice', async () => {
    const { scheduler, clock, runs, advance } = startScheduler();
    scheduler.set(entry('a', { schedule: { cron: '0 13 * * *', timeZone: 'UTC' } }));
    await advance(3_600_000);
    clock.stepMs = -600_000;
    await advance(20 * 3_600_000);
    expect(runs).toHaveLength(1);
    await advance(5 * 3_600_000);
    expect(runs).toHaveLength(2);
  });

  it('back by any amount, the next start is half to one and a half periods after the last', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: INTERVAL_MS }),
        fc.integer({ min: -10_000_000, max: 0 }),
        async (atMs, stepMs) => {
          const { scheduler, clock, advance, startsOf, stop } = startScheduler();
          scheduler.set(entry('a'));
          await advance(INTERVAL_MS + atMs);
          clock.stepMs = stepMs;
          await advance(3 * INTERVAL_MS);
          const starts = startsOf('a');
          const gaps = starts.slice(1).map((startMs, index) => startMs - (starts[index] ?? Number.NaN));
          // The scheduler takes up to 5 s to notice the step.
          expect(Math.max(...gaps)).toBeLessThanOrEqual(1.5 * INTERVAL_MS + 5_000);
          expect(Math.min(...gaps)).toBeGreaterThanOrEqual(0.5 * INTERVAL_MS - 1);
          const stopped = stop();
          await advance(1_000);
          await stopped;
        },
      ),
    );
  });
});

describe('stopping', () => {
  it('is possible from within a run that is starting', async () => {
    const stopping = new AbortController();
    const scheduler = new Scheduler({
      clock: new ManualClock(START_MS),
      log: { warn: () => undefined },
      maxInFlight: 1,
      start: () => {
        stopping.abort();
        return Promise.resolve();
      },
    });
    scheduler.set(entry('a', { startsAtOnce: true }));
    await expect(scheduler.run(stopping.signal)).resolves.toBeUndefined();
  });

  it('starts no more runs, and aborts the runs in progress after the drain time', async () => {
    const { scheduler, runs, clock, advance, stop } = startScheduler({
      runMs: 10_000,
      drainMs: 1_000,
      maxInFlight: 1,
    });
    for (const key of ['a', 'b']) scheduler.set(entry(key, { startsAtOnce: true }));
    await advance(0);
    const stopped = stop();
    await advance(999);
    scheduler.runNow('b');
    expect(runs.map(({ key, signal }) => [key, signal.aborted])).toEqual([['a', false]]);
    await advance(1);
    await stopped;
    expect(runs.map(({ key, signal }) => [key, signal.aborted])).toEqual([['a', true]]);
    expect(clock.manual.pendingTimers).toBe(0);
  });

  it('waits for runs that finish within the drain time', async () => {
    const { scheduler, runs, clock, advance, stop } = startScheduler({ runMs: 500, drainMs: 1_000 });
    scheduler.set(entry('a', { startsAtOnce: true }));
    await advance(0);
    const stopped = stop();
    await advance(500);
    await stopped;
    expect([runs[0]?.signal.aborted, clock.monotonicMs(), clock.manual.pendingTimers]).toEqual([
      false,
      500,
      0,
    ]);
  });

  it('lets the next scheduler resume without skipping or repeating due times', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 20_000, max: 90_000 }),
        fc.integer({ max: 25_000, min: 0 }),
        async (stopMs, downMs) => {
          const clock = new ManualClock(START_MS);
          const starts = new Map<string, number[]>();
          const options = {
            clock,
            log: { warn: () => undefined },
            // Low enough that some runs always wait for a slot.
            maxInFlight: 2,
            startRateLimit: { burst: 1_000, perSecond: 1_000 },
            start: async ({ key }: DueRun, signal: AbortSignal) => {
              starts.set(key, [...(starts.get(key) ?? []), clock.now()]);
              await clock.sleep(1_500, signal).catch(() => undefined);
            },
          };
          const keys = Array.from({ length: 20 }, (_, index) => `probe-${index}`);

          async function runFor(ms: number, more: Partial<ScheduleEntry>): Promise<number | undefined> {
            const scheduler = new Scheduler(options);
            for (const key of keys) scheduler.set(entry(key, { lastStartMs: START_MS, ...more }));
            const stopping = new AbortController();
            const finished = scheduler.run(stopping.signal);
            await clock.advance(ms);
            stopping.abort();
            await Promise.all([finished, clock.advance(0)]);
            return scheduler.startedUntilMs;
          }
          const startedUntilMs = await runFor(stopMs, {});
          await clock.advance(downMs);
          await runFor(60_000, { lastStartStalenessMs: 60_000, startedUntilMs });

          for (const key of keys) {
            const timetable = timetableFor({ intervalMs: INTERVAL_MS }, key);
            const expected = Math.ceil(
              (timetable(clock.now()).latestMs - timetable(START_MS).latestMs) / INTERVAL_MS,
            );
            const actual = starts.get(key)?.length ?? 0;
            // The last run may still be waiting. Of the due times during the downtime, only the latest gets a catch-up
            // run.
            expect(actual).toBeLessThanOrEqual(expected);
            expect(actual).toBeGreaterThanOrEqual(expected - 1);
          }
        },
      ),
      { numRuns: 20 },
    );
  });
});
