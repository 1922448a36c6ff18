import { describe, expect, it } from 'vitest';

import type { Reason } from '../../src/api/reasons.ts';
import type { Credentials, FunctionName } from '../../src/api/run.ts';
import { uniqueName } from '../support/unique-name.ts';
import { resultOf, runCli } from './cli.ts';
import { type Answer, answerOf, type Exchange, s3Error, startFaultProxy } from './fault-proxy.ts';
import {
  bucketsOf,
  keysIn,
  makeBucket,
  OTHERS_OBJECT,
  probeOf,
  sharedStore,
  temporaryCredentials,
  user,
} from './store.ts';

const RUN = ['run', '-f', '-', '-o', 'json'];
const OWN_BUCKETS = 'arn:aws:s3:::storage-probe-*';

describe('credentials that the store does not take', () => {
  interface Case {
    readonly name: string;
    readonly credentials: () => Credentials | Promise<Credentials>;
    readonly reason: Reason;
    readonly failedStep: FunctionName;
    readonly message: RegExp;
  }
  it.each<Case>([
    {
      name: 'an access key that it does not know',
      credentials: () => ({ ...user, accessKey: 'nobody' }),
      reason: 'InvalidAccessKey',
      failedStep: 'CHECK_BUCKET',
      message: /^HeadBucket: 403 InvalidAccessKeyId /,
    },
    {
      name: 'a secret key that is wrong',
      credentials: () => ({ ...user, secretKey: 'canary-in-a-coal-mine' }),
      reason: 'SignatureMismatch',
      failedStep: 'CHECK_BUCKET',
      message: /^HeadBucket: 403 SignatureDoesNotMatch /,
    },
    {
      name: 'a session token that it did not give',
      credentials: () => ({ ...user, sessionToken: 'canary/token+of=nobody' }),
      reason: 'CredentialsExpired',
      failedStep: 'CHECK_BUCKET',
      message: /^HeadBucket: 403 InvalidTokenId /,
    },
    {
      name: 'a user who may do nothing',
      credentials: () => temporaryCredentials([{ Action: ['s3:GetBucketTagging'], Resource: [OWN_BUCKETS] }]),
      reason: 'AccessDenied',
      failedStep: 'CHECK_BUCKET',
      message: /^HeadBucket: 403 AccessDenied /,
    },
    {
      name: 'a user who may make no bucket',
      credentials: () => temporaryCredentials([{ Action: ['s3:ListBucket'], Resource: [OWN_BUCKETS] }]),
      reason: 'AccessDenied',
      failedStep: 'CHECK_BUCKET',
      message: /^CreateBucket: 403 AccessDenied /,
    },
    {
      name: 'a user who may add no object',
      credentials: () =>
        temporaryCredentials([
          { Action: ['s3:ListBucket', 's3:CreateBucket', 's3:DeleteBucket'], Resource: [OWN_BUCKETS] },
        ]),
      reason: 'AccessDenied',
      failedStep: 'ADD_OBJECT',
      message: /^PutObject: 403 AccessDenied /,
    },
  ])('$name: $reason', async ({ credentials, reason, failedStep, message }) => {
    const name = uniqueName('denied');
    const input = probeOf(name, sharedStore.url);
    const end = await runCli(RUN, { credentials: await credentials(), input });
    expect(end).toMatchObject({ code: 1, stderr: '' });
    expect(resultOf(end)).toMatchObject({
      verdict: 'Failed',
      reason,
      failedStep,
      message: expect.stringMatching(message),
      leftBehind: [],
    });
    expect(await bucketsOf(name)).toEqual([]);
  });
});

it('a clock that is 20 minutes ahead is ClockSkew, and the message says by how much', async () => {
  const name = uniqueName('clock');
  const end = await runCli(RUN, {
    credentials: user,
    input: probeOf(name, sharedStore.url),
    preload: 'const now = Date.now; Date.now = () => now() + 20 * 60_000;',
  });
  expect(end).toMatchObject({ code: 1, stderr: '' });
  expect(resultOf(end)).toMatchObject({
    reason: 'ClockSkew',
    message: expect.stringMatching(/ the store's clock is 1[12]\d\d s behind the prober's /),
  });
  expect(await bucketsOf(name)).toEqual([]);
});

it('an Existing bucket that is not there is BucketMissing, and is not made', async () => {
  const bucket = uniqueName('storage-probe');
  const input = probeOf(uniqueName('missing'), sharedStore.url, {
    bucket: { mode: 'Existing', name: bucket },
  });
  const end = await runCli(RUN, { credentials: user, input });
  expect(end).toMatchObject({ code: 1, stderr: '' });
  expect(resultOf(end)).toMatchObject({
    reason: 'BucketMissing',
    message: `there is no bucket ${bucket}`,
    leftBehind: [],
  });
});

