import { randomBytes, randomUUID } from 'node:crypto';

import PQueue from 'p-queue';
import type { Logger } from 'pino';

import type { RunRequest, RunResult } from '../../api/run.ts';
import { cleanUpProbe, type CleanUpRequest } from '../../probe/clean-up.ts';
import { runProbe } from '../../probe/run-probe.ts';
import { createResolver } from '../../s3/create-resolver.ts';
import type { Resolver } from '../../s3/resolver.ts';
import { TargetKeyring } from '../../s3/target-keys.ts';
import type { WebIdentity } from '../../s3/web-identity.ts';
import { createLogger, LOG_LEVELS, logRun } from '../../telemetry/logs.ts';
import { startTracing, type Tracing } from '../../telemetry/tracing.ts';
import { type CommandContext, EXIT, type ExitCode, InputError, type Output } from '../context.ts';
import { createSpanExporters, type SpanExporters } from '../span-exporter.ts';
import type { RunFlags } from './flags.ts';
import { acquireOwner, type Owner } from './owner.ts';
import { createReport, type Report } from './report.ts';
import { durationFlag, type PlannedRun, planRuns } from './requests.ts';
import { createWebIdentity, withCredentials } from './web-identity.ts';

/** Maximum number of targets probed at the same time. */
const MAX_IN_FLIGHT = 10;
const MAX_COUNT = 100_000;

/** @throws {InputError} before the first run starts. */
export async function run(flags: RunFlags, context: CommandContext): Promise<ExitCode> {
  const { clock, env, signal, stderr, stdout, version } = context;
  const count = countFlag(flags.count);
  const everyMs = flags.every === undefined ? 0 : durationFlag('--every', flags.every);
  const flushTimeoutMs = durationFlag('--flush-timeout', flags.flushTimeout);
  const jaegerUrl = urlFlag('--jaeger-url', flags.jaegerUrl);
  const log = createLogger(LOG_LEVELS.find((level) => level === flags.logLevel) ?? 'silent', stderr);

  const { runs: plannedRuns, environment } = await planRuns(flags, context);
  signal.addEventListener('abort', () => {
    stderr.write('storage-probe: stopping and cleaning up; press Ctrl+C again to exit immediately\n');
  });
  using owners = new DisposableStack();
  const probed = await Promise.all(
    plannedRuns.map(async (plannedRun): Promise<ProbedTarget> => {
      const { probe, target, bucket } = plannedRun;
      const owner = owners.use(await acquireOwner([probe.namespace, probe.name, target.name], env));
      const needsSweep = owner.mayHaveLeftovers && bucket.mode === 'Existing';
      return { request: { ...plannedRun, owner: owner.name }, owner, needsSweep, isClean: true };
    }),
  );
  const { exporter, otlp } = await createSpanExporters(
    { names: flags.exporter, console: flags.output === 'text' ? stdout : stderr },
    context,
  );
  const keyring = new TargetKeyring();
  const resolver = createResolver(clock, process.platform);
  const webIdentity = createWebIdentity(environment, { clock, keyring, resolver, version });
  const tracing = await startTracing({
    exporter,
    version,
    onDiagnostic: (_level, message) => stderr.write(`storage-probe: OpenTelemetry: ${message}\n`),
  });
  const report = createReport({
    format: flags.output,
    output: stdout,
    jaegerUrl,
    runs: probed.length * count,
    runsPerTarget: count,
  });

  const deps = { context, keyring, resolver, webIdentity, tracing, report, log };
  const verdicts: RunResult['verdict'][] = [];
  for (let round = 0; round < count && !signal.aborted; round += 1) {
    const nextStartMs = clock.monotonicMs() + everyMs;
    const runs = probed.map((target) => async () => {
      if (signal.aborted) return;
      verdicts.push(await runOnce(target, deps));
    });
    await new PQueue({ concurrency: MAX_IN_FLIGHT }).addAll(runs);
    const waitMs = nextStartMs - clock.monotonicMs();
    if (round + 1 < count && waitMs > 0) await clock.sleep(waitMs, signal).catch(() => undefined);
  }
  report.finish();
  for (const { owner, needsSweep, isClean } of probed) if (isClean && !needsSweep) await owner.markClean();

  using flushDeadline = clock.deadline(flushTimeoutMs);
  await tracing.shutdown(flushDeadline.signal);
  reportDroppedSpans(otlp, stderr);
  return exitCodeOf(verdicts, probed.length * count);
}

