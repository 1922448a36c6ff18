import { afterEach, describe, expect, it, vi } from 'vitest';

import { contextOf, type TestContext } from '../../../test/support/command-context.ts';
import { FakeS3 } from '../../../test/support/fake-s3.ts';
import { closedPort } from '../../../test/support/http-server.ts';
import type { RunResult } from '../../api/run.ts';
import { ManualClock } from '../../clock/manual-clock.ts';
import { EXIT, type ExitCode, InputError } from '../context.ts';
import type { RunFlags } from './flags.ts';
import { run } from './run.ts';

const FLAGS: RunFlags = { output: 'json', count: '1', flushTimeout: '5s', logLevel: 'silent' };

async function runAgainst(
  url: string,
  flags: Partial<RunFlags> = {},
  context: TestContext = contextOf(),
): Promise<{ code: ExitCode; results: RunResult[]; context: TestContext }> {
  const all = { ...FLAGS, endpoint: url, accessKey: 'access', secretKey: 'the-secret', ...flags };
  const code = await run(all, context);
  const results =
    all.output === 'json' ? context.stdout.lines.map((line) => JSON.parse(line) as RunResult) : [];
  return { code, results, context };
}

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('the exit code', () => {
  it('is 0 when all passed', async () => {
    const { url } = await FakeS3.start();
    const { code, results } = await runAgainst(url);
    expect(code).toBe(EXIT.passed);
    expect(results).toMatchObject([{ verdict: 'Passed', endpoint: url }]);
  });

  it('is 1 when a target failed, even if another passed and another cannot be told', async () => {
    // The first run passes with its 8 calls, the second fails with its first, the third is stopped.
    const stop = new AbortController();
    const store = await FakeS3.start({
      faultAt: (call) => (call < 8 ? undefined : call < 9 ? 'slowsDown' : 'hangsBefore'),
      onHang: () => {
        stop.abort();
      },
    });
    const { code, results } = await runAgainst(store.url, { count: '3' }, contextOf({ signal: stop.signal }));
    expect(results.map(({ verdict }) => verdict)).toEqual(['Passed', 'Failed', 'Unknown']);
    expect(code).toBe(EXIT.failed);
  });

  it('is 2 when none failed and one cannot be told', async () => {
    const stop = new AbortController();
    const store = await FakeS3.start({
      faultAt: () => 'hangsBefore',
      onHang: () => {
        stop.abort();
      },
    });
    const { code, results } = await runAgainst(store.url, {}, contextOf({ signal: stop.signal }));
    expect(results).toMatchObject([{ verdict: 'Unknown', reason: 'Cancelled' }]);
    expect(code).toBe(EXIT.unknown);
  });

  it('is 2 when it was stopped before the first run', async () => {
    const store = await FakeS3.start();
    const context = contextOf({ signal: AbortSignal.abort() });
    const { code, results } = await runAgainst(store.url, {}, context);
    expect(results).toEqual([]);
    expect(store.requests).toEqual([]);
    expect(code).toBe(EXIT.unknown);
  });
});

describe('several runs', () => {
  it('start at even times, and each has a trace of its own', async () => {
    const clock = new ManualClock();
    vi.spyOn(clock, 'sleep').mockImplementation((ms) => clock.advance(ms));
    const { url } = await FakeS3.start();
    const { results } = await runAgainst(url, { count: '3', every: '10s' }, contextOf({ clock }));
    expect(results.map(({ startTime }) => startTime)).toEqual([
      '2026-11-22T12:00:00.000Z',
      '2026-11-22T12:00:10.000Z',
      '2026-11-22T12:00:20.000Z',
    ]);
    expect(new Set(results.map(({ traceId }) => traceId)).size).toBe(3);
    expect(new Set(results.map(({ runId }) => runId)).size).toBe(3);
    expect(new Set(results.map(({ bucket }) => bucket)).size).toBe(1);
  });

  it('end at once when they are stopped while they wait', async () => {
    const stop = new AbortController();
    const clock = new ManualClock();
    const sleep = vi.spyOn(clock, 'sleep').mockImplementation((_ms, signal) => {
      stop.abort();
      return Promise.reject(signal.reason as Error);
    });
    const { url } = await FakeS3.start();
    const context = contextOf({ clock, signal: stop.signal });
    const { code, results } = await runAgainst(url, { count: '100', every: '1h' }, context);
    expect(sleep).toHaveBeenCalledOnce();
    expect(results).toHaveLength(1);
    expect(code).toBe(EXIT.passed);
  });
});

