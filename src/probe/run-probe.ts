import { ROOT_CONTEXT, type Span, trace, type Tracer } from '@opentelemetry/api';

import { oneLine } from '../api/one-line.ts';
import { ReasonedError, REASONS, type Verdict } from '../api/reasons.ts';
import type { CallResult, FunctionName, RunRequest, RunResult, StepResult } from '../api/run.ts';
import type { Clock } from '../clock/clock.ts';
import type { Deadline } from '../clock/deadline.ts';
import type { AddressPolicy } from '../s3/address-policy.ts';
import type { Resolver } from '../s3/resolver.ts';
import { S3Client } from '../s3/s3-client.ts';
import type { TargetKeyring } from '../s3/target-keys.ts';
import { ATTR_FUNCTION_NAME } from '../telemetry/attributes.ts';
import { ephemeralBucket } from './names.ts';
import type { RandomBytes } from './payload.ts';
import { endSpan, rootAttributes, startCallSpan, verdictAttributes } from './spans.ts';
import { type CreatedResources, type Step, type StepContext, STEPS } from './steps.ts';
import { TracedStore } from './traced-store.ts';

export interface ProbeDeps {
  readonly clock: Clock;
  /** Shared by all runs, so that the keys of a target are created once. */
  readonly keyring: TargetKeyring;
  readonly randomBytes: RandomBytes;
  /** Tracer whose `service.name` is the target's name. */
  readonly tracer: Tracer;
  /** Version of storage-probe, sent in the `user-agent` header. */
  readonly version: string;
  /** Addresses that the probe may connect to. Default: any. */
  readonly addressPolicy?: AddressPolicy | undefined;
  /** Shared by all runs. Default: the system's resolver, without a cache or limits. */
  readonly resolver?: Resolver | undefined;
  /** Called when a step starts and when it finishes, for a live display. */
  readonly onProgress?: (progress: Progress) => void;
}

export type Progress = { readonly started: FunctionName } | { readonly finished: StepResult };

/**
 * Makes one run: six steps against one target, recorded in one trace.
 *
 * When `request.timeoutMs` has passed or `signal` aborts, the current step is aborted and the remaining steps are
 * skipped. Clean-up of the resources that the run created still happens, limited by `request.cleanUpTimeoutMs`.
 * Failures of the target, the network or the request do not throw but are reported in the result.
 */
export async function runProbe(
  request: RunRequest,
  deps: ProbeDeps,
  signal: AbortSignal,
): Promise<RunResult> {
  const run = new Run(request, deps, signal);
  try {
    return await run.execute();
  } finally {
    run.close();
  }
}

class Run {
  readonly #request: RunRequest;
  readonly #deps: ProbeDeps;
  readonly #deadline: Deadline;
  readonly #bucket: string;
  readonly #endpoint: URL;
  readonly #root: Span;
  readonly #startMs: number;
  readonly #startEpochMs: number;
  readonly #created: CreatedResources = { bucket: false, payloads: [], objects: [] };
  readonly #steps: StepResult[] = [];
  #cleanUpDeadline: Deadline | undefined;
  #client: S3Client | undefined;

  constructor(request: RunRequest, deps: ProbeDeps, signal: AbortSignal) {
    this.#request = request;
    this.#deps = deps;
    this.#deadline = deps.clock.deadline(request.timeoutMs, signal);
    this.#bucket = request.bucket.mode === 'Existing' ? request.bucket.name : ephemeralBucket(request);
    this.#endpoint = new URL(request.target.endpoint);
    this.#startMs = deps.clock.monotonicMs();
    this.#startEpochMs = deps.clock.now();
    this.#root = deps.tracer.startSpan(
      'storage probe',
      { root: true, startTime: this.#startEpochMs, attributes: rootAttributes(request) },
      ROOT_CONTEXT,
    );
  }

