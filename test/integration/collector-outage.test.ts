import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject, it } from 'vitest';

import { type Collector, startCollector } from '../../deploy/local/jaeger.ts';
import { waitForTrace } from '../../deploy/local/traces.ts';
import { uniqueName } from '../support/unique-name.ts';
import { resultOf, startCli } from './cli.ts';
import { stablePort } from './ports.ts';
import { countSpans, PASSED_RUN, spansFromJaeger, treeOf } from '../support/span-tree.ts';
import { probeOf, sharedStore, user } from './store.ts';

const { jaegerOtlpUrl, jaegerUrl } = inject('servers');
const SPANS = countSpans(PASSED_RUN);
/** Margin after the flush timeout, for a busy machine. */
const MARGIN_MS = 5_000;

interface RestartableCollector extends AsyncDisposable {
  readonly collector: Collector;
  /** Starts a new Collector on the same ports. */
  restart(): Promise<void>;
}

async function startRestartableCollector(): Promise<RestartableCollector> {
  await using started = new AsyncDisposableStack();
  const { path: dir } = started.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-collector-')));
  const [otlpGrpcPort, otlpHttpPort] = [await stablePort(), await stablePort()];
  const options = { dir, backendUrl: jaegerOtlpUrl, otlpGrpcPort, otlpHttpPort };
  const collector = started.use(await startCollector(options));
  const resources = started.move();
  return {
    collector,
    async restart() {
      resources.use(await startCollector(options));
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

it.each([
  { name: 'stopped', takeDown: ({ collector }: RestartableCollector) => collector.stop() },
  { name: 'hanging', takeDown: async ({ collector }: RestartableCollector) => collector.kill('SIGSTOP') },
])(
  'a $name Collector changes no verdict and delays the exit by at most --flush-timeout',
  async ({ takeDown }) => {
    await using restartable = await startRestartableCollector();
    await takeDown(restartable);
    const cli = await startCli(['run', '-f', '-', '-o', 'json', '--flush-timeout', '2s'], {
      credentials: user,
      input: probeOf(uniqueName('no-collector'), sharedStore.url),
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: restartable.collector.otlpGrpcUrl },
    });
    await cli.untilPrinted('"traceId"');
    const printedMs = performance.now();
    const exit = await cli.exited;
    const flushMs = performance.now() - printedMs;

    expect(exit.code).toBe(0);
    expect(resultOf(exit)).toMatchObject({ verdict: 'Passed' });
    expect(exit.stderr.split('\n')).toEqual([
      expect.stringContaining(
        `${SPANS} of ${SPANS} spans were not delivered to ${new URL(restartable.collector.otlpGrpcUrl).host}: `,
      ),
      '',
    ]);
    expect(flushMs).toBeLessThan(2_000 + MARGIN_MS);
  },
);

it.each(['grpc', 'http/protobuf'])(
  'delivers every span over %s if the Collector is back before --flush-timeout',
  async (protocol) => {
    await using restartable = await startRestartableCollector();
    const { otlpGrpcUrl, otlpHttpUrl } = restartable.collector;
    await restartable.collector.stop();
    const cli = await startCli(['run', '-f', '-', '-o', 'json', '--flush-timeout', '45s'], {
      credentials: user,
      input: probeOf(uniqueName('collector-back'), sharedStore.url),
      env: {
        OTEL_EXPORTER_OTLP_ENDPOINT: protocol === 'grpc' ? otlpGrpcUrl : otlpHttpUrl,
        OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
      },
    });
    await cli.untilPrinted('"traceId"');
    await restartable.restart();
    const exit = await cli.exited;
    expect(exit).toMatchObject({ code: 0, stderr: '' });

    const trace = await waitForTrace(jaegerUrl, resultOf(exit).traceId, {
      signal: AbortSignal.timeout(20_000),
      spans: SPANS,
    });
    expect(treeOf(spansFromJaeger(trace))).toEqual(PASSED_RUN);
  },
);
