import type { Clock } from '../clock/clock.ts';
import { faultOf } from './fault.ts';
import { KubeError, type KubeLogger } from './kube-client.ts';
import type { WorkQueue } from './work-queue.ts';

export type ReconcileResult = { readonly requeueAfterMs?: number | undefined } | undefined | void;

export interface Reconciler {
  /**
   * Brings the world nearer to what the object asks for. What comes of it:
   *
   * | outcome | then |
   * |---|---|
   * | resolves | nothing, until the key is added again |
   * | resolves with `requeueAfterMs` | again after that time |
   * | throws | again, ever later with each failure in a row |
   * | throws a {@link TerminalError} | nothing, until the key is added again: no later attempt can mend it |
   * | throws once `signal` has aborted with the controller's | the key goes back into the queue; not a failure |
   *
   * @param key never with two calls at a time.
   * @param signal aborts when the controller ends, and when the time for one call is up.
   */
  reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult>;
}

/** No attempt can succeed before the object changes. */
export class TerminalError extends Error {
  override readonly name = 'TerminalError';
}

export interface ControllerMetrics {
  reconciled(result: ReconcileOutcome, durationMs: number): void;
  activeWorkers(workers: number): void;
}

/** The label values of `controller_runtime_reconcile_total`. */
export type ReconcileOutcome = 'success' | 'error' | 'requeue' | 'requeue_after';

export interface ControllerOptions {
  readonly name: string;
  /** Not shut down here: whoever made it does that. */
  readonly queue: WorkQueue;
  /** How many keys are worked on at a time. */
  readonly workers: number;
  readonly reconciler: Reconciler;
  readonly clock: Clock;
  readonly log: KubeLogger;
  /** For one call of the reconciler. Default 120,000. */
  readonly reconcileTimeoutMs?: number;
  readonly metrics?: ControllerMetrics | undefined;
}

/**
 * Works the queue off until `signal` aborts or the queue is shut down and empty, and resolves when the last call of the
 * reconciler has ended. Never rejects for a fault of the reconciler.
 */
export async function runController(options: ControllerOptions, signal: AbortSignal): Promise<void> {
  const { queue, workers, metrics } = options;
  let active = 0;

  async function work(): Promise<void> {
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

  await Promise.all(Array.from({ length: workers }, work));
}

async function reconcileOnce(options: ControllerOptions, key: string, signal: AbortSignal): Promise<void> {
  const { queue, reconciler, clock, reconcileTimeoutMs = 120_000, metrics } = options;
  const startMs = clock.monotonicMs();
  using deadline = clock.deadline(reconcileTimeoutMs, signal);
  let outcome: ReconcileOutcome;
  try {
    // A key may have been handed over just before the end.
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
  // One that nobody foresaw is a mistake of ours, and is found by its stack.
  const isForeseen = isTerminal || error instanceof KubeError || !(error instanceof Error);
  const stack = isForeseen ? undefined : error.stack;
  log.error({ controller: name, key, isTerminal, ...faultOf(error), stack }, 'reconcile failed');
  if (isTerminal) queue.forget(key);
  else queue.addRateLimited(key);
  return 'error';
}
