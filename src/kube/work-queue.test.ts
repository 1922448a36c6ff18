import fc from 'fast-check';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';

import { ManualClock } from '../clock/manual-clock.ts';
import { WorkQueue, type WorkQueueMetrics } from './work-queue.ts';

const NEVER = new AbortController().signal;

function setUp(metrics?: WorkQueueMetrics): { clock: ManualClock; queue: WorkQueue } {
  const clock = new ManualClock();
  return { clock, queue: new WorkQueue({ name: 'probes', clock, metrics }) };
}

/** Gets all due keys and marks them as done. */
async function drain(queue: WorkQueue): Promise<string[]> {
  const keys: string[] = [];
  while (queue.depth > 0) {
    const key = await queue.get(NEVER);
    if (key !== undefined) keys.push(key);
  }
  for (const key of keys) queue.done(key);
  return keys;
}

/** Time until the queue hands out the next key. */
async function nextKeyDelayMs(clock: ManualClock, queue: WorkQueue): Promise<number> {
  const startMs = clock.monotonicMs();
  let dueMs = startMs;
  const got = queue.get(NEVER).then((key) => {
    dueMs = clock.monotonicMs();
    queue.done(key ?? '');
  });
  await clock.advance(2_000_000);
  await got;
  return dueMs - startMs;
}

describe('due keys', () => {
  it('are handed out once each, in the order in which they were added', async () => {
    const { queue } = setUp();
    for (const key of ['b', 'a', 'b', 'c', 'a']) queue.add(key);
    expect(queue.depth).toBe(3);
    expect(await drain(queue)).toEqual(['b', 'a', 'c']);
  });

  it('are handed to the worker that has waited longest', async () => {
    const { queue } = setUp();
    const workers = Promise.all([queue.get(NEVER), queue.get(NEVER)]);
    queue.add('a');
    queue.add('b');
    expect(await workers).toEqual(['a', 'b']);
    expect(queue.depth).toBe(0);
  });

  it('are queued again after done if they were added during processing', async () => {
    const { queue } = setUp();
    queue.add('a');
    await queue.get(NEVER);
    queue.add('a');
    queue.add('a');
    queue.add('b');
    expect(await queue.get(NEVER)).toBe('b');
    expect(queue.depth).toBe(0);
    queue.done('a');
    expect(await drain(queue)).toEqual(['a']);
  });

  it('are not lost when a waiting worker aborts', async () => {
    const { queue } = setUp();
    const stop = new AbortController();
    const aborted = queue.get(stop.signal);
    stop.abort();
    queue.add('a');
    expect(await aborted).toBeUndefined();
    expect(await queue.get(stop.signal)).toBeUndefined();
    expect(await queue.get(NEVER)).toBe('a');
  });
});

