import { describe, expect, inject, it } from 'vitest';

import { waitForTrace } from '../../deploy/local/traces.ts';
import { uniqueName } from '../support/unique-name.ts';
import { peakBytesOf, resultOf, resultsOf, runCli, TELL_PEAK } from './cli.ts';
import {
  bucketsOf,
  keysIn,
  makeBucket,
  OTHERS_OBJECT,
  probeOf,
  sharedStore,
  targetOf,
  temporaryCredentials,
  user,
} from './store.ts';

const RUN = ['run', '-f', '-', '-o', 'json'];
const ALL_SIZES = [{ size: '0' }, { size: '4Ki' }, { size: '1Mi' }, { size: '64Mi' }];
const SIZES_BYTES = [0, 4_096, 1_048_576, 67_108_864];

describe('an Ephemeral bucket', () => {
  it('is there for the run, with objects of every size, and gone after it', async () => {
    const name = uniqueName('sizes');
    const input = probeOf(name, sharedStore.url, { objects: ALL_SIZES });
    const end = await runCli(RUN, { credentials: user, input });
    expect(end).toMatchObject({ code: 0, stderr: '' });

    const result = resultOf(end);
    expect(result).toMatchObject({ verdict: 'Passed', leftBehind: [] });
    expect(result.bucket).toMatch(new RegExp(`^storage-probe-${name}-[0-9a-f]{12}$`));
    const calls = result.steps.flatMap((step) => step.calls);
    const sent = calls.filter(({ operation }) => operation === 'PutObject');
    const received = calls.filter(({ operation }) => operation === 'GetObject');
    expect(sent.map(({ bytesSent }) => bytesSent)).toEqual(SIZES_BYTES);
    expect(received.map(({ bytesReceived }) => bytesReceived)).toEqual(SIZES_BYTES);
    expect(await bucketsOf(name)).toEqual([]);
  });

  it('is the same for each run of a probe', async () => {
    const input = probeOf(uniqueName('same'), sharedStore.url);
    const runs = resultsOf(await runCli([...RUN, '--count', '2'], { credentials: user, input }));
    expect(runs.map(({ verdict }) => verdict)).toEqual(['Passed', 'Passed']);
    expect(new Set(runs.map(({ bucket }) => bucket)).size).toBe(1);
  });
});

describe('an Existing bucket', () => {
  it.each([
    { name: 'plain', versioned: false },
    { name: 'versioned', versioned: true },
  ])('that is $name keeps what others put there, and nothing of ours', async ({ versioned }) => {
    await using bucket = await makeBucket({ versioned });
    const deletion = versioned ? ['s3:DeleteObject', 's3:DeleteObjectVersion'] : ['s3:DeleteObject'];
    const credentials = await temporaryCredentials([
      { Action: ['s3:ListBucket'], Resource: [`arn:aws:s3:::${bucket.name}`] },
      {
        Action: ['s3:PutObject', 's3:GetObject', ...deletion],
        Resource: [`arn:aws:s3:::${bucket.name}/storage-probe/*`],
      },
    ]);
    const input = probeOf(uniqueName('existing'), sharedStore.url, {
      bucket: { mode: 'Existing', name: bucket.name },
      objects: [{ size: '4Ki' }, { size: '1Mi' }],
    });
    const end = await runCli(RUN, { credentials, input });
    expect(end).toMatchObject({ code: 0, stderr: '' });

    const result = resultOf(end);
    expect(result).toMatchObject({ verdict: 'Passed', bucket: bucket.name, leftBehind: [] });
    const operations = result.steps.flatMap(({ calls }) => calls.map(({ operation }) => operation));
    expect(operations).not.toContain('CreateBucket');
    expect(operations).not.toContain('DeleteBucket');
    expect(await keysIn(bucket.name)).toEqual([OTHERS_OBJECT]);
  });

  it('can be given for a quick look', async () => {
    await using bucket = await makeBucket();
    const { rootUser: accessKey, rootPassword: secretKey } = sharedStore;
    const end = await runCli(
      ['run', '--endpoint', sharedStore.url, '--bucket', bucket.name, '--size', '4Ki', '1Mi'],
      { credentials: { accessKey, secretKey } },
    );
    expect(end).toMatchObject({ code: 0, stderr: '' });
    expect(end.stdout).toMatch(/^Passed {2}127-0-0-1 {2}/m);
    expect(await keysIn(bucket.name)).toEqual([OTHERS_OBJECT]);
  });
});

describe('several targets in one file', () => {
  const { collectorGrpcUrl, jaegerUrl } = inject('servers');

  it('each get a run, a bucket, a service and a trace of their own', async () => {
    const name = uniqueName('ten-targets');
    const names = Array.from({ length: 10 }, (_, index) => `${name}-${index}`);
    const input = probeOf(name, sharedStore.url, {
      targets: names.map((target) => targetOf(target, sharedStore.url)),
    });
    const end = await runCli(RUN, {
      credentials: user,
      input,
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: collectorGrpcUrl },
    });
    expect(end).toMatchObject({ code: 0, stderr: '' });

    const results = resultsOf(end);
    expect(results.map(({ target }) => target).toSorted()).toEqual(names);
    expect(new Set(results.map(({ verdict }) => verdict))).toEqual(new Set(['Passed']));
    expect(new Set(results.map(({ bucket }) => bucket)).size).toBe(10);
    expect(await bucketsOf(name)).toEqual([]);
    for (const { target, traceId } of results) {
      const trace = await waitForTrace(jaegerUrl, traceId, {
        signal: AbortSignal.timeout(20_000),
        spans: 15,
      });
      expect(Object.values(trace.processes).map(({ serviceName }) => serviceName)).toEqual([target]);
    }
  });

  it('fail together when one fails, and each says how it went', async () => {
    const name = uniqueName('one-fails');
    const input = probeOf(name, sharedStore.url, {
      targets: [targetOf('up', sharedStore.url), targetOf('down', 'http://127.0.0.1:1')],
    });
    const end = await runCli(['run', '-f', '-'], { credentials: user, input });
    expect(end).toMatchObject({ code: 1, stderr: '' });
    expect(end.stdout).toMatch(/^Passed {2}up {2}/m);
    expect(end.stdout).toMatch(/^Failed: ConnectionRefused in CHECK_BUCKET {2}down {2}/m);
    expect(await bucketsOf(name)).toEqual([]);
  });
});

it('needs no more memory for a large object than for a small one', async () => {
  const [small, large] = [await peakBytes('4Ki'), await peakBytes('256Mi')];
  expect(large - small).toBeLessThan(128 * 1_024 * 1_024);
});

async function peakBytes(size: string): Promise<number> {
  const input = probeOf(uniqueName('memory'), sharedStore.url, { objects: [{ size }], timeout: '50s' });
  const end = await runCli(RUN, { credentials: user, input, preload: TELL_PEAK });
  expect(end.code).toBe(0);
  return peakBytesOf(end);
}
