import fc from 'fast-check';
import { describe, expect, it, onTestFinished, vi } from 'vitest';

import type { Clock } from '../clock/clock.ts';
import { ManualClock } from '../clock/manual-clock.ts';
import { timetable } from './next-due.ts';
import { Scheduler, type SchedulerOptions } from './scheduler.ts';
import type { DueRun, ScheduleEntry } from './types.ts';

const START_MS = Date.UTC(2026, 10, 22, 12);
const INTERVAL_MS = 30_000;

function entry(key: string, more: Partial<ScheduleEntry> = {}): ScheduleEntry {
  return { key, group: 'storage', schedule: { intervalMs: INTERVAL_MS }, seed: key, ...more };
}

/** A manual clock whose wall time can be set, and whose sleepers may wake late. */
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

class Counts {
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
  /** Since the clock started: monotonic. */
  readonly atMs: number;
  readonly signal: AbortSignal;
}

interface Bench {
  readonly clock: SettableClock;
  readonly scheduler: Scheduler;
  readonly counts: Counts;
  readonly warn: ReturnType<typeof vi.fn<(fields: object, message: string) => void>>;
  readonly runs: StartedRun[];
  readonly stop: () => Promise<void>;
  readonly pass: (ms: number) => Promise<void>;
  /** Monotonic times at which runs of the key started. */
  readonly startsOf: (key: string) => number[];
}

/** A scheduler that runs; each run takes `runMs`, also when it is to stop if `ignoresAbort`. */
function startScheduler({
  runMs = 100,
  ignoresAbort = false,
  ...options
}: Partial<SchedulerOptions> & { readonly runMs?: number; readonly ignoresAbort?: boolean } = {}): Bench {
  const clock = new SettableClock();
  const counts = new Counts();
  const warn = vi.fn<(fields: object, message: string) => void>();
  const runs: StartedRun[] = [];
  const scheduler = new Scheduler({
    clock,
    log: { warn },
    maxInFlight: 50,
    metrics: counts,
    start: async (run, signal) => {
      runs.push({ ...run, atMs: clock.monotonicMs(), signal });
      await clock.sleep(runMs, ignoresAbort ? new AbortController().signal : signal).catch(() => undefined);
    },
    ...options,
  });
  const stopping = new AbortController();
  const ended = scheduler.run(stopping.signal);
  const stop = (): Promise<void> => {
    stopping.abort();
    return ended;
  };
  onTestFinished(async () => {
    stopping.abort();
    await clock.manual.advance(runMs);
    await ended;
  });
  return {
    clock,
    scheduler,
    counts,
    warn,
    runs,
    stop,
    pass: (ms) => clock.manual.advance(ms),
    startsOf: (key) => runs.filter((run) => run.key === key).map(({ atMs }) => atMs),
  };
}

/** When an interval's entry of this key is due, after the start. */
function dueMs(key: string, intervalMs = INTERVAL_MS): number {
  return timetable({ intervalMs }, key)(START_MS).nextMs - START_MS;
}