interface ProbedTarget {
  readonly request: PlannedRun & Pick<RunRequest, 'owner'>;
  readonly owner: Owner;
  /** True until the leftovers of an earlier run, which this run does not come across, have been removed. */
  needsSweep: boolean;
  /** False if a run has left something behind. */
  isClean: boolean;
}

interface RunDeps {
  readonly context: CommandContext;
  readonly keyring: TargetKeyring;
  readonly webIdentity: WebIdentity | undefined;
  readonly resolver: Resolver;
  readonly tracing: Tracing;
  readonly report: Report;
  readonly log: Logger;
}

async function runOnce(probed: ProbedTarget, deps: RunDeps): Promise<RunResult['verdict']> {
  const { context, keyring, resolver, webIdentity, tracing, report, log } = deps;
  const { clock, signal, version } = context;
  const { webIdentity: identityPlan, ...planned } = probed.request;
  const target = await withCredentials(planned.target, identityPlan, webIdentity, signal);
  const request = { ...planned, target };
  const result = await runProbe(
    { ...request, runId: randomUUID() },
    {
      clock,
      keyring,
      resolver,
      version,
      randomBytes,
      tracer: tracing.tracerFor({ namespace: request.probe.namespace, name: target.name }),
      onProgress: (progress) => {
        report.progress(target.name, progress);
      },
    },
    signal,
  );
  report.addResult(result);
  logRun(log, result);
  if (result.leftBehind.length > 0) probed.isClean = false;
  if (probed.needsSweep && result.verdict === 'Passed') await sweep(probed, request, deps);
  return result.verdict;
}

/** Removes what an earlier run left in an existing bucket. Follows a run that passed, so that it delays none. */
async function sweep(
  probed: ProbedTarget,
  request: CleanUpRequest,
  { context, keyring, resolver }: RunDeps,
): Promise<void> {
  const { clock, signal, stderr, version } = context;
  const { error } = await cleanUpProbe(request, { clock, keyring, resolver, version }, signal);
  probed.needsSweep = false;
  if (error === undefined) return;
  probed.isClean = false;
  if (error.reason === 'Cancelled') return;
  stderr.write(
    `storage-probe: ${request.target.name}: objects of an earlier run could not be removed: ${error.reason}: ${error.message}\n`,
  );
}

function reportDroppedSpans(otlp: SpanExporters['otlp'], stderr: Output): void {
  if (otlp === undefined) return;
  const { delivered, dropped, lastError } = otlp.exporter.counts;
  if (dropped === 0) return;
  stderr.write(
    `storage-probe: ${dropped} of ${delivered + dropped} spans were not delivered to ${otlp.host}: ${lastError}\n`,
  );
}

function exitCodeOf(verdicts: readonly RunResult['verdict'][], plannedRuns: number): ExitCode {
  if (verdicts.includes('Failed')) return EXIT.failed;
  // There are fewer verdicts than planned if the process was stopped before or between the runs.
  const isComplete = verdicts.length === plannedRuns;
  return verdicts.includes('Unknown') || !isComplete ? EXIT.unknown : EXIT.passed;
}

function countFlag(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= MAX_COUNT) return count;
  throw new InputError(
    `--count: "${text}" is not a valid count; accepted: a whole number from 1 to ${MAX_COUNT}`,
  );
}

function urlFlag(flag: string, text: string | undefined): string | undefined {
  if (text === undefined || /^https?:$/.test(URL.parse(text)?.protocol ?? '')) return text;
  throw new InputError(
    `${flag}: "${text}" is not an HTTP URL; accepted: http://HOST:PORT or https://HOST:PORT`,
  );
}
