import { expect, it } from 'vitest';

import { ManualClock } from '../clock/manual-clock.ts';
import { Backoff } from './backoff.ts';

it.each([
  {
    name: 'with the least jitter',
    random: 0.999_999,
    want: [800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000],
  },
  { name: 'with the most jitter', random: 0, want: [400, 800, 1_600, 3_200, 6_400, 12_800, 15_000, 15_000] },
])('doubles the delay up to its limit, $name', ({ random, want }) => {
  const backoff = new Backoff({ clock: new ManualClock(), random: () => random });
  expect(want.map(() => Math.round(backoff.nextMs()))).toEqual(want);
});

it('starts over after a period without failures', async () => {
  const clock = new ManualClock();
  const backoff = new Backoff({ clock, random: () => 0, baseMs: 10, maxMs: 1_000, resetAfterMs: 5_000 });
  expect([backoff.nextMs(), backoff.nextMs()]).toEqual([5, 10]);
  await clock.advance(5_000);
  expect(backoff.nextMs()).toBe(20);
  await clock.advance(5_001);
  expect(backoff.nextMs()).toBe(5);
});
