import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ManualClock } from '../../clock/manual-clock.ts';
import { finishesInTime, ShutdownBudget } from './shutdown-budget.ts';

function setUp(): {
  clock: ManualClock;
  stopping: AbortController;
  finish: () => void;
  inTime: Promise<boolean>;
} {
  const clock = new ManualClock();
  const stopping = new AbortController();
  const { promise, resolve } = Promise.withResolvers<void>();
  return {
    clock,
    stopping,
    finish: resolve,
    inTime: finishesInTime(promise, 25_000, { clock, signal: stopping.signal }),
  };
}

describe('ShutdownBudget', () => {
  it('starts when the signal aborts', async () => {
    const clock = new ManualClock();
    const stopping = new AbortController();
    const budget = new ShutdownBudget(clock, 20_000, stopping.signal);
    await clock.advance(60_000);
    expect(budget.stepMs(1)).toBe(18_000);
    stopping.abort();
    await clock.advance(8_000);
    expect(budget.stepMs(0.5)).toBe(5_000);
    await clock.advance(60_000);
    expect(budget.stepMs(0.5)).toBe(0);
  });

  it('starts immediately if the signal has already aborted', async () => {
    const clock = new ManualClock();
    const budget = new ShutdownBudget(clock, 20_000, AbortSignal.abort());
    await clock.advance(1_000);
    expect(budget.stepMs(1)).toBe(17_000);
  });

  it('leaves a tenth of the time when every step uses up its share', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1_000, max: 600_000 }),
        fc.array(fc.double({ min: 0, max: 1, noNaN: true })),
        async (totalMs, shares) => {
          const clock = new ManualClock();
          const budget = new ShutdownBudget(clock, totalMs, AbortSignal.abort());
          for (const share of shares) await clock.advance(budget.stepMs(share));
          expect(clock.monotonicMs()).toBeLessThanOrEqual(totalMs * 0.9 + 0.001);
        },
      ),
    );
  });
});

describe('finishesInTime', () => {
  it('has no time limit before the signal aborts', async () => {
    const { clock, finish, inTime } = setUp();
    await clock.advance(60_000);
    finish();
    expect(await inTime).toBe(true);
  });

  it('returns true if the work finishes within the limit', async () => {
    const { clock, stopping, finish, inTime } = setUp();
    stopping.abort();
    await clock.advance(24_999);
    finish();
    expect(await inTime).toBe(true);
  });

  it('returns false at the limit', async () => {
    const { clock, stopping, inTime } = setUp();
    stopping.abort();
    await clock.advance(25_000);
    expect(await inTime).toBe(false);
  });

  it('rejects if the work rejects', async () => {
    const failing = Promise.reject(new Error('no'));
    const { clock, stopping } = setUp();
    await expect(finishesInTime(failing, 1, { clock, signal: stopping.signal })).rejects.toThrow('no');
  });
});