describe('an answer that is not the one hoped for', () => {
  interface Case {
    readonly name: string;
    readonly operation: string;
    readonly answer: Answer;
    readonly reason: Reason;
    readonly message: string;
  }
  it.each<Case>([
    {
      name: 'a store that asks for less',
      operation: 'PutObject',
      answer: s3Error(503, 'SlowDown', 'Please reduce your request rate.'),
      reason: 'SlowDown',
      message: 'PutObject: 503 SlowDown Please reduce your request rate. (request id FA017)',
    },
    {
      name: 'a store that asks for less, of a read',
      operation: 'GetObject',
      answer: s3Error(503, 'SlowDown', 'Please reduce your request rate.'),
      reason: 'SlowDown',
      message: 'GetObject: 503 SlowDown Please reduce your request rate. (request id FA017)',
    },
    {
      name: 'the page of a proxy',
      operation: 'GetObject',
      answer: answerOf(
        503,
        { 'content-type': 'text/html', server: 'some-proxy' },
        '<html><head><title>503 Service\nUnavailable</title></head></html>',
      ),
      reason: 'NotS3',
      message: 'GetObject: 503 text/html from some-proxy, not S3: "503 Service Unavailable"',
    },
    {
      name: 'the login page of a proxy',
      operation: 'HeadBucket',
      answer: answerOf(200, { 'content-type': 'text/html' }, ''),
      reason: 'NotS3',
      message: 'HeadBucket: 200 text/html, not S3',
    },
    {
      name: 'a code without a reason of its own',
      operation: 'PutObject',
      answer: s3Error(418, 'ShortAndStout', 'I am a teapot.'),
      reason: 'RequestRejected',
      message: 'PutObject: 418 ShortAndStout I am a teapot. (request id FA017)',
    },
    {
      name: 'an error of the store',
      operation: 'GetObject',
      answer: s3Error(500, 'InternalError', 'We encountered an internal error.'),
      reason: 'ServerError',
      message: 'GetObject: 500 InternalError We encountered an internal error. (request id FA017)',
    },
    {
      name: 'drives that are offline',
      operation: 'PutObject',
      answer: s3Error(
        503,
        'SlowDownWrite',
        'Resource requested is unwritable, please reduce your request rate',
      ),
      reason: 'QuorumLost',
      message:
        'PutObject: 503 SlowDownWrite Resource requested is unwritable, please reduce your request rate (request id FA017)',
    },
    {
      name: 'a store without room',
      operation: 'PutObject',
      answer: s3Error(
        507,
        'XMinioStorageFull',
        'Storage backend has reached its minimum free drive threshold.',
      ),
      reason: 'StorageFull',
      message:
        'PutObject: 507 XMinioStorageFull Storage backend has reached its minimum free drive threshold. (request id FA017)',
    },
  ])('$name: $reason, after one attempt', async ({ operation, answer, reason, message }) => {
    const name = uniqueName('answer');
    await using proxy = await startFaultProxy(sharedStore.url, { faults: { [operation]: once(answer) } });
    const end = await runCli(RUN, { credentials: user, input: probeOf(name, proxy.url) });
    expect(end).toMatchObject({ code: 1, stderr: '' });

    expect(resultOf(end)).toMatchObject({ verdict: 'Failed', reason, message, leftBehind: [] });
    expect(proxy.requests.filter((request) => request.operation === operation)).toHaveLength(1);
    expect(await bucketsOf(name)).toEqual([]);
  });

  it('sent elsewhere: Redirected, and nobody goes there', async () => {
    await using elsewhere = await startFaultProxy(sharedStore.url);
    const answer = answerOf(301, { location: `${elsewhere.url}/bucket?secret` }, '');
    const faults = { HeadBucket: (exchange: Exchange) => exchange.send(answer) };
    await using proxy = await startFaultProxy(sharedStore.url, { faults });
    const end = await runCli(RUN, { credentials: user, input: probeOf(uniqueName('redirect'), proxy.url) });
    expect(end).toMatchObject({ code: 1, stderr: '' });
    expect(resultOf(end)).toMatchObject({
      reason: 'Redirected',
      message: expect.stringContaining(`HeadBucket: 301 to ${elsewhere.url}/bucket`),
      leftBehind: [],
    });
    expect(proxy.requests.map(({ operation }) => operation)).toEqual(['HeadBucket']);
    expect(elsewhere.requests).toEqual([]);
  });
});

