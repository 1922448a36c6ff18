import { randomBytes, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';

import type { RunRequest } from '../../../src/api/run.ts';
import { systemClock } from '../../../src/clock/system-clock.ts';
import { runProbe } from '../../../src/probe/run-probe.ts';
import { TargetKeyring } from '../../../src/s3/target-keys.ts';
import { otlpSettings } from '../../../src/telemetry/otlp-settings.ts';
import { otlpTransportFactory } from '../../../src/telemetry/otlp-transport.ts';
import { RetryingExporter } from '../../../src/telemetry/retrying-exporter.ts';
import { startTracing } from '../../../src/telemetry/tracing.ts';
import { serve } from './serve.ts';
import { OBJECT_BYTES, readSettings } from './settings.ts';

const FLUSH_TIMEOUT_MS = 10_000;

const settings = readSettings();
process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] = settings.otlpEndpoint;
const otlp = otlpSettings({ env: process.env, readFile: (path) => readFileSync(path) });
const exporter = new RetryingExporter({
  create: await otlpTransportFactory(otlp),
  clock: systemClock,
  random: Math.random,
});
const keyring = new TargetKeyring();
const tracing = await startTracing({
  exporter,
  version: 'bench',
  onDiagnostic: (_level, message) => process.stderr.write(`${message}\n`),
});

const request: Omit<RunRequest, 'runId'> = {
  probe: { namespace: '', name: 'bench' },
  owner: 'bench',
  target: {
    name: 'storage-probe-bench',
    endpoint: settings.endpoint,
    region: settings.region,
    credentials: { accessKey: settings.accessKey, secretKey: settings.secretKey },
  },
  bucket: { mode: 'Ephemeral' },
  objectSizesBytes: [OBJECT_BYTES],
  timeoutMs: 20_000,
  cleanUpTimeoutMs: 10_000,
};
const stopping = new AbortController();

async function run(): Promise<void> {
  const deps = {
    clock: systemClock,
    keyring,
    randomBytes,
    tracer: tracing.tracerFor({ namespace: request.probe.namespace, name: request.target.name }),
    version: 'bench',
  };
  const result = await runProbe({ ...request, runId: randomUUID() }, deps, stopping.signal);
  if (result.verdict !== 'Passed')
    throw new Error(`${result.failedStep}: ${result.reason}: ${result.message}`);
}

async function flush(): Promise<void> {
  using deadline = systemClock.deadline(FLUSH_TIMEOUT_MS);
  await tracing.flush(deadline.signal);
  const { dropped, lastError } = exporter.counts;
  if (dropped > 0) throw new Error(`${dropped} spans were dropped: ${lastError}`);
}

await serve(settings.warmUpRuns, run, flush);
using deadline = systemClock.deadline(FLUSH_TIMEOUT_MS);
await tracing.shutdown(deadline.signal);
