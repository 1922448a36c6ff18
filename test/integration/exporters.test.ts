import { describe, expect, inject, it } from 'vitest';
import { parseAllDocuments } from 'yaml';

import { waitForTrace } from '../../deploy/local/traces.ts';
import type { RunResult } from '../../src/api/run.ts';
import { uniqueName } from '../support/unique-name.ts';
import { type CliExit, resultOf, runCli } from './cli.ts';
import { countSpans, PASSED_RUN, spansFromConsole, spansFromJaeger, treeOf } from '../support/span-tree.ts';
import { probeOf, sharedStore, user } from './store.ts';

const { collectorGrpcUrl, collectorHttpUrl, jaegerUrl } = inject('servers');

function resultOfYaml({ stdout }: CliExit): RunResult {
  const documents = parseAllDocuments(stdout);
  expect(documents).toHaveLength(1);
  return documents[0]?.toJS() as RunResult;
}

describe('the console exporter', () => {
  it('prints the spans as well as the text result', async () => {
    const input = probeOf(uniqueName('console'), sharedStore.url);
    const exit = await runCli(['run', '-f', '-', '--exporter', 'console'], { credentials: user, input });
    expect(exit).toMatchObject({ code: 0, stderr: '' });

    const spans = spansFromConsole(exit.stdout);
    expect(treeOf(spans)).toEqual(PASSED_RUN);
    expect(exit.stdout).toMatch(new RegExp(`^Passed .* trace ${spans[0]?.traceId}$`, 'm'));
  });

  it.each([
    { format: 'json', read: resultOf },
    { format: 'yaml', read: resultOfYaml },
  ])('prints the spans to stderr with -o $format', async ({ format, read }) => {
    const input = probeOf(uniqueName('console'), sharedStore.url);
    const exit = await runCli(['run', '-f', '-', '-o', format, '--exporter', 'console'], {
      credentials: user,
      input,
    });
    expect(exit.code).toBe(0);

    const result = read(exit);
    const spans = spansFromConsole(exit.stderr);
    expect(treeOf(spans)).toEqual(PASSED_RUN);
    expect(new Set(spans.map(({ traceId }) => traceId))).toEqual(new Set([result.traceId]));
    expect(result).toMatchObject({ verdict: 'Passed', leftBehind: [] });
    expect(result.steps.map(({ name }) => name)).toEqual(PASSED_RUN.children.map(({ name }) => name));
  });
});

it('prints and sends the spans with OTEL_TRACES_EXPORTER=otlp,console', async () => {
  const exit = await runCli(['run', '-f', '-'], {
    credentials: user,
    input: probeOf(uniqueName('both'), sharedStore.url),
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: collectorGrpcUrl, OTEL_TRACES_EXPORTER: 'otlp,console' },
  });
  expect(exit).toMatchObject({ code: 0, stderr: '' });
  const printed = spansFromConsole(exit.stdout);
  expect(treeOf(printed)).toEqual(PASSED_RUN);
  const trace = await waitForTrace(jaegerUrl, printed[0]?.traceId ?? '', {
    signal: AbortSignal.timeout(20_000),
    spans: countSpans(PASSED_RUN),
  });
  expect(treeOf(spansFromJaeger(trace))).toEqual(PASSED_RUN);
});

describe('the OTLP exporter', () => {
  it.each([
    { protocol: 'grpc', url: collectorHttpUrl, setting: 'http/protobuf' },
    { protocol: 'http/protobuf', url: collectorGrpcUrl, setting: 'grpc' },
    { protocol: 'http/json', url: collectorGrpcUrl, setting: 'grpc' },
  ])("names the right protocol if $protocol is sent to the Collector's other port", async (wrong) => {
    const { protocol, url, setting } = wrong;
    const exit = await runCli(['run', '-f', '-', '-o', 'json'], {
      credentials: user,
      input: probeOf(uniqueName('wrong-port'), sharedStore.url),
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: url, OTEL_EXPORTER_OTLP_PROTOCOL: protocol },
    });
    expect(exit.code).toBe(0);
    expect(exit.stderr.split('\n')).toEqual([
      expect.stringMatching(
        new RegExp(
          `spans were not delivered to ${new URL(url).host}: .*OTEL_EXPORTER_OTLP_PROTOCOL=${setting},`,
        ),
      ),
      '',
    ]);
  });

  it.each([
    { protocol: 'grpc', url: collectorGrpcUrl },
    { protocol: 'http/protobuf', url: collectorHttpUrl },
    { protocol: 'http/json', url: collectorHttpUrl },
  ])('delivers all spans over $protocol', async ({ protocol, url }) => {
    const input = probeOf(uniqueName('otlp'), sharedStore.url);
    const exit = await runCli(['run', '-f', '-', '-o', 'json'], {
      credentials: user,
      input,
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: url, OTEL_EXPORTER_OTLP_PROTOCOL: protocol },
    });
    expect(exit).toMatchObject({ code: 0, stderr: '' });

    const trace = await waitForTrace(jaegerUrl, resultOf(exit).traceId, {
      signal: AbortSignal.timeout(20_000),
      spans: countSpans(PASSED_RUN),
    });
    expect(treeOf(spansFromJaeger(trace))).toEqual(PASSED_RUN);
  });
});
