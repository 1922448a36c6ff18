import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { Pace } from './pace.ts';

describe('a pace of 3 at once and 10 per second', () => {
  it('lets a burst through, then the rest one by one', () => {
    const pace = new Pace({ burst: 3, perSecond: 10 });
    expect([1, 2, 3, 4, 5].map(() => pace.take(7, Infinity))).toEqual([0, 0, 0, 100, 200]);
    expect(pace.take(307, Infinity)).toBe(0);
  });

  it('takes no token that would come too late', () => {
    const pace = new Pace({ burst: 1, perSecond: 10 });
    expect([50, 100, 101, 101].map((maxDelayMs) => pace.take(0, maxDelayMs))).toEqual([
      0,
      undefined,
      100,
      undefined,
    ]);
  });

  it('never lets more through than burst and rate allow', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 100 }), (gapsMs) => {
        const pace = new Pace({ burst: 3, perSecond: 10 });
        let nowMs = 0;
        const startsMs = gapsMs.map((gapMs) => {
          nowMs += gapMs;
          return nowMs + (pace.take(nowMs, Infinity) ?? Number.NaN);
        });
        for (const [index, startMs] of startsMs.entries()) {
          const thirdBeforeMs = startsMs[index - 3] ?? -Infinity;
          expect(startMs - thirdBeforeMs).toBeGreaterThanOrEqual(100);
        }
      }),
    );
  });
});
