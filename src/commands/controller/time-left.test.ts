import { describe, expect, it } from 'vitest';

import { ManualClock } from '../../clock/manual-clock.ts';
import { endsInTime, timeLeft } from './time-left.ts';

function setUp(): {
  clock: ManualClock;
  stopping: AbortController;
  end: () => void;
  inTime: Promise<boolean>;
} {
  const clock = new ManualClock();
  const stopping = new AbortController();
  const { promise, resolve } = Promise.withResolvers<void>();
  return {
    clock,
    stopping,
    end: resolve,
    inTime: endsInTime(promise, 25_000, { clock, signal: stopping.signal }),
  };
}

describe('the time that is left', () => {
  it('is all of it until the signal aborts, and then less and less, but never nothing', async () => {
    const clock = new ManualClock();
    const stopping = new AbortController();
    const leftMs = timeLeft(clock, 25_000, stopping.signal);
    await clock.advance(60_000);
    expect(leftMs()).toBe(25_000);
    stopping.abort();
    await clock.advance(20_000);
    expect(leftMs()).toBe(5_000);
    await clock.advance(60_000);
    expect(leftMs()).toBe(500);
  });

  it('begins at once when the signal has aborted before', async () => {
    const clock = new ManualClock();
    const leftMs = timeLeft(clock, 25_000, AbortSignal.abort());
    await clock.advance(1_000);
    expect(leftMs()).toBe(24_000);
  });
});

describe('work that is to end', () => {
  it('has all the time until it is asked to', async () => {
    const { clock, end, inTime } = setUp();
    await clock.advance(60_000);
    end();
    expect(await inTime).toBe(true);
  });

  it('may take so long from then on', async () => {
    const { clock, stopping, end, inTime } = setUp();
    stopping.abort();
    await clock.advance(24_999);
    end();
    expect(await inTime).toBe(true);
  });

  it('is not waited for any longer', async () => {
    const { clock, stopping, inTime } = setUp();
    stopping.abort();
    await clock.advance(25_000);
    expect(await inTime).toBe(false);
  });

  it('tells what it throws', async () => {
    const failing = Promise.reject(new Error('no'));
    const { clock, stopping } = setUp();
    await expect(endsInTime(failing, 1, { clock, signal: stopping.signal })).rejects.toThrow('no');
  });
});
