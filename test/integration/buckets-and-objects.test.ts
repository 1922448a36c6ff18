import { describe, expect, inject, it } from 'vitest';

import { waitForTrace } from '../../deploy/local/traces.ts';
import { uniqueName } from '../support/unique-name.ts';
import { peakMemoryBytes, resultOf, resultsOf, runCli, REPORT_PEAK_MEMORY } from './cli.ts';
import {
  bucketsOf,
  keysIn,
  createBucket,
  FOREIGN_OBJECT,
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
  it('takes objects of every size and is removed after the run', async () => {
    const name = uniqueName('sizes');
    const input = probeOf(name, sharedStore.url, { objects: ALL_SIZES });
    const exit = await runCli(RUN, { credentials: user, input });
    expect(exit).toMatchObject({ code: 0, stderr: '' });

    const result = resultOf(exit);
    expect(result).toMatchObject({ verdict: 'Passed', leftBehind: [] });
    expect(result.bucket).toMatch(new RegExp(`^storage-probe-${name}-[0-9a-f]{12}$`));
    const calls = result.steps.flatMap((step) => step.calls);
    const sent = calls.filter(({ operation }) => operation === 'PutObject');
    const received = calls.filter(({ operation }) => operation === 'GetObject');
    expect(sent.map(({ bytesSent }) => bytesSent)).toEqual(SIZES_BYTES);
    expect(received.map(({ bytesReceived }) => bytesReceived)).toEqual(SIZES_BYTES);
    expect(await bucketsOf(name)).toEqual([]);
  });

  it('has the same name in every run of a probe', async () => {
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
  ])('that is $name keeps objects of other clients, and no object of the probe', async ({ versioned }) => {
    await using bucket = await createBucket({ versioned });
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
    const exit = await runCli(RUN, { credentials, input });
    expect(exit).toMatchObject({ code: 0, stderr: '' });

    const result = resultOf(exit);
    expect(result).toMatchObject({ verdict: 'Passed', bucket: bucket.name, leftBehind: [] });
    const operations = result.steps.flatMap(({ calls }) => calls.map(({ operation }) => operation));
    expect(operations).not.toContain('CreateBucket');
    expect(operations).not.toContain('DeleteBucket');
    expect(await keysIn(bucket.name)).toEqual([FOREIGN_OBJECT]);
  });

  it('can be probed without a file', async () => {
    await using bucket = await createBucket();
    const { rootUser: accessKey, rootPassword: secretKey } = sharedStore;
    const exit = await runCli(
      ['run', '--endpoint', sharedStore.url, '--bucket', bucket.name, '--size', '4Ki', '1Mi'],
      { credentials: { accessKey, secretKey } },
    );
    expect(exit).toMatchObject({ code: 0, stderr: '' });
    expect(exit.stdout).toMatch(/^Passed {2}127-0-0-1 {2}/m);
    expect(await keysIn(bucket.name)).toEqual([FOREIGN_OBJECT]);
  });
});

describe('multiple targets in one file', () => {
  const { collectorGrpcUrl, jaegerUrl } = inject('servers');

  it('each get a separate run, bucket, service and trace', async () => {
    const name = uniqueName('ten-targets');
    const names = Array.from({ length: 10 }, (_, index) => `${name}-${index}`);
    const input = probeOf(name, sharedStore.url, {
      targets: names.map((target) => targetOf(target, sharedStore.url)),
    });
    const exit = await runCli(RUN, {
      credentials: user,
      input,
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: collectorGrpcUrl },
    });
    expect(exit).toMatchObject({ code: 0, stderr: '' });

    const results = resultsOf(exit);
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

  it('fail the command if one target fails, and every result is printed', async () => {
    const name = uniqueName('one-fails');
    const input = probeOf(name, sharedStore.url, {
      targets: [targetOf('up', sharedStore.url), targetOf('down', 'http://127.0.0.1:1')],
    });
    const exit = await runCli(['run', '-f', '-'], { credentials: user, input });
    expect(exit).toMatchObject({ code: 1, stderr: '' });
    expect(exit.stdout).toMatch(/^Passed {2}up {2}/m);
    expect(exit.stdout).toMatch(/^Failed: ConnectionRefused in CHECK_BUCKET {2}down {2}/m);
    expect(await bucketsOf(name)).toEqual([]);
  });
});

it('uses no more memory for a large object than for a small one', async () => {
  const [small, large] = [await peakMemoryFor('4Ki'), await peakMemoryFor('256Mi')];
  expect(large - small).toBeLessThan(128 * 1_024 * 1_024);
});

async function peakMemoryFor(size: string): Promise<number> {
  const input = probeOf(uniqueName('memory'), sharedStore.url, { objects: [{ size }], timeout: '50s' });
  const exit = await runCli(RUN, { credentials: user, input, preload: REPORT_PEAK_MEMORY });
  expect(exit.code).toBe(0);
  return peakMemoryBytes(exit);
}