describe('a scheduler', () => {
  it('runs 1,000 entries at each of their due times, once, within its limit', async () => {
    const { scheduler, counts, runs, pass, clock } = startScheduler({ runMs: 500 });
    const keys = Array.from({ length: 1_000 }, (_, index) => `probe-${index}`);
    for (const [index, key] of keys.entries())
      scheduler.set(entry(key, { group: `namespace-${index % 10}` }));
    await pass(600_000);

    const due = keys
      .flatMap((key) =>
        Array.from({ length: 20 }, (_, k) => `${key} ${START_MS + dueMs(key) + k * INTERVAL_MS}`),
      )
      .toSorted((a, b) => (a < b ? -1 : 1));
    expect(runs.map(({ key, dueMs: at }) => `${key} ${at}`).toSorted((a, b) => (a < b ? -1 : 1))).toEqual(
      due,
    );
    expect(Math.max(...counts.inFlight.mock.calls.map(([count]) => count))).toBeLessThanOrEqual(50);
    expect([counts.missedRuns, counts.coalesced.mock.calls.length]).toEqual([0, 0]);
    const lags = runs.map(({ startLagMs }) => startLagMs).toSorted((a, b) => a - b);
    expect(lags[Math.floor(lags.length * 0.99)]).toBeLessThan(500);
    expect(clock.manual.waiting).toBeLessThan(60);
  }, 30_000);

  it('runs cron at its times', async () => {
    const { scheduler, runs, pass } = startScheduler();
    scheduler.set(
      entry('a', { schedule: { cron: '*/20 * * * *', timeZone: 'Europe/Berlin' }, startsAtOnce: true }),
    );
    await pass(3_600_000);
    expect(runs.map(({ dueMs: at, trigger }) => [at - START_MS, trigger])).toEqual([
      [1_200_000, 'schedule'],
      [2_400_000, 'schedule'],
      [3_600_000, 'schedule'],
    ]);
  });

  it('has no due time for what is never due', async () => {
    const { scheduler, runs, pass } = startScheduler();
    scheduler.set(entry('a', { schedule: { cron: '0 0 30 2 *', timeZone: 'UTC' } }));
    expect(scheduler.nextDueMs('a')).toBeUndefined();
    await pass(3_600_000);
    expect(runs).toEqual([]);
  });

  it('tells when the next run is due', async () => {
    const { scheduler, pass } = startScheduler();
    scheduler.set(entry('a'));
    expect(scheduler.nextDueMs('a')).toBe(START_MS + dueMs('a'));
    await pass(dueMs('a'));
    expect(scheduler.nextDueMs('a')).toBe(START_MS + dueMs('a') + INTERVAL_MS);
    expect(scheduler.nextDueMs('unknown')).toBeUndefined();
  });

  it('tells since when a run is due that waits for a slot', async () => {
    const { scheduler, pass } = startScheduler({ maxInFlight: 1, runMs: 2.5 * INTERVAL_MS });
    scheduler.set(entry('long', { startsAtOnce: true }));
    await pass(0);
    scheduler.set(entry('long', { suspended: true }));
    scheduler.set(entry('a'));
    await pass(2.5 * INTERVAL_MS - 1);
    expect(scheduler.nextDueMs('a')).toBe(START_MS + dueMs('a'));
    await pass(1);
    expect(scheduler.nextDueMs('a')).toBeGreaterThan(START_MS + 2.5 * INTERVAL_MS);
  });

  it('has no due time for what waits by request alone', async () => {
    const { scheduler, counts, pass } = startScheduler({ maxInFlight: 1, runMs: INTERVAL_MS });
    scheduler.set(entry('long', { startsAtOnce: true }));
    scheduler.set(entry('a', { suspended: true }));
    await pass(0);
    scheduler.runNow('a');
    expect(counts.waiting).toHaveBeenLastCalledWith(1);
    expect(scheduler.nextDueMs('a')).toBeUndefined();
  });

  it('makes progress all the time', async () => {
    const { scheduler, clock, pass } = startScheduler();
    await pass(3_601_000);
    expect(clock.monotonicMs() - scheduler.lastProgressMs).toBeLessThanOrEqual(5_000);
  });

  it('makes one run of all that fell due while it could not look', async () => {
    const { scheduler, clock, counts, pass, startsOf } = startScheduler();
    scheduler.set(entry('a'));
    clock.oversleepMs = 91_000;
    await pass(5_000);
    clock.oversleepMs = 0;
    await pass(115_000);
    expect(startsOf('a')).toEqual([5_000 + 91_000 + 5_000, dueMs('a') + 3 * INTERVAL_MS]);
    expect(counts.missedRuns).toBe(2);
  });

  it('logs a run that throws, on one line, and goes on', async () => {
    const { scheduler, warn, pass } = startScheduler({ start: () => Promise.reject(new Error('oh\nno')) });
    scheduler.set(entry('a'));
    await pass(dueMs('a') + INTERVAL_MS);
    expect(warn.mock.calls).toEqual([
      [{ key: 'a', error: 'oh no' }, 'a run ended by an error'],
      [{ key: 'a', error: 'oh no' }, 'a run ended by an error'],
    ]);
  });
});

