import { describe, expect, it } from 'vitest';

import type { Reason } from '../../src/api/reasons.ts';
import type { Credentials, FunctionName } from '../../src/api/run.ts';
import { uniqueName } from '../support/unique-name.ts';
import { resultOf, runCli } from './cli.ts';
import { type StoreResponse, storeResponse, type Exchange, s3Error, startFaultProxy } from './fault-proxy.ts';
import {
  bucketsOf,
  keysIn,
  createBucket,
  FOREIGN_OBJECT,
  probeOf,
  sharedStore,
  temporaryCredentials,
  user,
} from './store.ts';

const RUN = ['run', '-f', '-', '-o', 'json'];
const OWN_BUCKETS = 'arn:aws:s3:::storage-probe-*';

describe('rejected credentials', () => {
  interface Case {
    readonly name: string;
    readonly credentials: () => Credentials | Promise<Credentials>;
    readonly reason: Reason;
    readonly failedStep: FunctionName;
    readonly message: RegExp;
  }
  it.each<Case>([
    {
      name: 'an unknown access key',
      credentials: () => ({ ...user, accessKey: 'unknown' }),
      reason: 'InvalidAccessKey',
      failedStep: 'CHECK_BUCKET',
      message: /^HeadBucket: 403 InvalidAccessKeyId /,
    },
    {
      name: 'a wrong secret key',
      credentials: () => ({ ...user, secretKey: 'canary-in-a-coal-mine' }),
      reason: 'SignatureMismatch',
      failedStep: 'CHECK_BUCKET',
      message: /^HeadBucket: 403 SignatureDoesNotMatch /,
    },
    {
      name: 'an unknown session token',
      credentials: () => ({ ...user, sessionToken: 'canary/unknown+session=token' }),
      reason: 'CredentialsExpired',
      failedStep: 'CHECK_BUCKET',
      message: /^HeadBucket: 403 InvalidTokenId /,
    },
    {
      name: 'a user without rights',
      credentials: () => temporaryCredentials([{ Action: ['s3:GetBucketTagging'], Resource: [OWN_BUCKETS] }]),
      reason: 'AccessDenied',
      failedStep: 'CHECK_BUCKET',
      message: /^HeadBucket: 403 AccessDenied /,
    },
    {
      name: 'a user who may not create buckets',
      credentials: () => temporaryCredentials([{ Action: ['s3:ListBucket'], Resource: [OWN_BUCKETS] }]),
      reason: 'AccessDenied',
      failedStep: 'CHECK_BUCKET',
      message: /^CreateBucket: 403 AccessDenied /,
    },
    {
      name: 'a user who may not add objects',
      credentials: () =>
        temporaryCredentials([
          { Action: ['s3:ListBucket', 's3:CreateBucket', 's3:DeleteBucket'], Resource: [OWN_BUCKETS] },
        ]),
      reason: 'AccessDenied',
      failedStep: 'ADD_OBJECT',
      message: /^PutObject: 403 AccessDenied /,
    },
  ])('$name is reported as $reason', async ({ credentials, reason, failedStep, message }) => {
    const name = uniqueName('denied');
    const input = probeOf(name, sharedStore.url);
    const exit = await runCli(RUN, { credentials: await credentials(), input });
    expect(exit).toMatchObject({ code: 1, stderr: '' });
    expect(resultOf(exit)).toMatchObject({
      verdict: 'Failed',
      reason,
      failedStep,
      message: expect.stringMatching(message),
      leftBehind: [],
    });
    expect(await bucketsOf(name)).toEqual([]);
  });
});

it('reports a clock 20 minutes ahead as ClockSkew, with the difference in the message', async () => {
  const name = uniqueName('clock');
  const exit = await runCli(RUN, {
    credentials: user,
    input: probeOf(name, sharedStore.url),
    preload: 'const now = Date.now; Date.now = () => now() + 20 * 60_000;',
  });
  expect(exit).toMatchObject({ code: 1, stderr: '' });
  expect(resultOf(exit)).toMatchObject({
    reason: 'ClockSkew',
    message: expect.stringMatching(/ the store's clock is 1[12]\d\d s behind the prober's /),
  });
  expect(await bucketsOf(name)).toEqual([]);
});

it('reports a missing Existing bucket as BucketMissing and does not create it', async () => {
  const bucket = uniqueName('storage-probe');
  const input = probeOf(uniqueName('missing'), sharedStore.url, {
    bucket: { mode: 'Existing', name: bucket },
  });
  const exit = await runCli(RUN, { credentials: user, input });
  expect(exit).toMatchObject({ code: 1, stderr: '' });
  expect(resultOf(exit)).toMatchObject({
    reason: 'BucketMissing',
    message: `bucket ${bucket} does not exist`,
    leftBehind: [],
  });
});

