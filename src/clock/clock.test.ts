import { describe, expect, it, vi } from 'vitest';

import type { Clock } from './clock.ts';
import { ManualClock } from './manual-clock.ts';
import { systemClock } from './system-clock.ts';

const NEVER = new AbortController().signal;
const REASON = new Error('shutting down');

/** Both clocks must behave alike. Otherwise, tests with the manual clock would prove nothing about the system clock. */
const CLOCKS: readonly { name: string; make: () => Clock; advance: (clock: Clock) => Promise<void> }[] = [
  { name: 'system', make: () => systemClock, advance: () => systemClock.sleep(5, NEVER) },
  { name: 'manual', make: () => new ManualClock(), advance: (clock) => (clock as ManualClock).advance(5) },
];

describe.each(CLOCKS)('the $name clock', ({ make, advance }) => {
  it('resolves a sleep once its time has passed', async () => {
    const clock = make();
    const startMs = clock.monotonicMs();
    const sleeping = clock.sleep(1, NEVER);
    await Promise.all([sleeping, advance(clock)]);
    expect(clock.monotonicMs()).toBeGreaterThan(startMs);
  });

  it('rejects a sleep with the abort reason as soon as its signal aborts', async () => {
    const stop = new AbortController();
    const sleeping = make().sleep(3_600_000, stop.signal);
    stop.abort(REASON);
    await expect(sleeping).rejects.toBe(REASON);
    await expect(make().sleep(3_600_000, stop.signal)).rejects.toBe(REASON);
  });

  it('aborts a deadline with a TimeoutError', async () => {
    const clock = make();
    using deadline = clock.deadline(1);
    expect(deadline.signal.aborted).toBe(false);
    await advance(clock);
    expect(deadline.signal.aborted).toBe(true);
    expect(deadline.signal.reason).toMatchObject({ name: 'TimeoutError' });
  });

  it.each([
    { name: 'aborts later', abort: (stop: AbortController) => queueMicrotask(stop.abort.bind(stop, REASON)) },
    {
      name: 'has already aborted',
      abort: (stop: AbortController) => {
        stop.abort(REASON);
      },
    },
  ])('aborts a deadline with the reason of a parent signal that $name', async ({ abort }) => {
    const clock = make();
    const stop = new AbortController();
    abort(stop);
    using deadline = clock.deadline(3, stop.signal);
    await Promise.resolve();
    expect(deadline.signal.reason).toBe(REASON);
    await advance(clock);
    expect(deadline.signal.reason).toBe(REASON);
  });

  it('removes the timer and listeners of a disposed deadline', async () => {
    const clock = make();
    const { signal } = new AbortController();
    const add = vi.spyOn(signal, 'addEventListener');
    const remove = vi.spyOn(signal, 'removeEventListener');
    const deadline = clock.deadline(1, signal);
    deadline[Symbol.dispose]();
    await advance(clock);
    expect(deadline.signal.aborted).toBe(false);
    expect(remove.mock.calls.length).toBe(add.mock.calls.length);
  });
});

describe('the manual clock', () => {
  it('fires timers in order, each at its due time', async () => {
    const clock = new ManualClock(Date.UTC(2026, 0, 1));
    const times: [string, number][] = [];
    const wake = async (name: string, ms: number): Promise<void> => {
      await clock.sleep(ms, NEVER);
      times.push([name, clock.monotonicMs()]);
      if (name === 'first') await wake('second', 10);
    };
    const all = Promise.all([wake('last', 30), wake('first', 10), wake('beyond', 1_000)]);
    await clock.advance(100);
    expect(times).toEqual([
      ['first', 10],
      ['second', 20],
      ['last', 30],
    ]);
    expect(clock.pendingTimers).toBe(1);
    expect(new Date(clock.now()).toISOString()).toBe('2026-01-01T00:00:00.100Z');
    await clock.advance(1_000);
    await all;
  });
});
