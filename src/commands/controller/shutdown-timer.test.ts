import { describe, expect, it } from 'vitest';

import { ManualClock } from '../../clock/manual-clock.ts';
import { finishesInTime, shutdownTimer } from './shutdown-timer.ts';

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

describe('shutdownTimer', () => {
  it('starts when the signal aborts and never falls below the minimum', async () => {
    const clock = new ManualClock();
    const stopping = new AbortController();
    const remainingMs = shutdownTimer(clock, 25_000, stopping.signal);
    await clock.advance(60_000);
    expect(remainingMs()).toBe(25_000);
    stopping.abort();
    await clock.advance(20_000);
    expect(remainingMs()).toBe(5_000);
    await clock.advance(60_000);
    expect(remainingMs()).toBe(500);
  });

  it('starts immediately if the signal has already aborted', async () => {
    const clock = new ManualClock();
    const remainingMs = shutdownTimer(clock, 25_000, AbortSignal.abort());
    await clock.advance(1_000);
    expect(remainingMs()).toBe(24_000);
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
