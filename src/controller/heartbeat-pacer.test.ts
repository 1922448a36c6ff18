import { expect, it } from 'vitest';

import { ManualClock } from '../clock/manual-clock.ts';
import { HeartbeatPacer } from './heartbeat-pacer.ts';

it('keeps 10,000 heartbeats that are due together below 20 a second', async () => {
  const clock = new ManualClock();
  const pacer = new HeartbeatPacer({ clock, heartbeatMs: 60_000, probeCount: () => 10_000 });
  const perSecond = new Map<number, number>();
  await clock.advance(60_000);
  let lastMs = 0;
  for (let probe = 0; probe < 10_000; probe += 1) {
    lastMs = pacer.reserve(0) ?? Infinity;
    const second = Math.floor(lastMs / 1_000);
    perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
  }
  const [first = 0, ...others] = perSecond.values();
  expect(first).toBeLessThanOrEqual(28);
  expect(Math.max(...others)).toBeLessThan(20);
  expect(lastMs).toBeLessThan(60_000 + pacer.maxStalenessMs);
});

it('delays nothing while there are few probes', async () => {
  const clock = new ManualClock();
  const pacer = new HeartbeatPacer({ clock, heartbeatMs: 60_000, probeCount: () => 100 });
  expect(pacer.maxStalenessMs).toBe(60_000);
  expect(pacer.reserve(0)).toBeUndefined();
  for (let second = 60; second < 120; second += 1) {
    await clock.advance(second === 60 ? 60_000 : 1_000);
    expect(pacer.reserve(0)).toBe(second * 1_000);
    expect(pacer.reserve(0)).toBe(second * 1_000);
  }
});
