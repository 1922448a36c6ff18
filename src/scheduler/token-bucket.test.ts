import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { TokenBucket } from './token-bucket.ts';

describe('a token bucket with a burst of 3 and 10 tokens per second', () => {
  it('allows a burst, then spaces the rest evenly', () => {
    const bucket = new TokenBucket({ burst: 3, perSecond: 10 });
    expect([1, 2, 3, 4, 5].map(() => bucket.take(7, Infinity))).toEqual([0, 0, 0, 100, 200]);
    expect(bucket.take(307, Infinity)).toBe(0);
  });

  it('takes no token that would be available too late', () => {
    const bucket = new TokenBucket({ burst: 1, perSecond: 10 });
    expect([50, 100, 101, 101].map((maxDelayMs) => bucket.take(0, maxDelayMs))).toEqual([
      0,
      undefined,
      100,
      undefined,
    ]);
  });

  it('never exceeds the burst and the rate', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 100 }), (gapsMs) => {
        const bucket = new TokenBucket({ burst: 3, perSecond: 10 });
        let nowMs = 0;
        const startsMs = gapsMs.map((gapMs) => {
          nowMs += gapMs;
          return nowMs + (bucket.take(nowMs, Infinity) ?? Number.NaN);
        });
        for (const [index, startMs] of startsMs.entries()) {
          const thirdBeforeMs = startsMs[index - 3] ?? -Infinity;
          expect(startMs - thirdBeforeMs).toBeGreaterThanOrEqual(100);
        }
      }),
    );
  });
});
