import { setTimeout as delay } from 'node:timers/promises';

import type { Clock } from './clock.ts';
import { makeDeadline } from './deadline.ts';

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  deadline: (ms, earlier) =>
    makeDeadline((fire) => {
      const timer = setTimeout(fire, ms).unref();
      return () => {
        clearTimeout(timer);
      };
    }, earlier),
  async sleep(ms, signal) {
    try {
      await delay(ms, undefined, { signal });
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    }
  },
};
