import { randomBytes } from 'node:crypto';

import { TracerProvider } from '@opentelemetry/sdk-trace';

import type { BucketPlan, Credentials, RunResult } from '../../src/api/run.ts';
import { systemClock } from '../../src/clock/system-clock.ts';
import { runProbe } from '../../src/probe/run-probe.ts';
import { TargetKeyring } from '../../src/s3/target-keys.ts';

export interface RunOnceOptions {
  readonly mode?: BucketPlan['mode'];
  readonly credentials?: Credentials;
  readonly timeoutMs?: number;
  readonly sizeBytes?: number;
}

/** Makes one run against an endpoint, without exporting its trace. In mode `Existing`, the bucket is `canary`. */
export function runOnce(
  endpoint: string,
  {
    mode = 'Ephemeral',
    credentials = { accessKey: 'access', secretKey: 'the-secret-key' },
    timeoutMs = 20_000,
    sizeBytes = 4_096,
  }: RunOnceOptions = {},
): Promise<RunResult> {
  const request = {
    runId: '6ba7b810-9dad-41d1-80b4-00c04fd430c8',
    probe: { namespace: 'storage', name: 'my-minio' },
    owner: 'somebody@laptop',
    target: { name: 'my-minio', endpoint, region: 'us-east-1', credentials },
    bucket: mode === 'Existing' ? { mode, name: 'canary' } : { mode },
    objectSizesBytes: [sizeBytes],
    timeoutMs,
    cleanUpTimeoutMs: timeoutMs,
  };
  const deps = {
    clock: systemClock,
    keyring: new TargetKeyring(),
    randomBytes,
    tracer: new TracerProvider().getTracer('test'),
    version: '1.2.3',
  };
  return runProbe(request, deps, new AbortController().signal);
}