describe('a removal that the store refuses', () => {
  const ERROR = s3Error(500, 'InternalError', 'We encountered an internal error.');

  it('once: the object goes with its bucket, and is not told as left behind', async () => {
    const name = uniqueName('not-removed');
    await using proxy = await startFaultProxy(sharedStore.url, { faults: { DeleteObject: once(ERROR) } });
    const end = await runCli(RUN, { credentials: user, input: probeOf(name, proxy.url) });
    expect(end).toMatchObject({ code: 1, stderr: '' });
    const { reason, failedStep, leftBehind } = resultOf(end);
    expect({ reason, failedStep }).toEqual({ reason: 'ServerError', failedStep: 'REMOVE_OBJECT' });
    expect(await bucketsOf(name)).toEqual([]);
    expect(leftBehind).toEqual([]);
  });

  it('each time: what is left is told', async () => {
    await using bucket = await makeBucket();
    const faults = { DeleteObject: (exchange: Exchange) => exchange.send(ERROR) };
    await using proxy = await startFaultProxy(sharedStore.url, { faults });
    const { rootUser: accessKey, rootPassword: secretKey } = sharedStore;
    const input = probeOf(uniqueName('not-removed'), proxy.url, {
      bucket: { mode: 'Existing', name: bucket.name },
    });
    const end = await runCli(RUN, { credentials: { accessKey, secretKey }, input });
    expect(end).toMatchObject({ code: 1, stderr: '' });
    const { reason, failedStep, leftBehind } = resultOf(end);
    expect({ reason, failedStep }).toEqual({ reason: 'ServerError', failedStep: 'REMOVE_OBJECT' });
    const left = (await keysIn(bucket.name)).filter((key) => key !== OTHERS_OBJECT);
    expect(left).toHaveLength(1);
    expect(leftBehind).toEqual(left.map((key) => `${bucket.name}/${key}`));
  });
});

describe('a body that is not what was sent is ContentMismatch', () => {
  it.each([
    { name: 'by one bit', change: flipLastBit, message: /: 4096 bytes came back with SHA-256 .*, sent was / },
    {
      name: 'by being short',
      change: (body: Buffer) => body.subarray(1),
      message: /: 4095 of 4096 bytes came back$/,
    },
    {
      name: 'by being long',
      change: (body: Buffer) => Buffer.concat([body, body]),
      message: /: more than the 4096 bytes sent came back$/,
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
    const end = await runCli(RUN, { credentials: user, input: probeOf(name, proxy.url) });
    expect(end).toMatchObject({ code: 1, stderr: '' });
    expect(resultOf(end)).toMatchObject({
      verdict: 'Failed',
      reason: 'ContentMismatch',
      failedStep: 'FETCH_OBJECT',
      message: expect.stringMatching(message),
      leftBehind: [],
    });
    expect(await bucketsOf(name)).toEqual([]);
  });
});

it('tells a person what happened, what it means and what to do, a line each', async () => {
  const name = uniqueName('for-people');
  const input = probeOf(name, sharedStore.url);
  const credentials = { ...user, secretKey: 'canary-in-a-coal-mine' };
  const end = await runCli(['run', '-f', '-', '--jaeger-url', 'http://jaeger.example:16686/'], {
    credentials,
    input,
  });
  expect(end).toMatchObject({ code: 1, stderr: '' });
  const lines = end.stdout.split('\n');
  expect(lines.slice(lines.findIndex((line) => line.startsWith('Failed')))).toEqual([
    expect.stringMatching(
      new RegExp(`^Failed: SignatureMismatch in CHECK_BUCKET  ${name}  .* ms  trace [0-9a-f]{32}$`),
    ),
    expect.stringMatching(
      /^ {2}what happened {2}HeadBucket: 403 SignatureDoesNotMatch .* \(request id [0-9A-F]+\)$/,
    ),
    expect.stringMatching(/^ {2}what it means {2}The store knows the access key/),
    expect.stringMatching(/^ {2}what to do {5}Check `secretKey`/),
    expect.stringMatching(/^ {2}open {11}http:\/\/jaeger\.example:16686\/trace\/[0-9a-f]{32}$/),
    '',
    '',
  ]);
});

/** Answers the first request so, and passes on those after it: they would succeed. */
function once(answer: Answer): (exchange: Exchange) => Promise<void> {
  let isFirst = true;
  return async (exchange) => {
    if (!isFirst) return exchange.send(await exchange.forward());
    isFirst = false;
    exchange.send(answer);
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