describe('what starts at once', () => {
  it('keeps to the pace, and is then due as ever', async () => {
    const { scheduler, runs, pass, startsOf } = startScheduler({ startPace: { burst: 2, perSecond: 10 } });
    for (const key of ['a', 'b', 'c']) scheduler.set(entry(key, { startsAtOnce: true, seed: 'same' }));
    await pass(0);
    expect(runs.map(({ key, trigger, startLagMs }) => [key, trigger, startLagMs])).toEqual([
      ['a', 'at-once', 0],
      ['b', 'at-once', 0],
    ]);
    await pass(dueMs('same'));
    expect(startsOf('c')).toEqual([100, dueMs('same')]);
  });

  it('waits for its due time when the pace would take longer', async () => {
    const { scheduler, runs, pass } = startScheduler({ startPace: { burst: 1, perSecond: 0.001 } });
    scheduler.set(entry('a', { startsAtOnce: true }));
    scheduler.set(entry('b', { startsAtOnce: true }));
    await pass(INTERVAL_MS);
    expect(runs.find(({ key }) => key === 'b')).toMatchObject({ trigger: 'schedule', atMs: dueMs('b') });
  });

  it('stands in for a due time that follows soon', async () => {
    const { scheduler, pass, startsOf } = startScheduler();
    expect(dueMs('d')).toBeLessThan(INTERVAL_MS / 2);
    scheduler.set(entry('d', { startsAtOnce: true }));
    await pass(2 * INTERVAL_MS);
    expect(startsOf('d')).toEqual([0, dueMs('d') + INTERVAL_MS]);
  });

  it('is not a probe that is known by its last run', async () => {
    const { scheduler, runs, pass } = startScheduler();
    scheduler.set(entry('made', { lastStartMs: START_MS - 1, seed: 'same' }));
    scheduler.set(entry('missed', { lastStartMs: START_MS - 10 * INTERVAL_MS, seed: 'same' }));
    await pass(0);
    expect(runs).toMatchObject([{ key: 'missed', trigger: 'catch-up', startLagMs: 0 }]);
  });

  it('counts what was missed', () => {
    const { scheduler, counts } = startScheduler();
    const latestMs = START_MS + dueMs('a') - INTERVAL_MS;
    scheduler.set(entry('a', { lastStartMs: latestMs - 10 * INTERVAL_MS }));
    expect(counts.missedRuns).toBe(9);
  });
});

describe('a change', () => {
  it('of nothing keeps what is planned', async () => {
    const { scheduler, pass, startsOf } = startScheduler();
    scheduler.set(entry('a', { startsAtOnce: true }));
    scheduler.set(entry('a'));
    await pass(0);
    scheduler.set(entry('a', { lastStartMs: 0 }));
    await pass(dueMs('a'));
    expect(startsOf('a')).toEqual([0, dueMs('a')]);
  });

  it('of the schedule counts from now on', async () => {
    const { scheduler, pass, startsOf } = startScheduler();
    scheduler.set(entry('a', { schedule: { intervalMs: 3_600_000 } }));
    await pass(0);
    scheduler.set(entry('a', { schedule: { intervalMs: 7_000 }, lastStartMs: 0 }));
    await pass(7_000);
    expect(startsOf('a')).toEqual([dueMs('a', 7_000)]);
  });

  it('of the seed moves the due times', () => {
    const { scheduler } = startScheduler();
    scheduler.set(entry('a'));
    scheduler.set(entry('a', { seed: 'b' }));
    expect(scheduler.nextDueMs('a')).toBe(START_MS + dueMs('b'));
  });

  it('suspends and resumes', async () => {
    const { scheduler, counts, pass, startsOf } = startScheduler();
    scheduler.set(entry('a'));
    scheduler.set(entry('a', { suspended: true }));
    expect(scheduler.nextDueMs('a')).toBeUndefined();
    await pass(10 * INTERVAL_MS);
    scheduler.set(entry('a'));
    await pass(INTERVAL_MS);
    expect(startsOf('a')).toEqual([10 * INTERVAL_MS + dueMs('a')]);
    expect(counts.missedRuns).toBe(0);
  });

  it('leaves no heap of what is no more due', async () => {
    const { scheduler, pass, startsOf } = startScheduler();
    for (let index = 0; index < 5_000; index += 1) {
      scheduler.set(entry('a', { schedule: { intervalMs: 1_000 + (index % 2) } }));
      scheduler.set(entry('b', { suspended: index % 2 === 0 }));
    }
    await pass(INTERVAL_MS);
    expect(startsOf('a')).toHaveLength(Math.floor((INTERVAL_MS - dueMs('a', 1_001)) / 1_001) + 1);
    expect(startsOf('b')).toEqual([dueMs('b')]);
  });
});

