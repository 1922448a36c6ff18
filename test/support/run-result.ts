import { REASONS, type Reason } from '../../src/api/reasons.ts';
import type { CallResult, FunctionName, RunResult, StepResult } from '../../src/api/run.ts';
import { STEPS } from '../../src/probe/steps.ts';

export interface ResultOptions {
  readonly target?: string;
  /** Duration of each step. The duration of the run is their sum. */
  readonly stepMs?: number;
  /** The failed step. Later steps are skipped. */
  readonly failed?: { readonly step: FunctionName; readonly reason: Reason };
  readonly call?: Partial<CallResult>;
}

/** A plausible run result in which each step makes one call. */
export function runResult({
  target = 'my-minio',
  stepMs = 10,
  failed,
  call = {},
}: ResultOptions = {}): RunResult {
  const failedIndex = STEPS.findIndex(({ functionName }) => functionName === failed?.step);
  const steps = STEPS.map(({ name, functionName }, index): StepResult => {
    if (failedIndex !== -1 && index > failedIndex)
      return { name, functionName, outcome: 'skipped', calls: [] };
    const failure =
      index === failedIndex && failed !== undefined ? { reason: failed.reason, message: 'It broke.' } : {};
    const startOffsetMs = index * stepMs;
    return {
      name,
      functionName,
      outcome: index === failedIndex ? 'failed' : 'passed',
      startOffsetMs,
      durationMs: stepMs,
      ...failure,
      calls: [
        {
          operation: 'PutObject',
          startOffsetMs,
          durationMs: stepMs,
          phases: { sendMs: 0.1, firstByteMs: stepMs, bodyMs: 0.1 },
          bytesSent: 4_096,
          bytesReceived: 0,
          reusedConnection: true,
          status: 200,
          ...failure,
          ...call,
        },
      ],
    };
  });
  return {
    runId: '6ba7b810-9dad-41d1-80b4-00c04fd430c8',
    traceId: '0af7651916cd43dd8448eb211c80319c',
    spanId: 'b7ad6b7169203331',
    probe: { namespace: 'storage', name: 'my-minio' },
    target,
    endpoint: `http://${target}:9000`,
    bucket: 'storage-probe-my-minio-e91c39f5a542',
    startTime: '2026-11-22T12:00:00.000Z',
    durationMs: steps.reduce((sum, { durationMs = 0 }) => sum + durationMs, 0),
    verdict: failed === undefined ? 'Passed' : REASONS[failed.reason].verdict,
    ...(failed !== undefined && { reason: failed.reason, failedStep: failed.step, message: 'It broke.' }),
    steps,
    leftBehind: [],
  };
}
