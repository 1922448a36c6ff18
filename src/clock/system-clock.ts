import { setTimeout as delay } from 'node:timers/promises';

import type { Clock } from './clock.ts';
import { createDeadline } from './deadline.ts';

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  deadline: (ms, parent) =>
    createDeadline((fire) => {
      const timer = setTimeout(fire, ms).unref();
      return () => {
        clearTimeout(timer);
      };
    }, parent),
  async sleep(ms, signal) {
    try {
      await delay(ms, undefined, { signal });
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    }
  },
};