describe('an unexpected response', () => {
  interface Case {
    readonly name: string;
    readonly operation: string;
    readonly response: StoreResponse;
    readonly reason: Reason;
    readonly message: string;
  }
  it.each<Case>([
    {
      name: 'a throttled write',
      operation: 'PutObject',
      response: s3Error(503, 'SlowDown', 'Please reduce your request rate.'),
      reason: 'SlowDown',
      message: 'PutObject: 503 SlowDown Please reduce your request rate. (request ID FA017)',
    },
    {
      name: 'a throttled read',
      operation: 'GetObject',
      response: s3Error(503, 'SlowDown', 'Please reduce your request rate.'),
      reason: 'SlowDown',
      message: 'GetObject: 503 SlowDown Please reduce your request rate. (request ID FA017)',
    },
    {
      name: "a proxy's error page",
      operation: 'GetObject',
      response: storeResponse(
        503,
        { 'content-type': 'text/html', server: 'some-proxy' },
        '<html><head><title>503 Service\nUnavailable</title></head></html>',
      ),
      reason: 'StoreUnavailable',
      message: 'GetObject: 503 is not an S3 response (text/html from some-proxy): "503 Service Unavailable"',
    },
    {
      name: "a proxy's login page",
      operation: 'GetObject',
      response: storeResponse(200, { 'content-type': 'text/html' }, '<title>Sign in</title>'),
      reason: 'ProxyRefused',
      message: 'GetObject: 200 is not an S3 response (text/html): "Sign in"',
    },
    {
      name: 'an unknown error code',
      operation: 'PutObject',
      response: s3Error(418, 'ShortAndStout', 'I am a teapot.'),
      reason: 'RequestRejected',
      message: 'PutObject: 418 ShortAndStout I am a teapot. (request ID FA017)',
    },
    {
      name: 'an internal error of the store',
      operation: 'GetObject',
      response: s3Error(500, 'InternalError', 'We encountered an internal error.'),
      reason: 'ServerError',
      message: 'GetObject: 500 InternalError We encountered an internal error. (request ID FA017)',
    },
    {
      name: 'offline drives',
      operation: 'PutObject',
      response: s3Error(
        503,
        'SlowDownWrite',
        'Resource requested is unwritable, please reduce your request rate',
      ),
      reason: 'QuorumLost',
      message:
        'PutObject: 503 SlowDownWrite Resource requested is unwritable, please reduce your request rate (request ID FA017)',
    },
    {
      name: 'a full store',
      operation: 'PutObject',
      response: s3Error(
        507,
        'XMinioStorageFull',
        'Storage backend has reached its minimum free drive threshold.',
      ),
      reason: 'StorageFull',
      message:
        'PutObject: 507 XMinioStorageFull Storage backend has reached its minimum free drive threshold. (request ID FA017)',
    },
  ])('$name is reported as $reason without a retry', async ({ operation, response, reason, message }) => {
    const name = uniqueName('response');
    await using proxy = await startFaultProxy(sharedStore.url, {
      faults: { [operation]: respondOnce(response) },
    });
    const exit = await runCli(RUN, { credentials: user, input: probeOf(name, proxy.url) });
    expect(exit).toMatchObject({ code: 1, stderr: '' });

    expect(resultOf(exit)).toMatchObject({ verdict: 'Failed', reason, message, leftBehind: [] });
    expect(proxy.requests.filter((request) => request.operation === operation)).toHaveLength(1);
    expect(await bucketsOf(name)).toEqual([]);
  });

  it('that redirects is reported as Redirected and not followed', async () => {
    await using elsewhere = await startFaultProxy(sharedStore.url);
    const redirect = storeResponse(301, { location: `${elsewhere.url}/bucket?secret` }, '');
    const faults = { HeadBucket: (exchange: Exchange) => exchange.send(redirect) };
    await using proxy = await startFaultProxy(sharedStore.url, { faults });
    const exit = await runCli(RUN, { credentials: user, input: probeOf(uniqueName('redirect'), proxy.url) });
    expect(exit).toMatchObject({ code: 1, stderr: '' });
    expect(resultOf(exit)).toMatchObject({
      reason: 'Redirected',
      message: expect.stringContaining(`HeadBucket: 301 pointing to ${elsewhere.url}/bucket`),
      leftBehind: [],
    });
    expect(proxy.requests.map(({ operation }) => operation)).toEqual(['HeadBucket']);
    expect(elsewhere.requests).toEqual([]);
  });
});

