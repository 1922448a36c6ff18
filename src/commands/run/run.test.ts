import { afterEach, describe, expect, it, vi } from 'vitest';

import { temporaryFolder, testContext, type TestContext } from '../../../test/support/command-context.ts';
import { FakeS3 } from '../../../test/support/fake-s3.ts';
import { closedPort, serveHttp } from '../../../test/support/http-server.ts';
import type { RunResult } from '../../api/run.ts';
import { ManualClock } from '../../clock/manual-clock.ts';
import { EXIT, type ExitCode, InputError } from '../context.ts';
import { objectKey } from '../../probe/names.ts';
import type { RunFlags } from './flags.ts';
import { acquireOwner } from './owner.ts';
import { run } from './run.ts';

const FLAGS: RunFlags = { output: 'json', count: '1', flushTimeout: '5s', logLevel: 'silent' };

async function runAgainst(
  url: string,
  flags: Partial<RunFlags> = {},
  context: TestContext = testContext(),
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

describe('exit code', () => {
  it('is 0 if all runs passed', async () => {
    const { url } = await FakeS3.start();
    const { code, results } = await runAgainst(url);
    expect(code).toBe(EXIT.passed);
    expect(results).toMatchObject([{ verdict: 'Passed', endpoint: url }]);
  });

  it('is 1 if a run failed, even if others are Passed or Unknown', async () => {
    // The first run passes with 8 calls, the second fails on HEAD and the GET that explains it, and the third is stopped.
    const stop = new AbortController();
    const store = await FakeS3.start({
      faultAt: (call) => (call < 8 ? undefined : call < 10 ? 'slowsDown' : 'hangsBefore'),
      onHang: () => {
        stop.abort();
      },
    });
    const { code, results } = await runAgainst(
      store.url,
      { count: '3' },
      testContext({ signal: stop.signal }),
    );
    expect(results.map(({ verdict }) => verdict)).toEqual(['Passed', 'Failed', 'Unknown']);
    expect(code).toBe(EXIT.failed);
  });

  it('is 2 if a run is Unknown and none failed', async () => {
    const stop = new AbortController();
    const store = await FakeS3.start({
      faultAt: () => 'hangsBefore',
      onHang: () => {
        stop.abort();
      },
    });
    const { code, results } = await runAgainst(store.url, {}, testContext({ signal: stop.signal }));
    expect(results).toMatchObject([{ verdict: 'Unknown', reason: 'Cancelled' }]);
    expect(code).toBe(EXIT.unknown);
  });

  it('is 2 if stopped before the first run', async () => {
    const store = await FakeS3.start();
    const context = testContext({ signal: AbortSignal.abort() });
    const { code, results } = await runAgainst(store.url, {}, context);
    expect(results).toEqual([]);
    expect(store.requests).toEqual([]);
    expect(code).toBe(EXIT.unknown);
  });
});

describe('a series', () => {
  it('starts runs at equal intervals, each with its own trace', async () => {
    const clock = new ManualClock();
    vi.spyOn(clock, 'sleep').mockImplementation((ms) => clock.advance(ms));
    const { url } = await FakeS3.start();
    const { results } = await runAgainst(url, { count: '3', every: '10s' }, testContext({ clock }));
    expect(results.map(({ startTime }) => startTime)).toEqual([
      '2026-11-22T12:00:00.000Z',
      '2026-11-22T12:00:10.000Z',
      '2026-11-22T12:00:20.000Z',
    ]);
    expect(new Set(results.map(({ traceId }) => traceId)).size).toBe(3);
    expect(new Set(results.map(({ runId }) => runId)).size).toBe(3);
    expect(new Set(results.map(({ bucket }) => bucket)).size).toBe(1);
  });

  it('stops immediately while waiting for the next run', async () => {
    const stop = new AbortController();
    const clock = new ManualClock();
    const sleep = vi.spyOn(clock, 'sleep').mockImplementation((_ms, signal) => {
      stop.abort();
      return Promise.reject(signal.reason as Error);
    });
    const { url } = await FakeS3.start();
    const context = testContext({ clock, signal: stop.signal });
    const { code, results } = await runAgainst(url, { count: '100', every: '1h' }, context);
    expect(sleep).toHaveBeenCalledOnce();
    expect(results).toMatchObject([{ verdict: 'Passed' }]);
    expect(code).toBe(EXIT.unknown);
  });
});

describe('after a crash in an existing bucket', () => {
  const SUBJECT = ['default', 'quick-look', '127-0-0-1'];

  async function crashed(): Promise<{ store: FakeS3; env: { XDG_STATE_HOME: string }; leftover: string }> {
    const env = { XDG_STATE_HOME: await temporaryFolder() };
    // Disposing of a name without marking it clean is all that a crash does.
    using owner = await acquireOwner(SUBJECT, env);
    const [namespace = '', name = '', target = ''] = SUBJECT;
    const identity = { owner: owner.name, probe: { namespace, name }, target: { name: target } };
    const leftover = objectKey({ ...identity, runId: 'crashed' }, 0, 4_096);
    const store = await FakeS3.start();
    store.seed('canary', ['theirs', leftover]);
    return { store, env, leftover };
  }

  it('the next run removes what is left, and later runs do not look for it', async () => {
    const { store, env } = await crashed();
    const first = await runAgainst(store.url, { bucket: 'canary', count: '2' }, testContext({ env }));
    expect(first.code).toBe(EXIT.passed);
    expect(first.context.stderr.text).toBe('');
    expect(store.contents).toEqual(['canary', 'canary/theirs']);
    const listings = (): number => store.requests.filter((request) => request.includes('?versions')).length;
    const listingsOfFirst = listings();
    expect(listingsOfFirst).toBeGreaterThan(0);

    await runAgainst(store.url, { bucket: 'canary' }, testContext({ env }));
    expect(listings()).toBe(listingsOfFirst);
  });

  it('a run that fails leaves the removal to a later one', async () => {
    const { store, env, leftover } = await crashed();
    await runAgainst(`http://127.0.0.1:${await closedPort()}`, { bucket: 'canary' }, testContext({ env }));
    expect(store.contents).toContain(`canary/${leftover}`);
    await runAgainst(store.url, { bucket: 'canary' }, testContext({ env }));
    expect(store.contents).not.toContain(`canary/${leftover}`);
  });

  it('reports what cannot be removed, and tries again in the next process', async () => {
    const { store, env, leftover } = await crashed();
    const server = await serveHttp((request, response) => {
      if (request.method !== 'DELETE' || request.url?.includes('crashed') !== true)
        return void store.handle(request, response);
      request.resume();
      response.writeHead(403, { 'x-amz-request-id': '17F0' });
      response.end('<Error><Code>AccessDenied</Code></Error>');
    });
    const { code, context } = await runAgainst(server.url, { bucket: 'canary' }, testContext({ env }));
    expect(code).toBe(EXIT.passed);
    expect(context.stderr.lines).toEqual([
      expect.stringMatching(
        /^storage-probe: 127-0-0-1: objects of an earlier run could not be removed: AccessDenied: DeleteObject: 403 /,
      ),
    ]);
    await runAgainst(store.url, { bucket: 'canary' }, testContext({ env }));
    expect(store.contents).not.toContain(`canary/${leftover}`);
  });
});

describe('rejects invalid input before the first run', () => {
  it.each([
    { name: 'a zero count', flags: { count: '0' }, want: /^--count: "0" is not a valid count/ },
    { name: 'a fractional count', flags: { count: '1.5' }, want: /^--count: / },
    { name: 'a count above the maximum', flags: { count: '100001' }, want: /^--count: .*from 1 to 100000/ },
    { name: 'an invalid interval', flags: { every: 'soon' }, want: /^--every: / },
    { name: 'an invalid flush timeout', flags: { flushTimeout: '5' }, want: /^--flush-timeout: / },
    { name: 'an invalid Jaeger URL', flags: { jaegerUrl: 'jaeger:16686' }, want: /^--jaeger-url: / },
    {
      name: 'an unknown exporter',
      flags: {},
      env: { OTEL_TRACES_EXPORTER: 'zipkin' },
      want: /^OTEL_TRACES_EXPORTER: "zipkin" is not supported; accepted: none, console, otlp, or console,otlp$/,
    },
    {
      name: 'contradicting exporters',
      flags: { exporter: 'otlp,none' },
      want: /^--exporter: "otlp,none" is not supported; /,
    },
    {
      name: 'an OTLP endpoint without a scheme',
      flags: {},
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4317' },
      want: /^OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4317" does not start with http:\/\/ or https:\/\/; /,
    },
  ])('$name', async ({ flags, env = {}, want }) => {
    const store = await FakeS3.start();
    const context = testContext({ env });
    const running = runAgainst(store.url, flags, context);
    await expect(running).rejects.toThrow(InputError);
    await expect(running).rejects.toThrow(want);
    expect(store.requests).toEqual([]);
    expect(context.stdout.text).toBe('');
  });
});

describe('output', () => {
  it('warns about ignored variables', async () => {
    vi.stubEnv('OTEL_TRACES_SAMPLER', 'sometimes');
    const { url } = await FakeS3.start();
    const { context } = await runAgainst(url, { exporter: 'console', output: 'text' });
    expect(context.stderr.lines).toEqual([
      expect.stringMatching(/^storage-probe: OpenTelemetry: .*OTEL_TRACES_SAMPLER.*"sometimes"/),
    ]);
  });

  it('logs one line per run to stderr, with the trace ID and without secrets', async () => {
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
  ] as const)('prints console spans to $spansOn with -o $output', async ({ output, spansOn }) => {
    const { url } = await FakeS3.start();
    const { context } = await runAgainst(url, { output, exporter: 'console' });
    expect(context[spansOn].text).toContain('"name": "storage probe"');
    expect(context[spansOn === 'stdout' ? 'stderr' : 'stdout'].text).not.toContain('"name": "storage probe"');
  });

  it('exports no spans if OpenTelemetry is disabled', async () => {
    const { url } = await FakeS3.start();
    const context = testContext({ env: { OTEL_SDK_DISABLED: 'true' } });
    await runAgainst(url, { exporter: 'console' }, context);
    expect(context.stderr.text).toBe('');
  });
});

describe('an unreachable Collector', () => {
  it.each(['grpc', 'http/protobuf', 'http/json'])(
    'is reported without changing the verdict: %s',
    async (protocol) => {
      const host = `127.0.0.1:${await closedPort()}`;
      const env = {
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://${host}`,
        OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
        OTEL_TRACES_EXPORTER: 'otlp,console',
      };
      const { url } = await FakeS3.start();
      const { code, context } = await runAgainst(
        url,
        { flushTimeout: '1ms', output: 'text' },
        testContext({ env }),
      );
      expect(code).toBe(EXIT.passed);
      expect(context.stderr.lines).toEqual([
        expect.stringMatching(
          new RegExp(`^storage-probe: (\\d+) of \\1 spans were not delivered to ${host}: \\S.*$`),
        ),
      ]);
      expect(context.stdout.text).toContain('"name": "storage probe"');
    },
  );
});
