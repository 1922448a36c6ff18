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
  const stopped = runController(
    { name: 'probes', queue, workers, reconciler: { reconcile }, clock, log, reconcileTimeoutMs, metrics },
    stop.signal,
  );
  return { clock, queue, log, metrics, stop, stopped };
}

function hang(_key: string, signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error));
  });
}

describe('reconcile outcomes', () => {
  const FORBIDDEN = new KubeError('PATCH …/status: 403 Forbidden', { status: 403, reason: 'Forbidden' });

  it.each([
    {
      name: 'does not requeue after a success',
      outcome: () => undefined,
      result: 'success',
      laterCallsMs: [],
    },
    {
      name: 'requeues after requeueAfterMs',
      outcome: () => ({ requeueAfterMs: 400 }),
      result: 'requeue_after',
      laterCallsMs: [400, 800],
    },
    {
      name: 'retries a failure with exponential backoff',
      outcome: () => {
        throw FORBIDDEN;
      },
      result: 'error',
      laterCallsMs: [5, 15, 35, 75, 155, 315, 635],
    },
    {
      name: 'does not retry a TerminalError',
      outcome: () => {
        throw new TerminalError('not supported');
      },
      result: 'error',
      laterCallsMs: [],
    },
  ])('$name', async ({ outcome, result, laterCallsMs }) => {
    const timesMs: number[] = [];
    const { clock, queue, metrics, stop, stopped } = start(async () => {
      timesMs.push(clock.monotonicMs());
      return outcome();
    });
    queue.add('a');
    await clock.advance(1_000);
    expect(timesMs).toEqual([0, ...laterCallsMs]);
    expect(new Set(metrics.reconciled.mock.calls.map(([each]) => each as string))).toEqual(new Set([result]));
    stop.abort();
    await stopped;
  });

  it('resets the backoff after a success', async () => {
    const outcomes = ['fails', 'fails', 'passes', 'fails', 'passes'];
    const timesMs: number[] = [];
    const { clock, queue } = start(async () => {
      timesMs.push(clock.monotonicMs());
      const outcome = outcomes.shift();
      if (outcome === 'fails') throw FORBIDDEN;
      return { requeueAfterMs: 100 };
    });
    queue.add('a');
    await clock.advance(150);
    expect(timesMs).toEqual([0, 5, 15, 115, 120]);
  });

  it.each([
    { name: 'a KubeError', thrown: FORBIDDEN, fields: { reason: 'Forbidden', error: FORBIDDEN.message } },
    {
      name: 'a TerminalError',
      thrown: new TerminalError('not supported'),
      fields: { isTerminal: true, reason: 'TerminalError', error: 'not supported' },
    },
    {
      name: 'an unexpected error, with its stack',
      thrown: new TypeError('x is not a function'),
      fields: {
        reason: 'TypeError',
        error: 'x is not a function',
        stack: expect.stringContaining('controller.test') as string,
      },
    },
    {
      name: 'a thrown value that is not an Error',
      thrown: Object.create(null) as unknown,
      fields: { reason: 'NoError', error: 'thrown value is not an Error: object' },
    },
  ])('logs one line for $name', async ({ thrown, fields }) => {
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

  it('retries when the reconciler throws synchronously', async () => {
    const reconcile = vi.fn<Reconcile>(() => {
      throw new TypeError('x is not a function');
    });
    const { clock, queue, stop, stopped } = start(reconcile);
    queue.add('a');
    await clock.advance(5);
    expect(reconcile).toHaveBeenCalledTimes(2);
    stop.abort();
    await stopped;
  });
});

it('reconciles as many keys at a time as it has workers', async () => {
  const { clock, queue, metrics, stop, stopped } = start(
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
  await stopped;
});

it('aborts a call that times out, and retries it', async () => {
  const reconcile = vi.fn<Reconcile>(hang);
  const { clock, queue, metrics } = start(reconcile, { reconcileTimeoutMs: 1_000 });
  queue.add('a');
  await clock.advance(1_005);
  expect(metrics.reconciled.mock.calls).toEqual([['error', 1_000]]);
  expect(reconcile).toHaveBeenCalledTimes(2);
});

describe('stopping', () => {
  it('waits for the call in progress and requeues its key without counting a failure', async () => {
    let isCleanedUp = false;
    const { clock, queue, log, stop, stopped } = start(async (key, signal) => {
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
    await stopped;
    expect(isCleanedUp).toBe(true);
    expect(log.error).not.toHaveBeenCalled();
    const { signal } = new AbortController();
    expect([await queue.get(signal), await queue.get(signal)]).toEqual(['b', 'a']);
  });

  it('does not reconcile a key that a worker got just before the stop', async () => {
    const reconcile = vi.fn<Reconcile>();
    const { clock, queue, stop, stopped } = start(reconcile);
    await clock.advance(1);
    queue.add('a');
    stop.abort();
    await stopped;
    expect(reconcile).not.toHaveBeenCalled();
    expect(queue.depth).toBe(1);
  });

  it('resolves once the queue is shut down and empty', async () => {
    const reconcile = vi.fn<Reconcile>();
    const { queue, stopped } = start(reconcile);
    queue.add('a');
    queue.add('b');
    queue.shutDown();
    await stopped;
    expect(reconcile.mock.calls.map(([key]) => key)).toEqual(['a', 'b']);
  });
});
