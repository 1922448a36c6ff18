import { createHash } from 'node:crypto';

import { SpanKind, SpanStatusCode, type Tracer } from '@opentelemetry/api';
import {
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { FakeS3, type Fault, FAULTS } from '../../test/support/fake-s3.ts';
import { closedPort, serveHttp } from '../../test/support/http-server.ts';
import { type Reason, REASONS } from '../api/reasons.ts';
import type { BucketPlan, RunRequest, RunResult } from '../api/run.ts';
import { ManualClock } from '../clock/manual-clock.ts';
import { addressPolicy } from '../s3/address-policy.ts';
import { TargetKeyring } from '../s3/target-keys.ts';
import { ephemeralBucket, keyPrefix } from './names.ts';
import { type ProbeDeps, type Progress, runProbe } from './run-probe.ts';

const TIMEOUT_MS = 20_000;
const CLEAN_UP_TIMEOUT_MS = 10_000;
const NEVER = new AbortController().signal;
const STEP_NAMES = [
  'check if bucket exist',
  'create object to add',
  'add created object to bucket',
  'fetch object from bucket',
  'remove object from bucket',
  'check if bucket exists',
];
const IDENTITY = {
  owner: 'somebody@laptop',
  probe: { namespace: 'storage', name: 'my-minio' },
  target: { name: 'my-minio' },
};
const OWN_BUCKET = ephemeralBucket(IDENTITY);
const OWN_PREFIX = keyPrefix(IDENTITY);

interface Setting extends Pick<ProbeDeps, 'addressPolicy' | 'resolve'> {
  readonly url: string;
  readonly bucket?: BucketPlan;
  readonly sizes?: readonly number[];
  readonly ca?: string;
  readonly clock?: ManualClock;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

interface Ran {
  readonly result: RunResult;
  readonly spans: ReadableSpan[];
}

async function probe(setting: Setting): Promise<Ran> {
  const { url, bucket = { mode: 'Ephemeral' }, sizes = [4_096], ca, signal = NEVER, onProgress } = setting;
  const request: RunRequest = {
    ...IDENTITY,
    runId: '6ba7b810-9dad-41d1-80b4-00c04fd430c8',
    target: {
      name: 'my-minio',
      endpoint: url,
      region: 'us-east-1',
      credentials: { accessKey: 'access', secretKey: 'secret' },
      ...(ca !== undefined && { ca }),
    },
    bucket,
    objectSizesBytes: sizes,
    timeoutMs: TIMEOUT_MS,
    cleanUpTimeoutMs: CLEAN_UP_TIMEOUT_MS,
  };
  const { tracer, spans } = tracing();
  const deps = {
    clock: setting.clock ?? new ManualClock(),
    keyring: new TargetKeyring(),
    randomBytes,
    tracer,
    version: '1.2.3',
    addressPolicy: setting.addressPolicy,
    resolve: setting.resolve,
    ...(onProgress !== undefined && { onProgress }),
  };
  const result = await runProbe(request, deps, signal);
  return { result, spans: spans() };
}

/** The same bytes each time. */
function randomBytes(outputLength: number): Buffer {
  if (outputLength === 0) return Buffer.alloc(0);
  return createHash('shake256', { outputLength }).update('seed').digest();
}

function tracing(): { tracer: Tracer; spans: () => ReadableSpan[] } {
  const exporter = new InMemorySpanExporter();
  const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
  return { tracer: provider.getTracer('test'), spans: () => exporter.getFinishedSpans() };
}

function outcomesOf({ steps }: RunResult): string[] {
  return steps.map(({ outcome }) => outcome);
}

/** What holds of every run, however it went: the result is consistent, and the trace says the same as the result. */
function expectConsistent({ result, spans }: Ran): void {
  const { steps, verdict, reason, failedStep, message, leftBehind } = result;
  const first = steps.find(({ outcome }) => outcome === 'failed');
  expect(reason).toBe(first?.reason);
  expect(message).toBe(first?.message);
  expect(failedStep).toBe(first?.functionName);
  expect(verdict).toBe(first === undefined ? 'Passed' : REASONS[first.reason as Reason].verdict);
  expect(verdict === 'Passed' ? leftBehind : []).toEqual([]);

  expect(steps.map(({ name }) => name)).toEqual(STEP_NAMES);
  const after = first === undefined ? [] : steps.slice(steps.indexOf(first) + 1);
  const work = after.filter(({ functionName }) => !functionName.startsWith('REMOVE'));
  for (const { outcome } of work) expect(outcome).toBe('skipped');
  for (const { outcome, calls, startOffsetMs, durationMs } of steps) {
    expect(startOffsetMs === undefined).toBe(outcome === 'skipped');
    expect(durationMs === undefined).toBe(outcome === 'skipped');
    expect(outcome === 'skipped' ? calls : []).toEqual([]);
  }
  expectSameTrace({ result, spans });
}

function expectSameTrace({ result, spans }: Ran): void {
  const root = spans.find(({ parentSpanContext }) => parentSpanContext === undefined);
  expect(root?.name).toBe('storage probe');
  expect(root?.spanContext()).toMatchObject({ traceId: result.traceId, spanId: result.spanId });
  expect(root?.attributes).toMatchObject({
    'storageprobe.verdict': result.verdict,
    'storageprobe.target': 'my-minio',
    'storageprobe.run.id': result.runId,
  });
  expect(root?.attributes['storageprobe.reason']).toBe(result.reason);
  expect(root?.attributes['storageprobe.failed_step']).toBe(result.failedStep);
  expect(new Set(spans.map((span) => span.spanContext().traceId))).toEqual(new Set([result.traceId]));

  const childrenOf = (parent: ReadableSpan | undefined): ReadableSpan[] =>
    spans.filter((span) => span.parentSpanContext?.spanId === parent?.spanContext().spanId);
  const executed = result.steps.filter(({ outcome }) => outcome !== 'skipped');
  const stepSpans = childrenOf(root);
  expect(stepSpans.map(({ name, attributes }) => [name, attributes['function.name']])).toEqual(
    executed.map(({ name, functionName }) => [name, functionName]),
  );
  for (const [index, step] of executed.entries()) {
    const span = stepSpans[index];
    expect(span?.status.code).toBe(step.outcome === 'failed' ? SpanStatusCode.ERROR : SpanStatusCode.UNSET);
    expect(span?.attributes['storageprobe.reason']).toBe(step.reason);
    const calls = childrenOf(span);
    expect(
      calls.map(({ name, kind, attributes }) => [name, kind, attributes['storageprobe.reason']]),
    ).toEqual(step.calls.map(({ operation, reason }) => [`S3.${operation}`, SpanKind.CLIENT, reason]));
  }
  // No orphans, and none of an unknown place.
  const calls = executed.flatMap((step) => step.calls);
  expect(spans).toHaveLength(1 + executed.length + calls.length);
}

describe('a run that passes', () => {
  it.each([
    { name: 'one object', sizes: [4_096] },
    { name: 'an empty object', sizes: [0] },
    { name: 'several', sizes: [1, 4_096, 300_000] },
    { name: 'no object', sizes: [] },
  ])('makes, fetches and removes all it made: $name', async ({ sizes }) => {
    const store = await FakeS3.start();
    const ran = await probe({ url: store.url, sizes });
    expect(ran.result).toMatchObject({ verdict: 'Passed', bucket: OWN_BUCKET, leftBehind: [] });
    expect(outcomesOf(ran.result)).toEqual(Array.from({ length: 6 }, () => 'passed'));
    expect(store.contents).toEqual([]);
    expectConsistent(ran);
  });

  it('tells the events of the talk', async () => {
    const { url } = await FakeS3.start();
    const { spans } = await probe({ url });
    expect(spans.flatMap(({ name, events }) => events.map((event) => [name, event.name]))).toEqual([
      ['check if bucket exist', 'Checking if bucket exists.'],
      ['check if bucket exist', 'Bucket does not exist, going to create it.'],
      ['add created object to bucket', 'Test object has been placed in bucket.'],
      ['fetch object from bucket', 'Test object has been fetched from bucket.'],
      ['remove object from bucket', 'Test object has been removed from bucket.'],
      ['check if bucket exists', 'Bucket exists, going to remove it.'],
    ]);
  });

  it('leaves an existing bucket and all in it alone', async () => {
    const store = await FakeS3.start();
    const kept = new Map([
      ['theirs', Buffer.from('theirs')],
      [`${OWN_PREFIX}other-run/0-4096`, Buffer.from('of another run')],
    ]);
    store.buckets.set('canary', new Map(kept));
    const ran = await probe({ url: store.url, bucket: { mode: 'Existing', name: 'canary' } });
    expect(ran.result).toMatchObject({ verdict: 'Passed', bucket: 'canary' });
    expect(store.buckets.get('canary')).toEqual(kept);
    expect(store.requests.filter((request) => /^(PUT|DELETE) \/canary\/?$/.test(request))).toEqual([]);
    expectConsistent(ran);
  });

  it('removes what a killed run of the same prober left', async () => {
    const store = await FakeS3.start();
    store.buckets.set(OWN_BUCKET, new Map([[`${OWN_PREFIX}killed-run/0-4096`, Buffer.from('stray')]]));
    const ran = await probe({ url: store.url });
    expect(ran.result.verdict).toBe('Passed');
    expect(store.contents).toEqual([]);
    expectConsistent(ran);
  });

  it('is told of as it goes', async () => {
    const { url } = await FakeS3.start();
    const told: string[] = [];
    const { result } = await probe({
      url,
      onProgress: (progress) => {
        told.push('began' in progress ? `began ${progress.began}` : progress.ended.outcome);
      },
    });
    expect(told).toEqual(result.steps.flatMap(({ functionName }) => [`began ${functionName}`, 'passed']));
  });

  it('ties each call to its span by traceparent', async () => {
    const store = new FakeS3();
    const server = await serveHttp((request, response) => void store.handle(request, response));
    const { spans } = await probe({ url: server.url });
    const calls = spans.filter(({ kind }) => kind === SpanKind.CLIENT);
    expect(server.headers.map(({ traceparent }) => traceparent)).toEqual(
      calls.map((span) => `00-${span.spanContext().traceId}-${span.spanContext().spanId}-01`),
    );
  });
});

describe('a run that fails', () => {
  it('says that the bucket to use is not there, and makes none', async () => {
    const store = await FakeS3.start();
    const ran = await probe({ url: store.url, bucket: { mode: 'Existing', name: 'canary' } });
    expect(ran.result).toMatchObject({ reason: 'BucketMissing', failedStep: 'CHECK_BUCKET' });
    expect(store.requests).toEqual(['HEAD /canary']);
    expectConsistent(ran);
  });

  it.each([
    { answer: 403, code: 'SignatureDoesNotMatch', want: 'SignatureMismatch' },
    { answer: 403, code: 'InvalidAccessKeyId', want: 'InvalidAccessKey' },
    { answer: 400, code: 'ExpiredToken', want: 'CredentialsExpired' },
  ])('asks why, where HEAD says no more than $answer: $code', async ({ answer, code, want }) => {
    const server = await serveHttp((request, response) => {
      request.resume();
      // The clock of the test stands still; the server's would be far ahead.
      response.sendDate = false;
      response.writeHead(answer, { 'x-amz-request-id': '17F0' });
      response.end(request.method === 'HEAD' ? '' : `<Error><Code>${code}</Code></Error>`);
    });
    const ran = await probe({ url: server.url, bucket: { mode: 'Existing', name: 'canary' } });
    expect(ran.result).toMatchObject({ reason: want, failedStep: 'CHECK_BUCKET' });
    expect(server.requests).toEqual(['HEAD /canary', 'GET /canary?location']);
    expectConsistent(ran);
  });

  it('keeps to what HEAD said where asking why tells no more', async () => {
    const server = await serveHttp((request, response) => {
      request.resume();
      response.sendDate = false;
      response.writeHead(request.method === 'HEAD' ? 403 : 502, { 'x-amz-request-id': '17F0' }).end();
    });
    const ran = await probe({ url: server.url });
    expect(ran.result).toMatchObject({ reason: 'AccessDenied', failedStep: 'CHECK_BUCKET' });
    expectConsistent(ran);
  });

  it('sees that other bytes came back', async () => {
    const store = await FakeS3.start({
      corrupt: (bytes) => Buffer.concat([bytes.subarray(0, -1), Buffer.from([(bytes.at(-1) ?? 0) ^ 1])]),
    });
    const ran = await probe({ url: store.url });
    expect(ran.result).toMatchObject({
      reason: 'ContentMismatch',
      failedStep: 'FETCH_OBJECT',
      leftBehind: [],
    });
    expect(store.contents).toEqual([]);
    expectConsistent(ran);
  });

  it('sees that the object is still there after its removal', async () => {
    const served = new FakeS3();
    const server = await serveHttp((request, response) => {
      if (request.method === 'DELETE' && request.url?.includes('/', 1) === true) {
        request.resume();
        return void response.writeHead(204).end();
      }
      void served.handle(request, response);
    });
    const ran = await probe({ url: server.url });
    expect(ran.result).toMatchObject({ reason: 'ObjectNotRemoved', failedStep: 'REMOVE_OBJECT' });
    expect(ran.result.leftBehind.toSorted()).toEqual(served.contents.toSorted());
    expectConsistent(ran);
  });

  it('never empties a bucket of what others put there', async () => {
    const store = await FakeS3.start();
    store.buckets.set(OWN_BUCKET, new Map([['theirs', Buffer.from('theirs')]]));
    const ran = await probe({ url: store.url });
    expect(ran.result).toMatchObject({ reason: 'BucketConflict', failedStep: 'REMOVE_BUCKET' });
    expect(store.contents).toEqual([OWN_BUCKET, `${OWN_BUCKET}/theirs`]);
    expect(ran.result.leftBehind).toEqual([OWN_BUCKET]);
    expectConsistent(ran);
  });

  it('removes only what is its own, even if the store lists more', async () => {
    const served = new FakeS3();
    served.buckets.set(OWN_BUCKET, new Map([['theirs', Buffer.from('theirs')]]));
    const server = await serveHttp((request, response) => {
      // A store that does not know the parameter.
      request.url = request.url?.replace(/prefix=[^&]*/, '') ?? '';
      void served.handle(request, response);
    });
    await probe({ url: server.url });
    expect(served.contents).toContain(`${OWN_BUCKET}/theirs`);
  });

  it('says that nothing listens, and has no calls after that', async () => {
    const ran = await probe({ url: `http://127.0.0.1:${await closedPort()}` });
    expect(ran.result).toMatchObject({ reason: 'ConnectionRefused', verdict: 'Failed', leftBehind: [] });
    expect(ran.result.steps.flatMap(({ calls }) => calls)).toHaveLength(1);
    expectConsistent(ran);
  });

  it('takes an IPv6 address for an endpoint', async () => {
    const ran = await probe({ url: `http://[::1]:${await closedPort()}` });
    // A machine without IPv6 cannot even try.
    expect(['ConnectionRefused', 'Unreachable']).toContain(ran.result.reason);
    expectConsistent(ran);
  });

  it('cannot tell with a CA bundle that is none', async () => {
    const ran = await probe({ url: 'https://127.0.0.1:1', ca: 'nonsense' });
    expect(ran.result).toMatchObject({
      reason: 'SecretInvalid',
      verdict: 'Unknown',
      failedStep: 'CHECK_BUCKET',
    });
    expectConsistent(ran);
  });

  it('cannot tell where the endpoint leads to an address that is not allowed', async () => {
    const store = await FakeS3.start();
    const { port } = new URL(store.url);
    const ran = await probe({
      url: `http://my-minio.storage.svc:${port}`,
      addressPolicy: addressPolicy({ allowed: [] }),
      resolve: () => Promise.resolve([{ address: '127.0.0.1', family: 4 }]),
    });
    expect(ran.result).toMatchObject({
      reason: 'AddressNotAllowed',
      verdict: 'Unknown',
      failedStep: 'CHECK_BUCKET',
      message: expect.stringContaining('my-minio.storage.svc resolves to 127.0.0.1') as string,
      leftBehind: [],
    });
    expect(outcomesOf(ran.result).slice(1)).toEqual(Array.from({ length: 5 }, () => 'skipped'));
    expect(store.requests).toEqual([]);
    expectConsistent(ran);
  });

  it('passes where it leads to one that is', async () => {
    const store = await FakeS3.start();
    const ran = await probe({
      url: `http://my-minio.storage.svc:${new URL(store.url).port}`,
      addressPolicy: addressPolicy({ allowed: ['127.0.0.1'] }),
      resolve: () => Promise.resolve([{ address: '127.0.0.1', family: 4 }]),
    });
    expect(ran.result).toMatchObject({ verdict: 'Passed', leftBehind: [] });
    expectConsistent(ran);
  });

  it('cannot tell when it was stopped, and cleans up all the same', async () => {
    const stop = new AbortController();
    const store = await FakeS3.start({
      faultAt: (_call, request) => (request.startsWith('GET') ? 'hangsBefore' : undefined),
      onHang: () => {
        stop.abort();
      },
    });
    const ran = await probe({ url: store.url, signal: stop.signal });
    expect(ran.result).toMatchObject({
      reason: 'Cancelled',
      verdict: 'Unknown',
      failedStep: 'FETCH_OBJECT',
      leftBehind: [],
    });
    expect(outcomesOf(ran.result).slice(4)).toEqual(['passed', 'passed']);
    expect(store.contents).toEqual([]);
    expectConsistent(ran);
  });

  it.each([
    { name: 'timed out', reason: 'Timeout', by: new DOMException('time is up', 'TimeoutError') },
    { name: 'was stopped', reason: 'Cancelled', by: undefined },
    { name: 'was stopped with a word', reason: 'Cancelled', by: new Error('shutting down') },
  ])('makes no call when it $name before the first', async ({ reason, by }) => {
    const store = await FakeS3.start();
    const ran = await probe({ url: store.url, signal: AbortSignal.abort(by) });
    expect(ran.result).toMatchObject({ reason, failedStep: 'CHECK_BUCKET', leftBehind: [] });
    expect(store.requests).toEqual([]);
    expectConsistent(ran);
  });

  it('says so when its time is over while it makes a large object', async () => {
    const store = await FakeS3.start();
    const stop = new AbortController();
    const ran = await probe({
      url: store.url,
      sizes: [500_000_000],
      signal: stop.signal,
      onProgress: (progress) => {
        if ('began' in progress && progress.began === 'CREATE_OBJECT')
          queueMicrotask(() => {
            stop.abort(new DOMException('time is up', 'TimeoutError'));
          });
      },
    });
    expect(ran.result).toMatchObject({ reason: 'Timeout', failedStep: 'CREATE_OBJECT', leftBehind: [] });
    expect(store.contents).toEqual([]);
    expectConsistent(ran);
  });

  it('finishes a removal in which its time ran out', async () => {
    const clock = new ManualClock();
    let hung = false;
    const store = await FakeS3.start({
      faultAt: (_call, request) => {
        if (hung || !request.startsWith('DELETE')) return undefined;
        hung = true;
        return 'hangsBefore';
      },
      onHang: () => void clock.advance(TIMEOUT_MS),
    });
    const ran = await probe({ url: store.url, sizes: [10, 20], clock });
    expect(ran.result).toMatchObject({ reason: 'Timeout', failedStep: 'REMOVE_OBJECT', leftBehind: [] });
    expect(store.contents).toEqual([]);
    expectConsistent(ran);
  });

  it('gives up cleaning up when that takes too long, and says what is left', async () => {
    const clock = new ManualClock();
    const hangs: number[] = [];
    const store = await FakeS3.start({
      faultAt: (call) => (call >= 2 ? 'hangsAfter' : undefined),
      onHang: () => {
        hangs.push(clock.monotonicMs());
        void clock.advance(hangs.length === 1 ? TIMEOUT_MS : CLEAN_UP_TIMEOUT_MS);
      },
    });
    const ran = await probe({ url: store.url, clock });
    expect(ran.result).toMatchObject({ reason: 'Timeout', failedStep: 'ADD_OBJECT' });
    expect(ran.result.leftBehind).toContain(OWN_BUCKET);
    expect(ran.result.durationMs).toBe(TIMEOUT_MS + CLEAN_UP_TIMEOUT_MS);
    expect(hangs).toEqual([0, TIMEOUT_MS]);
    expectConsistent(ran);
  });
});

describe('a run of which some call fails', () => {
  const THEIRS = new Map([['theirs', Buffer.from('theirs')]]);
  const scenario = fc.record({
    mode: fc.constantFrom<BucketPlan['mode']>('Ephemeral', 'Existing'),
    sizes: fc.array(fc.constantFrom(0, 10, 70_000), { maxLength: 2 }),
    failingCall: fc.nat({ max: 16 }),
    forGood: fc.boolean(),
    ownBucket: fc.constantFrom('absent', 'empty', 'stray', 'theirs'),
  });
  type Scenario = typeof scenario extends fc.Arbitrary<infer T> ? T : never;

  async function play(
    fault: Fault,
    { mode, sizes, failingCall, forGood, ownBucket }: Scenario,
  ): Promise<void> {
    const clock = new ManualClock();
    const faultAt = (call: number): Fault | undefined =>
      call === failingCall || (forGood && call > failingCall) ? fault : undefined;
    const onHang = (): void => void clock.advance(TIMEOUT_MS + CLEAN_UP_TIMEOUT_MS);
    const store = await FakeS3.start({ faultAt, onHang });
    store.buckets.set('canary', new Map(THEIRS));
    const own = {
      absent: undefined,
      empty: [],
      stray: [[`${OWN_PREFIX}x/0-1`, Buffer.from('x')]],
      theirs: THEIRS,
    };
    const found = own[ownBucket] as Iterable<[string, Buffer]> | undefined;
    if (found !== undefined) store.buckets.set(OWN_BUCKET, new Map(found));
    const before = store.contents;
    const bucket: BucketPlan = mode === 'Existing' ? { mode, name: 'canary' } : { mode };

    const ran = await probe({ url: store.url, bucket, sizes, clock });

    expectConsistent(ran);
    const { leftBehind } = ran.result;
    const made = store.contents.filter((name) => !before.includes(name));
    for (const name of made) expect(leftBehind).toContain(name);

    // A bucket of its own, and the strays in it, are the probe's to remove: nothing else is.
    const gone = before.filter((name) => !store.contents.includes(name));
    const mayGo = mode === 'Existing' ? [] : [OWN_BUCKET, `${OWN_BUCKET}/${OWN_PREFIX}x/0-1`];
    for (const name of gone) expect(mayGo).toContain(name);

    // It claims to have left nothing in a bucket that it has removed.
    const isGone = mode === 'Ephemeral' && !leftBehind.includes(OWN_BUCKET);
    expect(isGone ? leftBehind : []).toEqual([]);
    // No timer outlives its run.
    expect(clock.waiting).toBe(0);
    // No retries: each call is one request, at most.
    const calls = ran.result.steps.flatMap((step) => step.calls);
    expect(store.requests.length).toBeLessThanOrEqual(calls.length);
    expect(store.requests.length).toBeGreaterThan(0);
  }

  it.each(FAULTS)('cleans up, and says what is true: the store %s', async (fault) => {
    expect.hasAssertions();
    await fc.assert(
      fc.asyncProperty(scenario, (generated) => play(fault, generated)),
      { numRuns: 40, endOnFailure: true },
    );
  });
});