  async execute(): Promise<RunResult> {
    for (const step of STEPS) {
      const failed = this.#steps.some(({ outcome }) => outcome === 'failed');
      const shouldRun = !failed || step.needsCleanUp?.(this.#created) === true;
      this.#steps.push(shouldRun ? await this.#runStep(step, failed) : skipped(step));
    }
    return this.#conclude();
  }

  close(): void {
    this.#client?.close();
    this.#deadline[Symbol.dispose]();
    this.#cleanUpDeadline?.[Symbol.dispose]();
  }

  async #runStep(step: Step, isCleanUp: boolean): Promise<StepResult> {
    const { name, functionName } = step;
    this.#deps.onProgress?.({ started: functionName });
    const startOffsetMs = this.#elapsedMs();
    const span = this.#deps.tracer.startSpan(
      name,
      { startTime: this.#epochMs(startOffsetMs), attributes: { [ATTR_FUNCTION_NAME]: functionName } },
      trace.setSpan(ROOT_CONTEXT, this.#root),
    );
    const result: StepResult = { name, functionName, outcome: 'passed', startOffsetMs, calls: [] };
    const runAction = (asCleanUp: boolean): Promise<void> =>
      step.action(this.#context(span, result.calls, asCleanUp));
    try {
      await runAction(isCleanUp);
    } catch (error) {
      Object.assign(result, { outcome: 'failed' }, reasonOf(error, this.#signalOf(isCleanUp)));
      // A removal that failed or was aborted is tried again as clean-up. The step still counts as failed.
      if (!isCleanUp && step.needsCleanUp?.(this.#created) === true) {
        await runAction(true).catch(() => undefined);
      }
    }
    result.durationMs = this.#elapsedMs() - startOffsetMs;
    endSpan(span, result, this.#epochMs(startOffsetMs + result.durationMs));
    this.#deps.onProgress?.({ finished: result });
    return result;
  }

  #context(step: Span, calls: CallResult[], isCleanUp: boolean): StepContext {
    const { tracer, randomBytes } = this.#deps;
    const signal = this.#signalOf(isCleanUp);
    return {
      request: this.#request,
      bucket: this.#bucket,
      created: this.#created,
      randomBytes,
      signal,
      isCleanUp,
      event: (name) => {
        step.addEvent(name, this.#epochMs(this.#elapsedMs()));
      },
      store: new TracedStore({
        bucket: this.#bucket,
        endpoint: this.#endpoint,
        signal,
        calls,
        client: () => this.#connect(),
        startSpan: () => startCallSpan(tracer, step, this.#epochMs(this.#elapsedMs())),
        endSpan: (span, call) => {
          endSpan(span, call, this.#epochMs(this.#elapsedMs()));
        },
      }),
    };
  }

  /** Creates the client on the first call, so that an invalid CA bundle fails a step like any other error. */
  #connect(): S3Client {
    this.#client ??= new S3Client(this.#request.target, this.#bucket, {
      ...this.#deps,
      originMs: this.#startMs,
    });
    return this.#client;
  }

  #conclude(): RunResult {
    const { runId, probe, target } = this.#request;
    const { traceId, spanId } = this.#root.spanContext();
    const durationMs = this.#elapsedMs();
    const failed = this.#steps.find(({ outcome }) => outcome === 'failed');
    const result: RunResult = {
      runId,
      traceId,
      spanId,
      probe,
      target: target.name,
      endpoint: target.endpoint,
      bucket: this.#bucket,
      startTime: new Date(this.#startEpochMs).toISOString(),
      durationMs,
      verdict: verdictOf(failed),
      steps: this.#steps,
      leftBehind: this.#leftBehind(),
    };
    if (failed?.reason !== undefined) result.reason = failed.reason;
    if (failed?.message !== undefined) result.message = failed.message;
    if (failed !== undefined) result.failedStep = failed.functionName;
    this.#root.setAttributes(verdictAttributes(result));
    endSpan(this.#root, result, this.#epochMs(durationMs));
    return result;
  }

  #leftBehind(): string[] {
    const objects = this.#created.objects.map(({ key }) => `${this.#bucket}/${key}`);
    return this.#created.bucket ? [this.#bucket, ...objects] : objects;
  }

  /** Starts the clean-up deadline when it is first needed. */
  #signalOf(isCleanUp: boolean): AbortSignal {
    if (!isCleanUp) return this.#deadline.signal;
    this.#cleanUpDeadline ??= this.#deps.clock.deadline(this.#request.cleanUpTimeoutMs);
    return this.#cleanUpDeadline.signal;
  }

  #elapsedMs(): number {
    return this.#deps.clock.monotonicMs() - this.#startMs;
  }

  #epochMs(offsetMs: number): number {
    return this.#startEpochMs + offsetMs;
  }
}

function skipped({ name, functionName }: Step): StepResult {
  return { name, functionName, outcome: 'skipped', calls: [] };
}

function verdictOf(failed: StepResult | undefined): Verdict {
  if (failed === undefined) return 'Passed';
  return failed.reason === undefined ? 'Unknown' : REASONS[failed.reason].verdict;
}

function reasonOf(error: unknown, signal: AbortSignal): Pick<StepResult, 'reason' | 'message'> {
  if (error instanceof ReasonedError) return { reason: error.reason, message: error.message };
  const { name, message } = error instanceof Error ? error : new Error(String(error));
  if (signal.aborted && error === signal.reason) {
    return name === 'TimeoutError'
      ? { reason: 'Timeout', message: 'timed out between two calls' }
      : { reason: 'Cancelled', message: 'cancelled between two calls' };
  }
  return { reason: 'ProberError', message: oneLine(message) };
}
