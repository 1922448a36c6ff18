import type { Clock } from '../clock/clock.ts';
import { errorFields } from './error-fields.ts';
import { KubeError, type KubeLogger } from './kube-client.ts';
import type { WorkQueue } from './work-queue.ts';

export type ReconcileResult = { readonly requeueAfterMs?: number | undefined } | undefined | void;

export interface Reconciler {
  /**
   * Brings the actual state of the object closer to its desired state.
   *
   * | outcome | effect |
   * |---|---|
   * | resolves | done until the key is added again |
   * | resolves with `requeueAfterMs` | the key is added again after this delay |
   * | throws | retried with exponential backoff |
   * | throws a {@link TerminalError} | not retried until the key is added again |
   * | throws after the controller has been stopped | the key is added again; not counted as a failure |
   *
   * @param key never passed to two calls at the same time.
   * @param signal aborts when the controller stops or the call times out.
   */
  reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult>;
}

/** An error that a retry cannot fix, because the object must change first. */
export class TerminalError extends Error {
  override readonly name = 'TerminalError';
}

export interface ControllerMetrics {
  reconciled(result: ReconcileOutcome, durationMs: number): void;
  activeWorkers(workers: number): void;
}

/** Values of the `result` label of `controller_runtime_reconcile_total`. */
export type ReconcileOutcome = 'success' | 'error' | 'requeue' | 'requeue_after';

export interface ControllerOptions {
  readonly name: string;
  /** The caller must shut it down. */
  readonly queue: WorkQueue;
  /** Maximum number of concurrent reconciles. */
  readonly workers: number;
  readonly reconciler: Reconciler;
  readonly clock: Clock;
  readonly log: KubeLogger;
  /** Time limit for one reconciler call. Default 120,000. */
  readonly reconcileTimeoutMs?: number;
  readonly metrics?: ControllerMetrics | undefined;
}

/**
 * Reconciles keys from the queue until `signal` aborts or the queue is shut down and empty. Resolves when all
 * reconciler calls have settled. Never rejects because of a reconciler error.
 */
export async function runController(options: ControllerOptions, signal: AbortSignal): Promise<void> {
  const { queue, workers, metrics } = options;
  let active = 0;

  async function runWorker(): Promise<void> {
    for (let key = await queue.get(signal); key !== undefined; key = await queue.get(signal)) {
      metrics?.activeWorkers(++active);
      try {
        await reconcileOnce(options, key, signal);
      } finally {
        metrics?.activeWorkers(--active);
        queue.done(key);
      }
    }
  }

  await Promise.all(Array.from({ length: workers }, runWorker));
}

async function reconcileOnce(options: ControllerOptions, key: string, signal: AbortSignal): Promise<void> {
  const { queue, reconciler, clock, reconcileTimeoutMs = 120_000, metrics } = options;
  const startMs = clock.monotonicMs();
  using deadline = clock.deadline(reconcileTimeoutMs, signal);
  let outcome: ReconcileOutcome;
  try {
    // A worker may get a key just before `signal` aborts.
    signal.throwIfAborted();
    const result = await reconciler.reconcile(key, deadline.signal);
    outcome = settle(queue, key, result?.requeueAfterMs);
  } catch (error) {
    outcome = recover(options, key, error, signal);
  }
  metrics?.reconciled(outcome, clock.monotonicMs() - startMs);
}

function settle(queue: WorkQueue, key: string, requeueAfterMs: number | undefined): ReconcileOutcome {
  queue.forget(key);
  if (requeueAfterMs === undefined) return 'success';
  queue.addAfter(key, requeueAfterMs);
  return 'requeue_after';
}

function recover(
  { name, queue, log }: ControllerOptions,
  key: string,
  error: unknown,
  signal: AbortSignal,
): ReconcileOutcome {
  if (signal.aborted) {
    queue.add(key);
    return 'requeue';
  }
  const isTerminal = error instanceof TerminalError;
  // Any other error is a bug, so log its stack.
  const isExpected = isTerminal || error instanceof KubeError || !(error instanceof Error);
  const stack = isExpected ? undefined : error.stack;
  log.error({ controller: name, key, isTerminal, ...errorFields(error), stack }, 'reconcile failed');
  if (isTerminal) queue.forget(key);
  else queue.addRateLimited(key);
  return 'error';
}