describe('delayed keys', () => {
  it('are handed out in the order of their due times, using one timer', async () => {
    const { clock, queue } = setUp();
    queue.addAfter('late', 300);
    queue.addAfter('early', 100);
    queue.addAfter('middle', 200);
    queue.addAfter('immediate', 0);
    expect(clock.pendingTimers).toBe(1);
    expect(await drain(queue)).toEqual(['immediate']);
    await clock.advance(99);
    expect(queue.depth).toBe(0);
    await clock.advance(101);
    expect(await drain(queue)).toEqual(['early', 'middle']);
    await clock.advance(100);
    expect(await drain(queue)).toEqual(['late']);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([
    { name: 'the second time is later', delaysMs: [100, 500] },
    { name: 'the second time is earlier', delaysMs: [500, 100] },
    { name: 'both times are the same', delaysMs: [100, 100] },
  ])('become due at the earlier of two times: $name', async ({ delaysMs }) => {
    const { clock, queue } = setUp();
    for (const delayMs of delaysMs) queue.addAfter('a', delayMs);
    await clock.advance(100);
    expect(await drain(queue)).toEqual(['a']);
    await clock.advance(1_000);
    expect(await drain(queue)).toEqual([]);
  });

  it('can wait longer than the longest Node.js timer', async () => {
    const { clock, queue } = setUp();
    const delayMs = 2 ** 32;
    const deadline = vi.spyOn(clock, 'deadline');
    queue.addAfter('a', delayMs);
    expect(deadline.mock.calls).toEqual([[2 ** 31 - 1]]);
    await clock.advance(delayMs - 1);
    expect(queue.depth).toBe(0);
    await clock.advance(1);
    expect(queue.depth).toBe(1);
  });

  it('are handed out once, however often they are rescheduled', async () => {
    const { clock, queue } = setUp();
    for (let delayMs = 10_000; delayMs > 0; delayMs -= 1) queue.addAfter('a', delayMs);
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(20_000);
    expect(await drain(queue)).toEqual(['a']);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('failed keys', () => {
  it('are delayed with exponential backoff until forgotten', async () => {
    const { clock, queue } = setUp();
    const delaysMs: number[] = [];
    for (let failure = 0; failure < 20; failure += 1) {
      queue.addRateLimited('a');
      delaysMs.push(await nextKeyDelayMs(clock, queue));
    }
    expect(delaysMs.slice(0, 5)).toEqual([5, 10, 20, 40, 80]);
    expect(delaysMs.slice(-3)).toEqual([655_360, 1_000_000, 1_000_000]);

    queue.forget('a');
    queue.addRateLimited('a');
    expect(await nextKeyDelayMs(clock, queue)).toBe(5);
  });

  it('do not delay other keys', async () => {
    const { clock, queue } = setUp();
    for (let failure = 0; failure < 10; failure += 1) queue.addRateLimited('bad');
    queue.addRateLimited('good');
    await clock.advance(5);
    expect(await drain(queue)).toEqual(['bad', 'good']);
  });
});

describe('shutDown', () => {
  it('still hands out due and re-added keys, and drops delayed ones', async () => {
    const { clock, queue } = setUp();
    queue.add('a');
    queue.add('b');
    queue.addAfter('delayed', 100);
    expect(await queue.get(NEVER)).toBe('a');
    queue.add('a');
    queue.shutDown();
    queue.add('new');
    queue.addAfter('new', 1);
    queue.addRateLimited('new');
    expect(clock.pendingTimers).toBe(0);
    expect(await queue.get(NEVER)).toBe('b');
    expect(await queue.get(NEVER)).toBeUndefined();
    queue.done('a');
    expect(await queue.get(NEVER)).toBe('a');
    expect(await queue.get(NEVER)).toBeUndefined();
  });

  it('stops all waiting workers', async () => {
    const { queue } = setUp();
    const workers = Promise.all([queue.get(NEVER), queue.get(NEVER)]);
    queue.shutDown();
    expect(await workers).toEqual([undefined, undefined]);
  });
});

it('reports waiting and processing times in its metrics', async () => {
  const metrics = { depth: vi.fn(), added: vi.fn(), queued: vi.fn(), worked: vi.fn(), retried: vi.fn() };
  const { clock, queue } = setUp(metrics);
  queue.add('a');
  queue.add('a');
  await clock.advance(30);
  await queue.get(NEVER);
  await clock.advance(50);
  queue.addRateLimited('a');
  queue.done('a');
  expect(metrics.depth.mock.calls).toEqual([[1], [0]]);
  expect(metrics.added).toHaveBeenCalledTimes(1);
  expect(metrics.queued.mock.calls).toEqual([[30]]);
  expect(metrics.worked.mock.calls).toEqual([[50]]);
  expect(metrics.retried).toHaveBeenCalledTimes(1);
});

it('never gives a key to two workers at a time, and processes every key after each add', async () => {
  const key = fc.constantFrom('a', 'b', 'c');
  const step = fc.oneof(
    fc.record({ do: fc.constant('add' as const), key }),
    fc.record({ do: fc.constant('addAfter' as const), key, ms: fc.integer({ min: -5, max: 50 }) }),
    fc.record({ do: fc.constant('addRateLimited' as const), key }),
    fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 30 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.nat(20), async (steps, workMs) => {
      const { clock, queue } = setUp();
      const inProgress = new Set<string>();
      /** Keys that were added but have not been handed out since then. */
      const pending = new Set<string>();
      let hasOverlap = false;
      async function work(): Promise<void> {
        for (let next = await queue.get(NEVER); next !== undefined; next = await queue.get(NEVER)) {
          hasOverlap ||= inProgress.has(next);
          inProgress.add(next);
          pending.delete(next);
          await clock.sleep(workMs, NEVER);
          inProgress.delete(next);
          queue.done(next);
        }
      }
      const workers = Promise.all([work(), work()]);
      for (const each of steps) {
        if (each.do === 'pass') {
          await clock.advance(each.ms);
          continue;
        }
        pending.add(each.key);
        if (each.do === 'addAfter') queue.addAfter(each.key, each.ms);
        else queue[each.do](each.key);
        await setImmediate();
      }
      await clock.advance(10_000_000);
      queue.shutDown();
      await workers;
      expect(hasOverlap).toBe(false);
      expect([...pending]).toEqual([]);
      expect(clock.pendingTimers).toBe(0);
      expect(queue.depth).toBe(0);
    }),
    { numRuns: 200 },
  );
});