describe('a run that takes longer than its interval', () => {
  it('is not joined by another', async () => {
    const { scheduler, counts, pass, startsOf } = startScheduler({ runMs: 2.5 * INTERVAL_MS });
    scheduler.set(entry('a'));
    await pass(dueMs('a') + 3 * INTERVAL_MS);
    expect(startsOf('a')).toEqual([dueMs('a'), dueMs('a') + 3 * INTERVAL_MS]);
    expect(counts.coalesced).toHaveBeenCalledTimes(2);
  });

  it('is not joined by another that waits for a slot', async () => {
    const { scheduler, counts, pass, startsOf } = startScheduler({
      runMs: 2.5 * INTERVAL_MS,
      maxInFlight: 1,
    });
    scheduler.set(entry('long', { startsAtOnce: true }));
    await pass(0);
    scheduler.set(entry('a', { group: 'other' }));
    scheduler.set(entry('long', { suspended: true }));
    await pass(2.5 * INTERVAL_MS);
    expect(startsOf('a')).toEqual([2.5 * INTERVAL_MS]);
    expect(counts.coalesced.mock.calls.length).toBeGreaterThanOrEqual(1);
  });
});

describe('runNow', () => {
  it('starts at once, also when suspended', async () => {
    const { scheduler, runs, pass } = startScheduler();
    scheduler.set(entry('a', { suspended: true }));
    scheduler.runNow('a');
    scheduler.runNow('unknown');
    await pass(INTERVAL_MS);
    expect(runs).toMatchObject([{ key: 'a', trigger: 'run-now', atMs: 0 }]);
  });

  it('starts once more after the run under way', async () => {
    const { scheduler, runs, pass } = startScheduler();
    scheduler.set(entry('a', { suspended: true }));
    scheduler.runNow('a');
    await pass(50);
    scheduler.runNow('a');
    scheduler.runNow('a');
    await pass(INTERVAL_MS);
    expect(runs.map(({ atMs }) => atMs)).toEqual([0, 100]);
  });

  it('outlives other changes during the run under way', async () => {
    const { scheduler, runs, pass } = startScheduler();
    for (const key of ['a', 'b']) {
      scheduler.set(entry(key, { startsAtOnce: true }));
    }
    await pass(50);
    scheduler.runNow('a');
    for (const key of ['a', 'b']) scheduler.set(entry(key, { startsAtOnce: true }));
    await pass(10);
    for (const key of ['a', 'b']) scheduler.set(entry(key, { suspended: true }));
    await pass(INTERVAL_MS);
    expect(runs.slice(2)).toMatchObject([{ key: 'a', trigger: 'run-now', atMs: 100 }]);
  });

  it('waits for a slot, and outlives a suspension meanwhile', async () => {
    const { scheduler, runs, pass } = startScheduler({ maxInFlight: 1 });
    for (const key of ['a', 'b', 'c']) scheduler.set(entry(key, { startsAtOnce: true, seed: 'same' }));
    await pass(0);
    scheduler.runNow('b');
    for (const key of ['b', 'c']) scheduler.set(entry(key, { suspended: true }));
    await pass(1_000);
    expect(runs).toMatchObject([
      { key: 'a', trigger: 'at-once' },
      { key: 'b', trigger: 'run-now', atMs: 100 },
    ]);
  });
});

describe('remove', () => {
  it('aborts the run under way, and resolves when it has ended', async () => {
    const { scheduler, runs, counts, pass } = startScheduler({ ignoresAbort: true });
    scheduler.set(entry('a', { startsAtOnce: true }));
    await pass(50);
    const onRemoved = vi.fn<() => void>();
    scheduler.runNow('a');
    const removed = scheduler.remove('a').then(onRemoved);
    await pass(49);
    expect([runs[0]?.signal.aborted, onRemoved.mock.calls.length]).toEqual([true, 0]);
    await pass(1);
    await removed;
    await pass(10 * INTERVAL_MS);
    expect(runs).toHaveLength(1);
    expect([counts.inFlight.mock.lastCall, counts.entries.mock.lastCall]).toEqual([[0], [0]]);
  });

  it('drops what waits', async () => {
    const { scheduler, counts, pass, startsOf } = startScheduler({ maxInFlight: 1 });
    for (const key of ['a', 'b']) scheduler.set(entry(key, { startsAtOnce: true }));
    await pass(0);
    await scheduler.remove('b');
    expect(counts.waiting.mock.lastCall).toEqual([0]);
    await pass(INTERVAL_MS);
    expect(startsOf('b')).toEqual([]);
  });

  it('lets a successor with the same key wait for the end of the old run', async () => {
    const { scheduler, pass, startsOf } = startScheduler({ ignoresAbort: true });
    scheduler.set(entry('a', { startsAtOnce: true }));
    await pass(50);
    void scheduler.remove('a');
    scheduler.set(entry('a', { startsAtOnce: true }));
    await pass(100);
    expect(startsOf('a')).toEqual([0, 100]);
  });

  it('of what is not there does nothing', async () => {
    await expect(startScheduler().scheduler.remove('unknown')).resolves.toBeUndefined();
  });
});