describe('a failed delete', () => {
  const ERROR = s3Error(500, 'InternalError', 'We encountered an internal error.');

  it('is not reported as left behind if the object is removed with its bucket', async () => {
    const name = uniqueName('not-removed');
    await using proxy = await startFaultProxy(sharedStore.url, {
      faults: { DeleteObject: respondOnce(ERROR) },
    });
    const exit = await runCli(RUN, { credentials: user, input: probeOf(name, proxy.url) });
    expect(exit).toMatchObject({ code: 1, stderr: '' });
    const { reason, failedStep, leftBehind } = resultOf(exit);
    expect({ reason, failedStep }).toEqual({ reason: 'ServerError', failedStep: 'REMOVE_OBJECT' });
    expect(await bucketsOf(name)).toEqual([]);
    expect(leftBehind).toEqual([]);
  });

  it('is reported as left behind if every attempt fails', async () => {
    await using bucket = await createBucket();
    const faults = { DeleteObject: (exchange: Exchange) => exchange.send(ERROR) };
    await using proxy = await startFaultProxy(sharedStore.url, { faults });
    const { rootUser: accessKey, rootPassword: secretKey } = sharedStore;
    const input = probeOf(uniqueName('not-removed'), proxy.url, {
      bucket: { mode: 'Existing', name: bucket.name },
    });
    const exit = await runCli(RUN, { credentials: { accessKey, secretKey }, input });
    expect(exit).toMatchObject({ code: 1, stderr: '' });
    const { reason, failedStep, leftBehind } = resultOf(exit);
    expect({ reason, failedStep }).toEqual({ reason: 'ServerError', failedStep: 'REMOVE_OBJECT' });
    const leftovers = (await keysIn(bucket.name)).filter((key) => key !== FOREIGN_OBJECT);
    expect(leftovers).toHaveLength(1);
    expect(leftBehind).toEqual(leftovers.map((key) => `${bucket.name}/${key}`));
  });
});

describe('a changed body is reported as ContentMismatch', () => {
  it.each([
    {
      name: 'with one flipped bit',
      change: flipLastBit,
      message: /: received 4096 bytes with SHA-256 .*, expected /,
    },
    {
      name: 'with a missing byte',
      change: (body: Buffer) => body.subarray(1),
      message: /: received 4095 of 4096 bytes$/,
    },
    {
      name: 'with extra bytes',
      change: (body: Buffer) => Buffer.concat([body, body]),
      message: /: received more than the 4096 bytes sent$/,
    },
  ])('$name', async ({ change, message }) => {
    const name = uniqueName('corrupt');
    const faults = {
      async GetObject(exchange: Exchange) {
        const { status, headers, body } = await exchange.forward();
        const changed = change(body);
        exchange.send({ status, headers: withLength(headers, changed.length), body: changed });
      },
    };
    await using proxy = await startFaultProxy(sharedStore.url, { faults });
    const exit = await runCli(RUN, { credentials: user, input: probeOf(name, proxy.url) });
    expect(exit).toMatchObject({ code: 1, stderr: '' });
    expect(resultOf(exit)).toMatchObject({
      verdict: 'Failed',
      reason: 'ContentMismatch',
      failedStep: 'FETCH_OBJECT',
      message: expect.stringMatching(message),
      leftBehind: [],
    });
    expect(await bucketsOf(name)).toEqual([]);
  });
});

it('prints what happened, what it means and what to do, one line each', async () => {
  const name = uniqueName('text-output');
  const input = probeOf(name, sharedStore.url);
  const credentials = { ...user, secretKey: 'canary-in-a-coal-mine' };
  const exit = await runCli(['run', '-f', '-', '--jaeger-url', 'http://jaeger.example:16686/'], {
    credentials,
    input,
  });
  expect(exit).toMatchObject({ code: 1, stderr: '' });
  const lines = exit.stdout.split('\n');
  expect(lines.slice(lines.findIndex((line) => line.startsWith('Failed')))).toEqual([
    expect.stringMatching(
      new RegExp(`^Failed: SignatureMismatch in CHECK_BUCKET  ${name}  .* ms  trace [0-9a-f]{32}$`),
    ),
    expect.stringMatching(
      /^ {2}what happened {2}HeadBucket: 403 SignatureDoesNotMatch .* \(request ID [0-9A-F]+\)$/,
    ),
    expect.stringMatching(/^ {2}what it means {2}The store knows the access key/),
    expect.stringMatching(/^ {2}what to do {5}Check `secretKey`/),
    expect.stringMatching(/^ {2}open {11}http:\/\/jaeger\.example:16686\/trace\/[0-9a-f]{32}$/),
    '',
    '',
  ]);
});

/** Responds to the first request, and forwards all later ones so that a retry would succeed. */
function respondOnce(response: StoreResponse): (exchange: Exchange) => Promise<void> {
  let isFirst = true;
  return async (exchange) => {
    if (!isFirst) return exchange.send(await exchange.forward());
    isFirst = false;
    exchange.send(response);
  };
}

function flipLastBit(body: Buffer): Buffer {
  const changed = Buffer.from(body);
  changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
  return changed;
}

function withLength(headers: readonly string[], length: number): string[] {
  const index = headers.findIndex((header, at) => at % 2 === 0 && header.toLowerCase() === 'content-length');
  return headers.with(index + 1, `${length}`);
}
