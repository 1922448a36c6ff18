import { describe, expect, inject, it } from 'vitest';

import { waitForTrace } from '../../deploy/local/traces.ts';
import { uniqueName } from '../support/unique-name.ts';
import { resultOf, runCli, startCli } from './cli.ts';
import { type Faults, startFaultProxy } from './fault-proxy.ts';
import { spansFromJaeger, treeOf } from '../support/span-tree.ts';
import { adminOf, bucketsOf, keysIn, probeOf, sharedStore, user } from './store.ts';

const { collectorGrpcUrl, jaegerUrl } = inject('servers');
const RUN = ['run', '-f', '-', '-o', 'json'];
/** Blocks the run at GetObject, after it has created a bucket and an object. */
const HOLD_GET: Faults = { GetObject: () => undefined };

describe.each(['SIGINT', 'SIGTERM'] as const)('%s in the middle of a run', (signal) => {
  it('cancels the run, sends its trace and cleans up', async () => {
    const name = uniqueName('stopped');
    await using proxy = await startFaultProxy(sharedStore.url, { faults: HOLD_GET });
    const cli = await startCli(RUN, {
      credentials: user,
      input: probeOf(name, proxy.url),
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: collectorGrpcUrl },
    });
    await proxy.untilSeen('GetObject');
    cli.kill(signal);
    const exit = await cli.exited;
    expect(exit).toMatchObject({
      code: 2,
      stderr: 'storage-probe: stopping and cleaning up; press Ctrl+C again to exit immediately\n',
    });

    const result = resultOf(exit);
    expect(result).toMatchObject({
      verdict: 'Unknown',
      reason: 'Cancelled',
      failedStep: 'FETCH_OBJECT',
      message: 'GetObject: cancelled before the response was complete',
      leftBehind: [],
    });
    expect(await bucketsOf(name)).toEqual([]);
    const wait = { signal: AbortSignal.timeout(20_000), spans: 15 };
    const tree = treeOf(spansFromJaeger(await waitForTrace(jaegerUrl, result.traceId, wait)));
    expect(tree.children.map(({ functionName }) => functionName)).toEqual(
      result.steps.map(({ functionName }) => functionName),
    );
  });
});

it('starts no further run when stopped during the first one', async () => {
  const name = uniqueName('stopped-early');
  await using proxy = await startFaultProxy(sharedStore.url, { faults: HOLD_GET });
  const cli = await startCli([...RUN, '--count', '100'], {
    credentials: user,
    input: probeOf(name, proxy.url),
  });
  await proxy.untilSeen('GetObject');
  cli.kill('SIGINT');
  const exit = await cli.exited;
  expect(exit.code).toBe(2);
  expect(resultOf(exit)).toMatchObject({ reason: 'Cancelled' });
  expect(await bucketsOf(name)).toEqual([]);
});

it.each(['SIGINT', 'SIGTERM'] as const)(
  'exits at once with code 2 on %s between two runs',
  async (signal) => {
    const name = uniqueName('stopped-idle');
    const cli = await startCli([...RUN, '--count', '2', '--every', '1h'], {
      credentials: user,
      input: probeOf(name, sharedStore.url),
    });
    await cli.untilPrinted('"traceId"');
    cli.kill(signal);
    const exit = await cli.exited;
    expect(exit.code).toBe(2);
    expect(resultOf(exit)).toMatchObject({ verdict: 'Passed' });
  },
);

it('skips the clean-up on a second signal', async () => {
  const name = uniqueName('stopped-twice');
  const faults: Faults = { ...HOLD_GET, DeleteObject: () => undefined };
  await using proxy = await startFaultProxy(sharedStore.url, { faults });
  const cli = await startCli(RUN, { credentials: user, input: probeOf(name, proxy.url) });
  await proxy.untilSeen('GetObject');
  cli.kill('SIGINT');
  await proxy.untilSeen('DeleteObject');
  cli.kill('SIGINT');
  expect(await cli.exited).toMatchObject({ code: 2, stdout: '' });

  await runCli(RUN, { credentials: user, input: probeOf(name, sharedStore.url) });
  expect(await bucketsOf(name)).toEqual([]);
});

describe('after crashes of the prober', () => {
  it('only one bucket is left behind, and the next run removes it', async () => {
    const name = uniqueName('crashed');
    await crash(name);
    await crash(name);
    const [bucket, ...more] = await bucketsOf(name);
    expect(more).toEqual([]);
    expect(await keysIn(bucket ?? '')).toHaveLength(2);

    const exit = await runCli(RUN, { credentials: user, input: probeOf(name, sharedStore.url) });
    expect(exit).toMatchObject({ code: 0, stderr: '' });
    expect(resultOf(exit)).toMatchObject({ verdict: 'Passed', bucket, leftBehind: [] });
    expect(await bucketsOf(name)).toEqual([]);
  });

  it("the next run keeps another client's object", async () => {
    const name = uniqueName('conflict');
    await crash(name);
    const [bucket = ''] = await bucketsOf(name);
    const admin = adminOf();
    await admin.putObject(bucket, 'another-client/object', 'keep me');
    try {
      const exit = await runCli(RUN, { credentials: user, input: probeOf(name, sharedStore.url) });
      expect(exit).toMatchObject({ code: 1, stderr: '' });
      expect(resultOf(exit)).toMatchObject({
        verdict: 'Failed',
        reason: 'BucketConflict',
        failedStep: 'REMOVE_BUCKET',
        leftBehind: [bucket],
      });
      expect(await keysIn(bucket)).toEqual(['another-client/object']);
    } finally {
      await admin.removeObject(bucket, 'another-client/object');
      await admin.removeBucket(bucket);
    }
  });
});

async function crash(name: string): Promise<void> {
  await using proxy = await startFaultProxy(sharedStore.url, { faults: HOLD_GET });
  const cli = await startCli(RUN, { credentials: user, input: probeOf(name, proxy.url) });
  await proxy.untilSeen('GetObject');
  cli.kill('SIGKILL');
  expect(await cli.exited).toMatchObject({ signal: 'SIGKILL', stdout: '' });
}
