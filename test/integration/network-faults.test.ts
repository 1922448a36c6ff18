import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { startMinio } from '../../deploy/local/minio.ts';
import { uniqueName } from '../support/unique-name.ts';
import { resultOf, runCli } from './cli.ts';
import { type Exchange, startFaultProxy, startSilentServer } from './fault-proxy.ts';
import { stablePort } from './ports.ts';
import { bucketsOf, keysIn, createBucket, FOREIGN_OBJECT, probeOf, sharedStore, user } from './store.ts';

const RUN = ['run', '-f', '-', '-o', 'json'];
/** Margin after a deadline, for a busy machine. */
const MARGIN_MS = 3_000;

describe('an unreachable endpoint', () => {
  it.each([
    {
      name: 'an unknown host name',
      endpoint: 'http://no-such-store.invalid:9000',
      reason: 'DNSFailed',
      message: /^HeadBucket: resolving the host name of no-such-store\.invalid:9000 failed: /,
    },
    {
      name: 'a port without a listener',
      endpoint: 'http://127.0.0.1:1',
      reason: 'ConnectionRefused',
      message: /^HeadBucket: connecting to 127\.0\.0\.1:1 failed: /,
    },
  ])('with $name is reported as $reason', async ({ endpoint, reason, message }) => {
    const exit = await runCli(RUN, { credentials: user, input: probeOf(uniqueName('unreached'), endpoint) });
    expect(exit).toMatchObject({ code: 1, stderr: '' });
    expect(resultOf(exit)).toMatchObject({
      verdict: 'Failed',
      reason,
      failedStep: 'CHECK_BUCKET',
      message: expect.stringMatching(message),
      leftBehind: [],
    });
  });
});

describe('a missing response', () => {
  it.each([
    { name: 'to a request', scheme: 'http', activity: 'waiting for the first byte from' },
    { name: 'to a TLS handshake', scheme: 'https', activity: 'TLS handshake with' },
  ])('$name is reported as Timeout', async ({ scheme, activity }) => {
    await using server = await startSilentServer();
    const input = probeOf(uniqueName('silent'), `${scheme}://127.0.0.1:${server.port}`, { timeout: '1s' });
    const exit = await runCli(RUN, { credentials: user, input });
    expect(exit).toMatchObject({ code: 1, stderr: '' });

    const result = resultOf(exit);
    expect(result).toMatchObject({
      verdict: 'Failed',
      reason: 'Timeout',
      failedStep: 'CHECK_BUCKET',
      message: `HeadBucket: ${activity} 127.0.0.1:${server.port} timed out`,
      leftBehind: [],
    });
    expect(result.durationMs).toBeGreaterThan(990);
    expect(result.durationMs).toBeLessThan(1_000 + MARGIN_MS);
  });

  it.each([
    { operation: 'CreateBucket', failedStep: 'CHECK_BUCKET' },
    { operation: 'PutObject', failedStep: 'ADD_OBJECT' },
    { operation: 'GetObject', failedStep: 'FETCH_OBJECT' },
  ])(
    'to $operation is reported as Timeout, and anything created is removed',
    async ({ operation, failedStep }) => {
      const name = uniqueName('no-response');
      // The store handles the request, but its response is lost.
      const faults = { [operation]: async (exchange: Exchange) => void (await exchange.forward()) };
      await using proxy = await startFaultProxy(sharedStore.url, { faults });
      const input = probeOf(name, proxy.url, { timeout: '3s' });
      const exit = await runCli(RUN, { credentials: user, input });
      expect(exit).toMatchObject({ code: 1, stderr: '' });
      expect(resultOf(exit)).toMatchObject({ reason: 'Timeout', failedStep, leftBehind: [] });
      expect(await bucketsOf(name)).toEqual([]);
    },
  );
});

