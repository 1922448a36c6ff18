import { describe, expect, inject, it } from 'vitest';

import packageJson from '../../package.json' with { type: 'json' };
import { findTraces, waitForTrace } from '../../deploy/local/traces.ts';
import { uniqueName } from '../support/unique-name.ts';
import { resultOf, resultsOf, runCli } from './cli.ts';
import { startFaultProxy } from './fault-proxy.ts';
import { countSpans, PASSED_RUN, spansFromJaeger, treeOf } from '../support/span-tree.ts';
import { probeOf, sharedStore, targetOf, temporaryCredentials, user } from './store.ts';

const { collectorGrpcUrl, jaegerUrl } = inject('servers');
const ARRIVAL_MS = 20_000;
const TO_JAEGER = { credentials: user, env: { OTEL_EXPORTER_OTLP_ENDPOINT: collectorGrpcUrl } };
const RUN = ['run', '-f', '-', '-o', 'json'];

/** Options to wait for a trace. Default: all spans of a passed run. */
function waitOptions(spans = countSpans(PASSED_RUN)): { signal: AbortSignal; spans: number } {
  return { signal: AbortSignal.timeout(ARRIVAL_MS), spans };
}

describe('a run in Jaeger, sent through the Collector', () => {
  it('is one trace of steps and calls, with the trace ID of the result and the log line', async () => {
    const probe = probeOf(uniqueName('trace'), sharedStore.url, {
      targets: [targetOf('my-minio', sharedStore.url)],
    });
    const exit = await runCli([...RUN, '--log-level', 'info'], { ...TO_JAEGER, input: probe });
    expect(exit).toMatchObject({ code: 0 });

    const result = resultOf(exit);
    expect(result).toMatchObject({ verdict: 'Passed', target: 'my-minio', leftBehind: [] });
    expect(JSON.parse(exit.stderr)).toMatchObject({
      msg: 'run passed',
      trace_id: result.traceId,
      span_id: result.spanId,
      runId: result.runId,
    });

    const trace = await waitForTrace(jaegerUrl, result.traceId, waitOptions());
    expect(Object.values(trace.processes)).toEqual([expect.objectContaining({ serviceName: 'my-minio' })]);
    expect(treeOf(spansFromJaeger(trace))).toEqual(PASSED_RUN);
    expect(JSON.stringify(trace)).not.toContain(user.secretKey);
    const found = await findTraces(jaegerUrl, 'my-minio', waitOptions());
    expect(found.map(({ traceID }) => traceID)).toContain(result.traceId);
  });

  it('has the request, the response and the phases of each call as attributes', async () => {
    const name = uniqueName('call-spans');
    const probe = probeOf(name, sharedStore.url);
    const result = resultOf(await runCli(RUN, { ...TO_JAEGER, input: probe }));
    const spans = spansFromJaeger(await waitForTrace(jaegerUrl, result.traceId, waitOptions()));

    const root = spans.find(({ spanId }) => spanId === result.spanId);
    expect(root?.attributes).toMatchObject({
      'storageprobe.probe.namespace': 'storage',
      'storageprobe.probe.name': name,
      'storageprobe.target': name,
      'storageprobe.run.id': result.runId,
      'storageprobe.verdict': 'Passed',
      'storageprobe.bucket.mode': 'Ephemeral',
    });
    const put = spans.find(({ name: span }) => span === 'S3.PutObject');
    expect(put?.attributes).toMatchObject({
      'rpc.method': 'S3/PutObject',
      'aws.s3.bucket': result.bucket,
      'aws.request_id': result.steps[2]?.calls[0]?.requestId,
      'http.response.status_code': 200,
      'http.request.body.size': 4_096,
      'http.request.method': 'PUT',
      'network.protocol.version': '1.1',
      'server.address': '127.0.0.1',
      'server.port': Number(new URL(sharedStore.url).port),
    });
    const calls = spans.filter(({ kind }) => kind === 'client');
    for (const { attributes } of calls) {
      expect(attributes['storageprobe.phase.first_byte_ms']).toBeGreaterThan(0);
      expect(attributes).toHaveProperty(['storageprobe.phase.body_ms']);
    }
    const connectingCalls = calls.filter(({ attributes }) => 'storageprobe.phase.connect_ms' in attributes);
    expect(connectingCalls).toHaveLength(1);
  });

  it('says which prober it comes from', async () => {
    const name = uniqueName('resource');
    const exit = await runCli([...RUN], {
      ...TO_JAEGER,
      env: { ...TO_JAEGER.env, OTEL_RESOURCE_ATTRIBUTES: 'k8s.pod.name=prober-1,service.name=other' },
      input: probeOf(name, sharedStore.url),
    });
    const { processes } = await waitForTrace(jaegerUrl, resultOf(exit).traceId, waitOptions());
    expect(Object.values(processes)).toEqual([
      expect.objectContaining({
        serviceName: name,
        tags: expect.arrayContaining([
          { key: 'service.namespace', type: 'string', value: 'storage' },
          { key: 'service.version', type: 'string', value: packageJson.version },
          { key: 'k8s.pod.name', type: 'string', value: 'prober-1' },
          expect.objectContaining({ key: 'service.instance.id' }),
        ]) as unknown,
      }),
    ]);
  });

  it('keeps the targets of one process apart', async () => {
    const names = [uniqueName('first'), uniqueName('second')];
    const probe = probeOf(uniqueName('two-targets'), sharedStore.url, {
      targets: names.map((name) => targetOf(name, sharedStore.url)),
    });
    const results = resultsOf(await runCli(RUN, { ...TO_JAEGER, input: probe }));
    for (const { target, traceId } of results) {
      const trace = await waitForTrace(jaegerUrl, traceId, waitOptions());
      expect(Object.values(trace.processes)).toEqual([expect.objectContaining({ serviceName: target })]);
      expect(treeOf(spansFromJaeger(trace))).toEqual(PASSED_RUN);
    }
    expect(results.map(({ target }) => target).toSorted()).toEqual(names);
  });

  it('is propagated to the store: each request carries the ID of its span', async () => {
    await using proxy = await startFaultProxy(sharedStore.url);
    const exit = await runCli(RUN, { ...TO_JAEGER, input: probeOf(uniqueName('context'), proxy.url) });
    const { traceId } = resultOf(exit);

    const spans = spansFromJaeger(await waitForTrace(jaegerUrl, traceId, waitOptions()));
    const calls = spans.filter(({ kind }) => kind === 'client').toSorted((a, b) => a.startTime - b.startTime);
    expect(calls.map(({ spanId }) => `00-${traceId}-${spanId}-01`)).toEqual(
      proxy.requests.map(({ headers }) => headers['traceparent']),
    );
  });

  it('is a separate trace for each of six runs', async () => {
    const name = uniqueName('six-runs');
    const exit = await runCli([...RUN, '--count', '6'], {
      ...TO_JAEGER,
      input: probeOf(name, sharedStore.url),
    });
    expect(exit.code).toBe(0);

    const ids = resultsOf(exit).map(({ traceId }) => traceId);
    expect(new Set(ids).size).toBe(6);
    for (const id of ids) {
      const trace = await waitForTrace(jaegerUrl, id, waitOptions());
      expect(treeOf(spansFromJaeger(trace))).toEqual(PASSED_RUN);
    }
    const found = await findTraces(jaegerUrl, name, waitOptions());
    expect(found.map(({ traceID }) => traceID).toSorted()).toEqual(ids.toSorted());
  });

  it('shows where a run failed and has no spans for skipped steps', async () => {
    const name = uniqueName('failed-trace');
    const credentials = await temporaryCredentials([
      {
        Action: ['s3:CreateBucket', 's3:DeleteBucket', 's3:ListBucket'],
        Resource: ['arn:aws:s3:::storage-probe-*'],
      },
    ]);
    const exit = await runCli(RUN, { ...TO_JAEGER, credentials, input: probeOf(name, sharedStore.url) });
    expect(exit.code).toBe(1);
    const { traceId, spanId } = resultOf(exit);

    // The run, four steps and five calls: HeadBucket, CreateBucket, PutObject, HeadBucket and DeleteBucket.
    const spans = spansFromJaeger(await waitForTrace(jaegerUrl, traceId, waitOptions(10)));
    const [checked, created, added = PASSED_RUN] = PASSED_RUN.children;
    const { events: _, ...notAdded } = added;
    expect(treeOf(spans)).toEqual({
      ...PASSED_RUN,
      children: [checked, created, notAdded, PASSED_RUN.children.at(-1)],
    });
    const failedSpans = spans.filter(({ attributes }) => attributes['error'] === true);
    expect(
      failedSpans.map((span) => `${span.name}: ${String(span.attributes['storageprobe.reason'])}`).toSorted(),
    ).toEqual([
      'S3.PutObject: AccessDenied',
      'add created object to bucket: AccessDenied',
      'storage probe: AccessDenied',
    ]);
    expect(spans.find((span) => span.spanId === spanId)?.attributes).toMatchObject({
      'storageprobe.verdict': 'Failed',
      'storageprobe.failed_step': 'ADD_OBJECT',
    });
  });
});