describe('what it refuses before anything is run', () => {
  it.each([
    { name: 'no count', flags: { count: '0' }, want: /^--count: "0" is not a count/ },
    { name: 'half a count', flags: { count: '1.5' }, want: /^--count: / },
    { name: 'too many', flags: { count: '100001' }, want: /^--count: .*from 1 to 100000/ },
    { name: 'a pause that is none', flags: { every: 'soon' }, want: /^--every: / },
    { name: 'a flush time that is none', flags: { flushTimeout: '5' }, want: /^--flush-timeout: / },
    { name: 'a Jaeger that is no address', flags: { jaegerUrl: 'jaeger:16686' }, want: /^--jaeger-url: / },
    {
      name: 'an exporter that is not known',
      flags: {},
      env: { OTEL_TRACES_EXPORTER: 'zipkin' },
      want: /^OTEL_TRACES_EXPORTER: "zipkin" is not known; accepted: none, console, otlp$/,
    },
  ])('$name', async ({ flags, env = {}, want }) => {
    const store = await FakeS3.start();
    const context = contextOf({ env });
    const running = runAgainst(store.url, flags, context);
    await expect(running).rejects.toThrow(InputError);
    await expect(running).rejects.toThrow(want);
    expect(store.requests).toEqual([]);
    expect(context.stdout.text).toBe('');
  });
});

describe('what it tells', () => {
  it('warns of variables that it does not take', async () => {
    const { url } = await FakeS3.start();
    const { context } = await runAgainst(url, {}, contextOf({ env: { OTEL_TRACES_SAMPLER: 'sometimes' } }));
    expect(context.stderr.lines).toEqual([
      expect.stringMatching(/^storage-probe: OTEL_TRACES_SAMPLER: "sometimes" is ignored; accepted: /),
    ]);
  });

  it('logs a line for each run on stderr, tied to its trace, without secrets', async () => {
    const { url } = await FakeS3.start();
    const { results, context } = await runAgainst(url, { logLevel: 'info' });
    expect(context.stderr.lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { level: 'info', trace_id: results[0]?.traceId, runId: results[0]?.runId, verdict: 'Passed' },
    ]);
    expect(context.stdout.text + context.stderr.text).not.toContain('the-secret');
  });

  it.each([
    { output: 'text', spansOn: 'stdout' },
    { output: 'json', spansOn: 'stderr' },
    { output: 'yaml', spansOn: 'stderr' },
  ] as const)('prints spans on $spansOn beside -o $output', async ({ output, spansOn }) => {
    const { url } = await FakeS3.start();
    const { context } = await runAgainst(url, { output, exporter: 'console' });
    expect(context[spansOn].text).toContain('"name": "storage probe"');
    expect(context[spansOn === 'stdout' ? 'stderr' : 'stdout'].text).not.toContain('"name": "storage probe"');
  });

  it('exports nothing where OpenTelemetry is switched off', async () => {
    const { url } = await FakeS3.start();
    const context = contextOf({ env: { OTEL_SDK_DISABLED: 'true' } });
    await runAgainst(url, { exporter: 'console' }, context);
    expect(context.stderr.text).toBe('');
  });
});

describe('a Collector that is not there', () => {
  it.each([
    {
      name: 'nothing listens',
      endpoint: async () => `http://127.0.0.1:${await closedPort()}`,
      protocol: 'http/json',
    },
    { name: 'the address is none', endpoint: async () => 'not an address', protocol: 'grpc' },
  ])('changes no verdict, and is told of: $name', async ({ endpoint, protocol }) => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: await endpoint(), OTEL_EXPORTER_OTLP_PROTOCOL: protocol };
    // OpenTelemetry's exporters read the process's own.
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
    const { url } = await FakeS3.start();
    const { code, context } = await runAgainst(url, { flushTimeout: '1ms' }, contextOf({ env }));
    expect(code).toBe(EXIT.passed);
    const where = URL.parse(env.OTEL_EXPORTER_OTLP_ENDPOINT)?.host ?? env.OTEL_EXPORTER_OTLP_ENDPOINT;
    expect(context.stderr.lines).toEqual([
      expect.stringMatching(
        new RegExp(`^storage-probe: (\\d+) of \\1 spans were not delivered to ${where}: \\S.*$`),
      ),
    ]);
  });
});
