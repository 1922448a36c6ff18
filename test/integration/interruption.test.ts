import { describe, expect, inject, it } from 'vitest';

import { waitForTrace } from '../../deploy/local/traces.ts';
import { uniqueName } from '../support/unique-name.ts';
import { resultOf, runCli, startCli } from './cli.ts';
import { type Faults, startFaultProxy } from './fault-proxy.ts';
import { spansOfJaeger, treeOf } from '../support/span-tree.ts';
import { adminOf, bucketsOf, keysIn, probeOf, sharedStore, user } from './store.ts';

const { collectorGrpcUrl, jaegerUrl } = inject('servers');
const RUN = ['run', '-f', '-', '-o', 'json'];
/** The run stands still in the middle, with a bucket and an object made. */
const HOLD_GET: Faults = { GetObject: () => undefined };

describe.each(['SIGINT', 'SIGTERM'] as const)('%s in the middle of a run', (signal) => {
  it('is Cancelled, and leaves a trace and nothing else', async () => {
    const name = uniqueName('stopped');
    await using proxy = await startFaultProxy(sharedStore.url, { faults: HOLD_GET });
    const cli = await startCli(RUN, {
      credentials: user,
      input: probeOf(name, proxy.url),
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: collectorGrpcUrl },
    });
    await proxy.seen('GetObject');
    cli.kill(signal);
    const end = await cli.ended;
    expect(end).toMatchObject({
      code: 2,
      stderr: 'storage-probe: stopping; cleaning up what was made (again to stop at once)\n',
    });

    const result = resultOf(end);
    expect(result).toMatchObject({
      verdict: 'Unknown',
      reason: 'Cancelled',
      failedStep: 'FETCH_OBJECT',
      message: 'GetObject: stopped before an answer came',
      leftBehind: [],
    });
    expect(await bucketsOf(name)).toEqual([]);
    const arriving = { signal: AbortSignal.timeout(20_000), spans: 15 };
    const tree = treeOf(spansOfJaeger(await waitForTrace(jaegerUrl, result.traceId, arriving)));
    expect(tree.children.map(({ functionName }) => functionName)).toEqual(
      result.steps.map(({ functionName }) => functionName),
    );
  });
});

it('a stop before the first run is over starts no other', async () => {
  const name = uniqueName('stopped-early');
  await using proxy = await startFaultProxy(sharedStore.url, { faults: HOLD_GET });
  const cli = await startCli([...RUN, '--count', '100'], {
    credentials: user,
    input: probeOf(name, proxy.url),
  });
  await proxy.seen('GetObject');
  cli.kill('SIGINT');
  const end = await cli.ended;
  expect(end.code).toBe(2);
  expect(resultOf(end)).toMatchObject({ reason: 'Cancelled' });
  expect(await bucketsOf(name)).toEqual([]);
});

it('a stop between two runs does not wait for the second', async () => {
  const name = uniqueName('stopped-idle');
  const cli = await startCli([...RUN, '--count', '2', '--every', '1h'], {
    credentials: user,
    input: probeOf(name, sharedStore.url),
  });
  await cli.printed('"traceId"');
  cli.kill('SIGINT');
  expect(resultOf(await cli.ended)).toMatchObject({ verdict: 'Passed' });
});

it('a second stop does not wait for the clean-up', async () => {
  const name = uniqueName('stopped-twice');
  const faults: Faults = { ...HOLD_GET, DeleteObject: () => undefined };
  await using proxy = await startFaultProxy(sharedStore.url, { faults });
  const cli = await startCli(RUN, { credentials: user, input: probeOf(name, proxy.url) });
  await proxy.seen('GetObject');
  cli.kill('SIGINT');
  await proxy.seen('DeleteObject');
  cli.kill('SIGINT');
  expect(await cli.ended).toMatchObject({ code: 2, stdout: '' });

  await runCli(RUN, { credentials: user, input: probeOf(name, sharedStore.url) });
  expect(await bucketsOf(name)).toEqual([]);
});

describe('crashes of the prober', () => {
  it('leave one bucket, however many they are, and the next run removes it', async () => {
    const name = uniqueName('crashed');
    await crash(name);
    await crash(name);
    const [bucket, ...more] = await bucketsOf(name);
    expect(more).toEqual([]);
    expect(await keysIn(bucket ?? '')).toHaveLength(2);

    const end = await runCli(RUN, { credentials: user, input: probeOf(name, sharedStore.url) });
    expect(end).toMatchObject({ code: 0, stderr: '' });
    expect(resultOf(end)).toMatchObject({ verdict: 'Passed', bucket, leftBehind: [] });
    expect(await bucketsOf(name)).toEqual([]);
  });

  it('cost nobody else an object', async () => {
    const name = uniqueName('conflict');
    await crash(name);
    const [bucket = ''] = await bucketsOf(name);
    const admin = adminOf();
    await admin.putObject(bucket, 'somebody/else', 'keep me');
    try {
      const end = await runCli(RUN, { credentials: user, input: probeOf(name, sharedStore.url) });
      expect(end).toMatchObject({ code: 1, stderr: '' });
      expect(resultOf(end)).toMatchObject({
        verdict: 'Failed',
        reason: 'BucketConflict',
        failedStep: 'REMOVE_BUCKET',
        leftBehind: [bucket],
      });
      expect(await keysIn(bucket)).toEqual(['somebody/else']);
    } finally {
      await admin.removeObject(bucket, 'somebody/else');
      await admin.removeBucket(bucket);
    }
  });
});

async function crash(name: string): Promise<void> {
  await using proxy = await startFaultProxy(sharedStore.url, { faults: HOLD_GET });
  const cli = await startCli(RUN, { credentials: user, input: probeOf(name, proxy.url) });
  await proxy.seen('GetObject');
  cli.kill('SIGKILL');
  expect(await cli.ended).toMatchObject({ signal: 'SIGKILL', stdout: '' });
}