describe('a connection lost', () => {
  it.each([
    {
      name: 'before the response to PUT',
      operation: 'PutObject',
      failedStep: 'ADD_OBJECT',
      fault: closeConnection,
    },
    {
      name: 'before the response to GET',
      operation: 'GetObject',
      failedStep: 'FETCH_OBJECT',
      fault: closeConnection,
    },
    {
      name: 'in the middle of the body of GET',
      operation: 'GetObject',
      failedStep: 'FETCH_OBJECT',
      fault: truncateBody,
    },
  ])('$name is reported as ConnectionLost', async ({ operation, failedStep, fault }) => {
    const name = uniqueName('lost');
    await using proxy = await startFaultProxy(sharedStore.url, { faults: { [operation]: fault } });
    const input = probeOf(name, proxy.url, { objects: [{ size: '1Mi' }] });
    const exit = await runCli(RUN, { credentials: user, input });
    expect(exit).toMatchObject({ code: 1, stderr: '' });
    expect(resultOf(exit)).toMatchObject({ reason: 'ConnectionLost', failedStep, leftBehind: [] });
    expect(proxy.requests.filter((request) => request.operation === operation)).toHaveLength(1);
    expect(await bucketsOf(name)).toEqual([]);
  });

  it('before the response to PUT leaves no object version in a versioned bucket', async () => {
    await using bucket = await createBucket({ versioned: true });
    const faults = {
      async PutObject(exchange: Exchange) {
        await exchange.forward();
        exchange.closeConnection();
      },
    };
    await using proxy = await startFaultProxy(sharedStore.url, { faults });
    const { rootUser: accessKey, rootPassword: secretKey } = sharedStore;
    const input = probeOf(uniqueName('lost-version'), proxy.url, {
      bucket: { mode: 'Existing', name: bucket.name },
    });
    const exit = await runCli(RUN, { credentials: { accessKey, secretKey }, input });
    expect(exit).toMatchObject({ code: 1, stderr: '' });
    expect(resultOf(exit)).toMatchObject({
      reason: 'ConnectionLost',
      failedStep: 'ADD_OBJECT',
      leftBehind: [],
    });
    expect(await keysIn(bucket.name)).toEqual([FOREIGN_OBJECT]);
  });

  it('in a crash of the store leaves objects that are reported and removed by the next run', async () => {
    await using dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-crash-'));
    const options = {
      dir: dir.path,
      port: await stablePort(),
      rootUser: 'crash-root',
      rootPassword: 'crash-secret',
    };
    await using minio = await startMinio(options);
    const faults = {
      async GetObject(exchange: Exchange) {
        minio.kill('SIGKILL');
        await minio.exited;
        exchange.closeConnection();
      },
    };
    await using proxy = await startFaultProxy(minio.url, { faults });
    const name = uniqueName('crash');
    const credentials = { accessKey: minio.rootUser, secretKey: minio.rootPassword };
    const exit = await runCli(RUN, { credentials, input: probeOf(name, proxy.url) });
    expect(exit).toMatchObject({ code: 1, stderr: '' });

    const { reason, failedStep, bucket, leftBehind } = resultOf(exit);
    expect({ reason, failedStep }).toEqual({ reason: 'ConnectionLost', failedStep: 'FETCH_OBJECT' });
    await using restarted = await startMinio(options);
    expect(await bucketsOf(name, restarted)).toEqual([bucket]);
    const keys = await keysIn(bucket, restarted);
    expect(keys).toHaveLength(1);
    expect(leftBehind).toEqual([bucket, `${bucket}/${keys[0]}`]);

    const nextExit = await runCli(RUN, { credentials, input: probeOf(name, restarted.url) });
    expect(nextExit).toMatchObject({ code: 0, stderr: '' });
    expect(await bucketsOf(name, restarted)).toEqual([]);
  });
});

async function closeConnection(exchange: Exchange): Promise<void> {
  exchange.closeConnection();
}

async function truncateBody(exchange: Exchange): Promise<void> {
  exchange.sendPart(await exchange.forward(), 100_000);
}