describe('fairness', () => {
  it('keeps a namespace whose targets hang from starving another', async () => {
    const started: string[] = [];
    const { scheduler, counts, pass } = startScheduler({
      maxInFlight: 8,
      start: async ({ key, startLagMs }, signal) => {
        started.push(`${key} ${startLagMs}`);
        if (key !== 'well') await untilAborted(signal);
      },
    });
    for (let index = 0; index < 100; index += 1) scheduler.set(entry(`hung-${index}`, { group: 'hung' }));
    scheduler.set(entry('well', { group: 'well' }));
    await pass(10 * INTERVAL_MS);
    expect(started.filter((run) => run.startsWith('well'))).toEqual(
      Array.from({ length: 10 }, () => 'well 0'),
    );
    expect(counts.inFlight.mock.lastCall).toEqual([6]);
    expect(counts.waiting.mock.lastCall).toEqual([94]);
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
  it('forward, one run makes up for all that it stepped over', async () => {
    const { scheduler, clock, counts, runs, pass, warn } = startScheduler();
    scheduler.set(entry('a'));
    await pass(dueMs('a') + 100);
    clock.stepMs = 10 * INTERVAL_MS;
    await pass(5_000);
    expect(runs.map(({ trigger }) => trigger)).toEqual(['schedule', 'catch-up']);
    expect(counts.missedRuns).toBe(9);
    expect(warn).toHaveBeenCalledWith({ stepMs: 10 * INTERVAL_MS }, 'the wall clock was set');
    await pass(INTERVAL_MS);
    expect(runs).toHaveLength(3);
  });

  it('forward, 1,000 entries catch up at the pace, or at their next due times', async () => {
    const { scheduler, clock, runs, pass } = startScheduler();
    for (let index = 0; index < 1_000; index += 1) scheduler.set(entry(`probe-${index}`));
    clock.stepMs = 3_600_000;
    await pass(INTERVAL_MS + 5_000);
    expect(new Set(runs.map(({ key }) => key)).size).toBe(1_000);
    const perSecond = Map.groupBy(runs, ({ atMs }) => Math.floor(atMs / 1_000));
    expect(Math.max(...[...perSecond.values()].map(({ length }) => length))).toBeLessThan(100);
  });

  it('either way, what waits for a slot or for the pace waits no longer for it', async () => {
    for (const stepMs of [-3_600_000, 3_600_000]) {
      const { scheduler, clock, runs, pass } = startScheduler({
        runMs: 8_000,
        maxInFlight: 1,
        startPace: { burst: 2, perSecond: 0.1 },
      });
      for (const key of ['a', 'b', 'c']) scheduler.set(entry(key, { startsAtOnce: true, seed: 'same' }));
      await pass(100);
      clock.stepMs = stepMs;
      await pass(16_000);
      expect(runs.map(({ key, trigger, atMs, startLagMs }) => [key, trigger, atMs, startLagMs])).toEqual([
        ['a', 'at-once', 0, 0],
        ['b', 'at-once', 8_000, 8_000],
        ['c', 'at-once', 16_000, 6_000],
      ]);
    }
  });

  it('by little, again and again, nobody minds', async () => {
    const { scheduler, clock, runs, pass, warn } = startScheduler();
    scheduler.set(entry('a'));
    for (let step = 0; step < 100; step += 1) {
      clock.stepMs += 100;
      await pass(6_000);
    }
    expect(runs).toHaveLength(20);
    expect(new Set(runs.map(({ trigger }) => trigger))).toEqual(new Set(['schedule']));
    expect(warn).not.toHaveBeenCalled();
  });

  it('back, a last start that is recorded for the future holds up nothing', async () => {
    const { scheduler, clock, startsOf, pass } = startScheduler();
    scheduler.set(entry('a', { lastStartMs: START_MS + 10 * 365 * 86_400_000 }));
    clock.stepMs = -2_000;
    await pass(2 * INTERVAL_MS);
    expect(startsOf('a').length).toBeGreaterThanOrEqual(1);
  });

  it('forward, cron does not start too late', async () => {
    const { scheduler, clock, counts, runs, pass } = startScheduler();
    scheduler.set(entry('a', { schedule: { cron: '0 13 * * *', timeZone: 'UTC' } }));
    clock.stepMs = 2 * 3_600_000;
    await pass(3_600_000);
    expect([runs.length, counts.missedRuns]).toEqual([0, 1]);
  });

  it('back, cron runs no time again', async () => {
    const { scheduler, clock, runs, pass } = startScheduler();
    scheduler.set(entry('a', { schedule: { cron: '0 13 * * *', timeZone: 'UTC' } }));
    await pass(3_600_000);
    clock.stepMs = -600_000;
    await pass(20 * 3_600_000);
    expect(runs).toHaveLength(1);
    await pass(5 * 3_600_000);
    expect(runs).toHaveLength(2);
  });

  it('back by any time, the next start is half to one and a half periods after the last', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: INTERVAL_MS }),
        fc.integer({ min: -10_000_000, max: 0 }),
        async (atMs, stepMs) => {
          const { scheduler, clock, pass, startsOf, stop } = startScheduler();
          scheduler.set(entry('a'));
          await pass(INTERVAL_MS + atMs);
          clock.stepMs = stepMs;
          await pass(3 * INTERVAL_MS);
          const starts = startsOf('a');
          const gaps = starts.slice(1).map((startMs, index) => startMs - (starts[index] ?? Number.NaN));
          // Up to 5 s pass until the step is noticed.
          expect(Math.max(...gaps)).toBeLessThanOrEqual(1.5 * INTERVAL_MS + 5_000);
          expect(Math.min(...gaps)).toBeGreaterThanOrEqual(0.5 * INTERVAL_MS - 1);
          const stopped = stop();
          await pass(1_000);
          await stopped;
        },
      ),
    );
  });
});

