import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { startMinio } from '../../deploy/local/minio.ts';
import { uniqueName } from '../support/unique-name.ts';
import { resultOf, runCli } from './cli.ts';
import { type Exchange, startFaultProxy, startSilentServer } from './fault-proxy.ts';
import { portToComeBackTo } from './ports.ts';
import { bucketsOf, keysIn, makeBucket, OTHERS_OBJECT, probeOf, sharedStore, user } from './store.ts';

const RUN = ['run', '-f', '-', '-o', 'json'];
/** Beyond a deadline, on a busy machine. */
const MARGIN_MS = 3_000;

describe('an endpoint that cannot be reached', () => {
  it.each([
    {
      name: 'a host name that nobody has',
      endpoint: 'http://no-such-store.invalid:9000',
      reason: 'DNSFailed',
      message: /^HeadBucket: failed while resolving the name of no-such-store\.invalid:9000: /,
    },
    {
      name: 'a port that nobody listens at',
      endpoint: 'http://127.0.0.1:1',
      reason: 'ConnectionRefused',
      message: /^HeadBucket: failed while connecting to 127\.0\.0\.1:1: /,
    },
  ])('$name is $reason', async ({ endpoint, reason, message }) => {
    const end = await runCli(RUN, { credentials: user, input: probeOf(uniqueName('unreached'), endpoint) });
    expect(end).toMatchObject({ code: 1, stderr: '' });
    expect(resultOf(end)).toMatchObject({
      verdict: 'Failed',
      reason,
      failedStep: 'CHECK_BUCKET',
      message: expect.stringMatching(message),
      leftBehind: [],
    });
  });
});

describe('a store that does not answer is Timeout', () => {
  it.each([
    { name: 'to a request', scheme: 'http', doing: 'waiting for the first byte from' },
    { name: 'to a TLS handshake', scheme: 'https', doing: 'shaking hands by TLS with' },
  ])('$name', async ({ scheme, doing }) => {
    await using server = await startSilentServer();
    const input = probeOf(uniqueName('silent'), `${scheme}://127.0.0.1:${server.port}`, { timeout: '1s' });
    const end = await runCli(RUN, { credentials: user, input });
    expect(end).toMatchObject({ code: 1, stderr: '' });

    const result = resultOf(end);
    expect(result).toMatchObject({
      verdict: 'Failed',
      reason: 'Timeout',
      failedStep: 'CHECK_BUCKET',
      message: `HeadBucket: time ran out while ${doing} 127.0.0.1:${server.port}`,
      leftBehind: [],
    });
    expect(result.durationMs).toBeGreaterThan(990);
    expect(result.durationMs).toBeLessThan(1_000 + MARGIN_MS);
  });

  it.each([
    { operation: 'CreateBucket', failedStep: 'CHECK_BUCKET' },
    { operation: 'PutObject', failedStep: 'ADD_OBJECT' },
    { operation: 'GetObject', failedStep: 'FETCH_OBJECT' },
  ])('to $operation, and what it may have made is removed', async ({ operation, failedStep }) => {
    const name = uniqueName('no-answer');
    // The store does what it is asked to, and nobody hears of it.
    const faults = { [operation]: async (exchange: Exchange) => void (await exchange.forward()) };
    await using proxy = await startFaultProxy(sharedStore.url, { faults });
    const input = probeOf(name, proxy.url, { timeout: '3s' });
    const end = await runCli(RUN, { credentials: user, input });
    expect(end).toMatchObject({ code: 1, stderr: '' });
    expect(resultOf(end)).toMatchObject({ reason: 'Timeout', failedStep, leftBehind: [] });
    expect(await bucketsOf(name)).toEqual([]);
  });
});

describe('a connection that breaks is ConnectionLost', () => {
  it.each([
    { name: 'before an answer to PUT', operation: 'PutObject', failedStep: 'ADD_OBJECT', cut },
    { name: 'before an answer to GET', operation: 'GetObject', failedStep: 'FETCH_OBJECT', cut },
    { name: "in the middle of GET's body", operation: 'GetObject', failedStep: 'FETCH_OBJECT', cut: cutBody },
  ])('$name', async ({ operation, failedStep, cut: fault }) => {
    const name = uniqueName('lost');
    await using proxy = await startFaultProxy(sharedStore.url, { faults: { [operation]: fault } });
    const input = probeOf(name, proxy.url, { objects: [{ size: '1Mi' }] });
    const end = await runCli(RUN, { credentials: user, input });
    expect(end).toMatchObject({ code: 1, stderr: '' });
    expect(resultOf(end)).toMatchObject({ reason: 'ConnectionLost', failedStep, leftBehind: [] });
    expect(proxy.requests.filter((request) => request.operation === operation)).toHaveLength(1);
    expect(await bucketsOf(name)).toEqual([]);
  });

  it('before an answer to PUT, and a bucket with versions keeps none of ours', async () => {
    await using bucket = await makeBucket({ versioned: true });
    const faults = {
      async PutObject(exchange: Exchange) {
        await exchange.forward();
        exchange.cut();
      },
    };
    await using proxy = await startFaultProxy(sharedStore.url, { faults });
    const { rootUser: accessKey, rootPassword: secretKey } = sharedStore;
    const input = probeOf(uniqueName('lost-version'), proxy.url, {
      bucket: { mode: 'Existing', name: bucket.name },
    });
    const end = await runCli(RUN, { credentials: { accessKey, secretKey }, input });
    expect(end).toMatchObject({ code: 1, stderr: '' });
    expect(resultOf(end)).toMatchObject({
      reason: 'ConnectionLost',
      failedStep: 'ADD_OBJECT',
      leftBehind: [],
    });
    expect(await keysIn(bucket.name)).toEqual([OTHERS_OBJECT]);
  });

  it('by a crash of the store; what stays there is told, and the next run removes it', async () => {
    await using dir = await mkdtempDisposable(join(tmpdir(), 'storage-probe-crash-'));
    const options = {
      dir: dir.path,
      port: await portToComeBackTo(),
      rootUser: 'crash-root',
      rootPassword: 'crash-secret',
    };
    await using minio = await startMinio(options);
    const faults = {
      async GetObject(exchange: Exchange) {
        minio.kill('SIGKILL');
        await minio.exited;
        exchange.cut();
      },
    };
    await using proxy = await startFaultProxy(minio.url, { faults });
    const name = uniqueName('crash');
    const credentials = { accessKey: minio.rootUser, secretKey: minio.rootPassword };
    const end = await runCli(RUN, { credentials, input: probeOf(name, proxy.url) });
    expect(end).toMatchObject({ code: 1, stderr: '' });

    const { reason, failedStep, bucket, leftBehind } = resultOf(end);
    expect({ reason, failedStep }).toEqual({ reason: 'ConnectionLost', failedStep: 'FETCH_OBJECT' });
    await using again = await startMinio(options);
    expect(await bucketsOf(name, again)).toEqual([bucket]);
    const keys = await keysIn(bucket, again);
    expect(keys).toHaveLength(1);
    expect(leftBehind).toEqual([bucket, `${bucket}/${keys[0]}`]);

    const next = await runCli(RUN, { credentials, input: probeOf(name, again.url) });
    expect(next).toMatchObject({ code: 0, stderr: '' });
    expect(await bucketsOf(name, again)).toEqual([]);
  });
});

async function cut(exchange: Exchange): Promise<void> {
  exchange.cut();
}

async function cutBody(exchange: Exchange): Promise<void> {
  exchange.sendPart(await exchange.forward(), 100_000);
}
