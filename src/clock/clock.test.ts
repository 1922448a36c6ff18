import { describe, expect, it, vi } from 'vitest';

import type { Clock } from './clock.ts';
import { ManualClock } from './manual-clock.ts';
import { systemClock } from './system-clock.ts';

const NEVER = new AbortController().signal;
const REASON = new Error('shutting down');

/** Both clocks keep their word, or tests by the one would say nothing of the other. */
const CLOCKS: readonly { name: string; make: () => Clock; pass: (clock: Clock) => Promise<void> }[] = [
  { name: 'system', make: () => systemClock, pass: () => systemClock.sleep(5, NEVER) },
  { name: 'manual', make: () => new ManualClock(), pass: (clock) => (clock as ManualClock).advance(5) },
];

describe.each(CLOCKS)('the $name clock', ({ make, pass }) => {
  it('wakes a sleeper', async () => {
    const clock = make();
    const startMs = clock.monotonicMs();
    const asleep = clock.sleep(1, NEVER);
    await Promise.all([asleep, pass(clock)]);
    expect(clock.monotonicMs()).toBeGreaterThan(startMs);
  });

  it('wakes a sleeper at once when its signal aborts, with the reason', async () => {
    const stop = new AbortController();
    const asleep = make().sleep(3_600_000, stop.signal);
    stop.abort(REASON);
    await expect(asleep).rejects.toBe(REASON);
    await expect(make().sleep(3_600_000, stop.signal)).rejects.toBe(REASON);
  });

  it('has deadlines that abort with a TimeoutError', async () => {
    const clock = make();
    using deadline = clock.deadline(1);
    expect(deadline.signal.aborted).toBe(false);
    await pass(clock);
    expect(deadline.signal.aborted).toBe(true);
    expect(deadline.signal.reason).toMatchObject({ name: 'TimeoutError' });
  });

  it.each([
    { name: 'as soon as', abort: (stop: AbortController) => queueMicrotask(stop.abort.bind(stop, REASON)) },
    {
      name: 'since',
      abort: (stop: AbortController) => {
        stop.abort(REASON);
      },
    },
  ])('has deadlines that abort $name an earlier signal does, with its reason', async ({ abort }) => {
    const clock = make();
    const stop = new AbortController();
    abort(stop);
    using deadline = clock.deadline(3, stop.signal);
    await Promise.resolve();
    expect(deadline.signal.reason).toBe(REASON);
    await pass(clock);
    expect(deadline.signal.reason).toBe(REASON);
  });

  it('has deadlines that leave nothing behind', async () => {
    const clock = make();
    const { signal } = new AbortController();
    const add = vi.spyOn(signal, 'addEventListener');
    const remove = vi.spyOn(signal, 'removeEventListener');
    const deadline = clock.deadline(1, signal);
    deadline[Symbol.dispose]();
    await pass(clock);
    expect(deadline.signal.aborted).toBe(false);
    expect(remove.mock.calls.length).toBe(add.mock.calls.length);
  });
});

describe('the manual clock', () => {
  it('lets things fall due in their order, each at its own time', async () => {
    const clock = new ManualClock(Date.UTC(2026, 0, 1));
    const times: [string, number][] = [];
    const wake = async (name: string, ms: number): Promise<void> => {
      await clock.sleep(ms, NEVER);
      times.push([name, clock.monotonicMs()]);
      if (name === 'first') await wake('again', 10);
    };
    const all = Promise.all([wake('last', 30), wake('first', 10), wake('beyond', 1_000)]);
    await clock.advance(100);
    expect(times).toEqual([
      ['first', 10],
      ['again', 20],
      ['last', 30],
    ]);
    expect(clock.waiting).toBe(1);
    expect(new Date(clock.now()).toISOString()).toBe('2026-01-01T00:00:00.100Z');
    await clock.advance(1_000);
    await all;
  });
});
