import { describe, expect, it, vi } from 'vitest';

import { ManualClock } from '../clock/manual-clock.ts';
import { type ReconcileResult, runController, TerminalError } from './controller.ts';
import { KubeError } from './kube-client.ts';
import { WorkQueue } from './work-queue.ts';

type Reconcile = (key: string, signal: AbortSignal) => Promise<ReconcileResult>;

function start(reconcile: Reconcile, { workers = 1, reconcileTimeoutMs = 60_000 } = {}) {
  const clock = new ManualClock();
  const queue = new WorkQueue({ name: 'probes', clock });
  const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };
  const metrics = { reconciled: vi.fn(), activeWorkers: vi.fn() };
  const stop = new AbortController();
  const ended = runController(
    { name: 'probes', queue, workers, reconciler: { reconcile }, clock, log, reconcileTimeoutMs, metrics },
    stop.signal,
  );
  return { clock, queue, log, metrics, stop, ended };
}

function hang(_key: string, signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error));
  });
}

describe('an outcome of the reconciler', () => {
  const REFUSED = new KubeError('PATCH …/status: 403 Forbidden', { status: 403, reason: 'Forbidden' });

  it.each([
    { name: 'nothing', outcome: () => undefined, result: 'success', comesAgainMs: [] },
    {
      name: 'a time to come again',
      outcome: () => ({ requeueAfterMs: 400 }),
      result: 'requeue_after',
      comesAgainMs: [400, 800],
    },
    {
      name: 'a failure',
      outcome: () => {
        throw REFUSED;
      },
      result: 'error',
      comesAgainMs: [5, 15, 35, 75, 155, 315, 635],
    },
    {
      name: 'a failure that nothing mends',
      outcome: () => {
        throw new TerminalError('no such thing');
      },
      result: 'error',
      comesAgainMs: [],
    },
  ])('$name', async ({ outcome, result, comesAgainMs }) => {
    const timesMs: number[] = [];
    const { clock, queue, metrics, stop, ended } = start(async () => {
      timesMs.push(clock.monotonicMs());
      return outcome();
    });
    queue.add('a');
    await clock.advance(1_000);
    expect(timesMs).toEqual([0, ...comesAgainMs]);
    expect(new Set(metrics.reconciled.mock.calls.map(([each]) => each as string))).toEqual(new Set([result]));
    stop.abort();
    await ended;
  });

  it('forgets the failures after a success', async () => {
    const outcomes = ['fails', 'fails', 'passes', 'fails', 'passes'];
    const timesMs: number[] = [];
    const { clock, queue } = start(async () => {
      timesMs.push(clock.monotonicMs());
      const outcome = outcomes.shift();
      if (outcome === 'fails') throw REFUSED;
      return { requeueAfterMs: 100 };
    });
    queue.add('a');
    await clock.advance(150);
    expect(timesMs).toEqual([0, 5, 15, 115, 120]);
  });

  it.each([
    { name: 'a refusal', thrown: REFUSED, fields: { reason: 'Forbidden', error: REFUSED.message } },
    {
      name: 'a terminal error',
      thrown: new TerminalError('no such thing'),
      fields: { isTerminal: true, reason: 'TerminalError', error: 'no such thing' },
    },
    {
      name: 'a mistake',
      thrown: new TypeError('x is no function'),
      fields: {
        reason: 'TypeError',
        error: 'x is no function',
        stack: expect.stringContaining('controller.test') as string,
      },
    },
    {
      name: 'no error at all',
      thrown: Object.create(null) as unknown,
      fields: { reason: 'NoError', error: 'thrown: object' },
    },
  ])('logs one line: $name', async ({ thrown, fields }) => {
    const { clock, queue, log } = start(() => Promise.reject(thrown));
    queue.add('a');
    await clock.advance(1);
    expect(log.error.mock.calls).toEqual([
      [
        { controller: 'probes', key: 'a', isTerminal: false, stack: undefined, ...fields },
        'reconcile failed',
      ],
    ]);
  });

  it('survives a reconciler that throws before it gives a promise', async () => {
    const reconcile = vi.fn<Reconcile>(() => {
      throw new TypeError('x is no function');
    });
    const { clock, queue, stop, ended } = start(reconcile);
    queue.add('a');
    await clock.advance(5);
    expect(reconcile).toHaveBeenCalledTimes(2);
    stop.abort();
    await ended;
  });
});

it('works on as many keys at a time as it has workers', async () => {
  const { clock, queue, metrics, stop, ended } = start(
    async (_key, signal) => {
      await clock.sleep(100, signal);
    },
    { workers: 3 },
  );
  for (const key of ['a', 'b', 'c', 'd', 'e']) queue.add(key);
  await clock.advance(50);
  expect(queue.depth).toBe(2);
  expect(metrics.activeWorkers).toHaveBeenLastCalledWith(3);
  await clock.advance(150);
  expect(metrics.reconciled.mock.calls).toEqual(Array.from({ length: 5 }, () => ['success', 100]));
  expect(metrics.activeWorkers).toHaveBeenLastCalledWith(0);
  stop.abort();
  await ended;
});

it('ends a call whose time is up, and tries again', async () => {
  const reconcile = vi.fn<Reconcile>(hang);
  const { clock, queue, metrics } = start(reconcile, { reconcileTimeoutMs: 1_000 });
  queue.add('a');
  await clock.advance(1_005);
  expect(metrics.reconciled.mock.calls).toEqual([['error', 1_000]]);
  expect(reconcile).toHaveBeenCalledTimes(2);
});

describe('the end', () => {
  it('waits for the call under way, and leaves its key in the queue without a failure', async () => {
    let isCleanedUp = false;
    const { clock, queue, log, stop, ended } = start(async (key, signal) => {
      await hang(key, signal).catch(() => undefined);
      await clock.sleep(100, new AbortController().signal);
      isCleanedUp = true;
      signal.throwIfAborted();
    });
    queue.add('a');
    queue.add('b');
    await clock.advance(1);
    stop.abort();
    await clock.advance(100);
    await ended;
    expect(isCleanedUp).toBe(true);
    expect(log.error).not.toHaveBeenCalled();
    const { signal } = new AbortController();
    expect([await queue.get(signal), await queue.get(signal)]).toEqual(['b', 'a']);
  });

  it('does not begin what was handed over just before', async () => {
    const reconcile = vi.fn<Reconcile>();
    const { clock, queue, stop, ended } = start(reconcile);
    await clock.advance(1);
    queue.add('a');
    stop.abort();
    await ended;
    expect(reconcile).not.toHaveBeenCalled();
    expect(queue.depth).toBe(1);
  });

  it('comes when the queue is shut down and worked off', async () => {
    const reconcile = vi.fn<Reconcile>();
    const { queue, ended } = start(reconcile);
    queue.add('a');
    queue.add('b');
    queue.shutDown();
    await ended;
    expect(reconcile.mock.calls.map(([key]) => key)).toEqual(['a', 'b']);
  });
});
