import { expect, it } from 'vitest';

import { ManualClock } from '../../clock/manual-clock.ts';
import { timeLeft } from './time-left.ts';

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
