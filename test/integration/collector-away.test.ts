import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject, it } from 'vitest';

import { type Collector, startCollector } from '../../deploy/local/jaeger.ts';
import { waitForTrace } from '../../deploy/local/traces.ts';
import { uniqueName } from '../support/unique-name.ts';
import { resultOf, startCli } from './cli.ts';
import { portToComeBackTo } from './ports.ts';
import { countSpans, PASSED_RUN, spansOfJaeger, treeOf } from '../support/span-tree.ts';
import { probeOf, sharedStore, user } from './store.ts';

const { jaegerOtlpUrl, jaegerUrl } = inject('servers');
const SPANS = countSpans(PASSED_RUN);
/** Beyond the time to flush: to start and end a process on a busy machine. */
const MARGIN_MS = 5_000;

interface OwnCollector extends AsyncDisposable {
  readonly collector: Collector;
  /** Starts it again where it was. */
  startAgain(): Promise<void>;
}

async function startOwnCollector(): Promise<OwnCollector> {
  await using started = new AsyncDisposableStack();
  const { path: dir } = started.use(await mkdtempDisposable(join(tmpdir(), 'storage-probe-collector-')));
  const otlpGrpcPort = await portToComeBackTo();
  const options = { dir, backendUrl: jaegerOtlpUrl, otlpGrpcPort };
  const collector = started.use(await startCollector(options));
  const own = started.move();
  return {
    collector,
    async startAgain() {
      own.use(await startCollector(options));
    },
    [Symbol.asyncDispose]: () => own.disposeAsync(),
  };
}

it.each([
  { name: 'stopped', away: ({ collector }: OwnCollector) => collector.stop() },
  { name: 'hanging', away: async ({ collector }: OwnCollector) => collector.kill('SIGSTOP') },
])(
  'a Collector that is $name changes no verdict, and holds up the end no longer than told',
  async ({ away }) => {
    await using own = await startOwnCollector();
    await away(own);
    const cli = await startCli(['run', '-f', '-', '-o', 'json', '--flush-timeout', '2s'], {
      credentials: user,
      input: probeOf(uniqueName('no-collector'), sharedStore.url),
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: own.collector.otlpGrpcUrl },
    });
    await cli.printed('"traceId"');
    const printedMs = performance.now();
    const end = await cli.ended;
    const flushMs = performance.now() - printedMs;

    expect(end.code).toBe(0);
    expect(resultOf(end)).toMatchObject({ verdict: 'Passed' });
    expect(end.stderr.split('\n')).toEqual([
      expect.stringContaining(
        `${SPANS} of ${SPANS} spans were not delivered to ${new URL(own.collector.otlpGrpcUrl).host}: `,
      ),
      '',
    ]);
    expect(flushMs).toBeLessThan(2_000 + MARGIN_MS);
  },
);

it('a Collector that comes back in time gets every span', async () => {
  await using own = await startOwnCollector();
  await own.collector.stop();
  const cli = await startCli(['run', '-f', '-', '-o', 'json', '--flush-timeout', '45s'], {
    credentials: user,
    input: probeOf(uniqueName('collector-back'), sharedStore.url),
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: own.collector.otlpGrpcUrl },
  });
  await cli.printed('"traceId"');
  await own.startAgain();
  const end = await cli.ended;
  expect(end).toMatchObject({ code: 0, stderr: '' });

  const trace = await waitForTrace(jaegerUrl, resultOf(end).traceId, {
    signal: AbortSignal.timeout(20_000),
    spans: SPANS,
  });
  expect(treeOf(spansOfJaeger(trace))).toEqual(PASSED_RUN);
});