describe('when it is to stop', () => {
  it('does so at once, also by a run that it starts', async () => {
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

  it('starts nothing more, lets runs go on for a while, and then aborts them', async () => {
    const { scheduler, runs, clock, pass, stop } = startScheduler({
      runMs: 10_000,
      drainMs: 1_000,
      maxInFlight: 1,
    });
    for (const key of ['a', 'b']) scheduler.set(entry(key, { startsAtOnce: true }));
    await pass(0);
    const stopped = stop();
    await pass(999);
    scheduler.runNow('b');
    expect(runs.map(({ key, signal }) => [key, signal.aborted])).toEqual([['a', false]]);
    await pass(1);
    await stopped;
    expect(runs.map(({ key, signal }) => [key, signal.aborted])).toEqual([['a', true]]);
    expect(clock.manual.waiting).toBe(0);
  });

  it('waits for runs that end in time', async () => {
    const { scheduler, runs, clock, pass, stop } = startScheduler({ runMs: 500, drainMs: 1_000 });
    scheduler.set(entry('a', { startsAtOnce: true }));
    await pass(0);
    const stopped = stop();
    await pass(500);
    await stopped;
    expect([runs[0]?.signal.aborted, clock.monotonicMs(), clock.manual.waiting]).toEqual([false, 500, 0]);
  });

  it('tells the next scheduler where to go on, so that none of its due times is left out or met twice', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 20_000, max: 90_000 }),
        fc.integer({ max: 25_000, min: 0 }),
        async (stopMs, awayMs) => {
          const clock = new ManualClock(START_MS);
          const starts = new Map<string, number[]>();
          const options = {
            clock,
            log: { warn: () => undefined },
            // So few that some wait for a slot at any time.
            maxInFlight: 2,
            startPace: { burst: 1_000, perSecond: 1_000 },
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
            const ended = scheduler.run(stopping.signal);
            await clock.advance(ms);
            stopping.abort();
            await Promise.all([ended, clock.advance(0)]);
            return scheduler.startedUntilMs;
          }
          const startedUntilMs = await runFor(stopMs, {});
          await clock.advance(awayMs);
          await runFor(60_000, { lastStartSlackMs: 60_000, startedUntilMs });

          for (const key of keys) {
            const around = timetable({ intervalMs: INTERVAL_MS }, key);
            const dues = Math.ceil((around(clock.now()).latestMs - around(START_MS).latestMs) / INTERVAL_MS);
            const made = starts.get(key)?.length ?? 0;
            // The last one may still wait; of those that passed while nobody looked, only the latest is caught up on.
            expect(made).toBeLessThanOrEqual(dues);
            expect(made).toBeGreaterThanOrEqual(dues - 1);
          }
        },
      ),
      { numRuns: 20 },
    );
  });
});
