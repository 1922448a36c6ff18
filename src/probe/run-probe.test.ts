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

import { resolvingTo } from '../../test/support/fake-resolver.ts';
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

interface Setting extends Pick<ProbeDeps, 'addressPolicy' | 'resolver'> {
  readonly url: string;
  readonly bucket?: BucketPlan;
  readonly sizes?: readonly number[];
  readonly ca?: string;
  readonly clock?: ManualClock;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

interface TracedRun {
  readonly result: RunResult;
  readonly spans: ReadableSpan[];
}

async function probe(setting: Setting): Promise<TracedRun> {
  const { url, bucket = { mode: 'Ephemeral' }, sizes = [4_096], ca, signal = NEVER, onProgress } = setting;
  const request: RunRequest = {
    ...IDENTITY,
    runId: '6ba7b810-9dad-41d1-80b4-00c04fd430c8',
    target: {
      name: 'my-minio',
      endpoint: url,
      region: 'us-east-1',
      credentials: { accessKey: 'access', secretKey: 'secret' },
      ...(ca !== undefined && { tls: { ca } }),
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
    resolver: setting.resolver,
    ...(onProgress !== undefined && { onProgress }),
  };
  const result = await runProbe(request, deps, signal);
  return { result, spans: spans() };
}

/** Returns the same bytes each time. */
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

/** Checks what must be true for every run: the result is consistent and the trace matches it. */
function expectConsistent({ result, spans }: TracedRun): void {
  const { steps, verdict, reason, failedStep, message, leftBehind } = result;
  const first = steps.find(({ outcome }) => outcome === 'failed');
  expect(reason).toBe(first?.reason);
  expect(message).toBe(first?.message);
  expect(failedStep).toBe(first?.functionName);
  expect(verdict).toBe(first === undefined ? 'Passed' : REASONS[first.reason as Reason].verdict);
  expect(verdict === 'Passed' ? leftBehind : []).toEqual([]);

  expect(steps.map(({ name }) => name)).toEqual(STEP_NAMES);
  const stepsAfterFailure = first === undefined ? [] : steps.slice(steps.indexOf(first) + 1);
  const notCleanUp = stepsAfterFailure.filter(({ functionName }) => !functionName.startsWith('REMOVE'));
  for (const { outcome } of notCleanUp) expect(outcome).toBe('skipped');
  for (const { outcome, calls, startOffsetMs, durationMs } of steps) {
    expect(startOffsetMs === undefined).toBe(outcome === 'skipped');
    expect(durationMs === undefined).toBe(outcome === 'skipped');
    expect(outcome === 'skipped' ? calls : []).toEqual([]);
  }
  expectMatchingTrace({ result, spans });
}

function expectMatchingTrace({ result, spans }: TracedRun): void {
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
  // There are no other spans.
  const calls = executed.flatMap((step) => step.calls);
  expect(spans).toHaveLength(1 + executed.length + calls.length);
}

describe('a run that passes', () => {
  it.each([
    { name: 'one object', sizes: [4_096] },
    { name: 'an empty object', sizes: [0] },
    { name: 'several objects', sizes: [1, 4_096, 300_000] },
    { name: 'no object', sizes: [] },
  ])('creates, fetches and removes $name', async ({ sizes }) => {
    const store = await FakeS3.start();
    const run = await probe({ url: store.url, sizes });
    expect(run.result).toMatchObject({ verdict: 'Passed', bucket: OWN_BUCKET, leftBehind: [] });
    expect(outcomesOf(run.result)).toEqual(Array.from({ length: 6 }, () => 'passed'));
    expect(store.contents).toEqual([]);
    expectConsistent(run);
  });

  it("records the events of the talk's script", async () => {
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

  it('keeps an existing bucket and its contents', async () => {
    const store = await FakeS3.start();
    const kept = new Map([
      ['theirs', Buffer.from('theirs')],
      [`${OWN_PREFIX}other-run/0-4096`, Buffer.from('object of another run')],
    ]);
    store.buckets.set('canary', new Map(kept));
    const run = await probe({ url: store.url, bucket: { mode: 'Existing', name: 'canary' } });
    expect(run.result).toMatchObject({ verdict: 'Passed', bucket: 'canary' });
    expect(store.buckets.get('canary')).toEqual(kept);
    expect(store.requests.filter((request) => /^(PUT|DELETE) \/canary\/?$/.test(request))).toEqual([]);
    expectConsistent(run);
  });

  it('removes leftovers of a killed run of the same prober', async () => {
    const store = await FakeS3.start();
    store.buckets.set(OWN_BUCKET, new Map([[`${OWN_PREFIX}killed-run/0-4096`, Buffer.from('leftover')]]));
    const run = await probe({ url: store.url });
    expect(run.result.verdict).toBe('Passed');
    expect(store.contents).toEqual([]);
    expectConsistent(run);
  });

  it.each([
    { name: 'versioning', options: { versioning: 'Enabled' } },
    { name: 'suspended versioning', options: { versioning: 'Suspended' } },
    { name: 'versions that a PUT does not name', options: { versioning: 'Enabled', hidesVersionIds: true } },
  ] as const)('leaves nothing in a store with $name', async ({ options }) => {
    for (const mode of ['Ephemeral', 'Existing'] as const) {
      const store = await FakeS3.start(options);
      store.seed('canary', ['theirs']);
      const bucket: BucketPlan = mode === 'Existing' ? { mode, name: 'canary' } : { mode };
      const run = await probe({ url: store.url, bucket, sizes: [10, 20] });
      expect(run.result).toMatchObject({ verdict: 'Passed', leftBehind: [] });
      expect(store.contents).toEqual(['canary', 'canary/theirs']);
      expect(store.versions.get('canary')?.listed.map(({ key }) => key)).toEqual(['theirs']);
      expectConsistent(run);
    }
  });

  it('removes all versions that a killed run left in its bucket, and its uploads', async () => {
    const store = await FakeS3.start({ versioning: 'Enabled', pageSize: 1 });
    const key = `${OWN_PREFIX}killed-run/0-4096`;
    store.seed(OWN_BUCKET, [key, key, `${OWN_PREFIX}killed-run/1-4096`]);
    store.uploads = [{ bucket: OWN_BUCKET, key, id: 'u1' }];
    const run = await probe({ url: store.url });
    expect(run.result).toMatchObject({ verdict: 'Passed', leftBehind: [] });
    expect(store.contents).toEqual([]);
    expect(store.uploads).toEqual([]);
    expectConsistent(run);
  });

  it('accepts that its bucket was created by itself in the meantime', async () => {
    const store = new FakeS3();
    let isFirst = true;
    const server = await serveHttp((request, response) => {
      if (isFirst && request.method === 'HEAD') {
        isFirst = false;
        store.seed(OWN_BUCKET, []);
        return void response.writeHead(404).end();
      }
      if (request.url?.includes('location') === true && !store.requests.includes('PUT')) {
        request.resume();
        return void response.writeHead(404).end('<Error><Code>NoSuchBucket</Code></Error>');
      }
      void store.handle(request, response);
    });
    const run = await probe({ url: server.url });
    expect(run.result).toMatchObject({ verdict: 'Passed' });
    expect(run.result.steps[0]?.calls.at(-1)).toMatchObject({ status: 409 });
    expect(store.contents).toEqual([]);
  });

  it('reports the progress of each step', async () => {
    const { url } = await FakeS3.start();
    const reported: string[] = [];
    const { result } = await probe({
      url,
      onProgress: (progress) => {
        reported.push('started' in progress ? `started ${progress.started}` : progress.finished.outcome);
      },
    });
    expect(reported).toEqual(
      result.steps.flatMap(({ functionName }) => [`started ${functionName}`, 'passed']),
    );
  });

  it("sends the span's traceparent with each call", async () => {
    const store = new FakeS3();
    const server = await serveHttp((request, response) => void store.handle(request, response));
    const { spans } = await probe({ url: server.url });
    const calls = spans.filter(({ kind }) => kind === SpanKind.CLIENT);
    expect(server.headers.map(({ traceparent }) => traceparent)).toEqual(
      calls.map((span) => `00-${span.spanContext().traceId}-${span.spanContext().spanId}-01`),
    );
  });
});

describe('a run', () => {
  it('reports a missing bucket in mode Existing and does not create it', async () => {
    const store = await FakeS3.start();
    const run = await probe({ url: store.url, bucket: { mode: 'Existing', name: 'canary' } });
    expect(run.result).toMatchObject({ reason: 'BucketMissing', failedStep: 'CHECK_BUCKET' });
    expect(store.requests).toEqual(['HEAD /canary', 'GET /canary?location']);
    expectConsistent(run);
  });

  it.each([
    { status: 403, code: 'SignatureDoesNotMatch', want: 'SignatureMismatch' },
    { status: 403, code: 'InvalidAccessKeyId', want: 'InvalidAccessKey' },
    { status: 400, code: 'ExpiredToken', want: 'CredentialsExpired' },
    { status: 404, code: 'XAdminUserNotFound', want: 'InvalidAccessKey' },
  ])('sends a GET for the error code if HEAD returns only $status: $code', async ({ status, code, want }) => {
    const server = await serveHttp((request, response) => {
      request.resume();
      // The test's clock is fixed, so the server's date would look like clock skew.
      response.sendDate = false;
      response.writeHead(status, { 'x-amz-request-id': '17F0' });
      response.end(request.method === 'HEAD' ? '' : `<Error><Code>${code}</Code></Error>`);
    });
    const run = await probe({ url: server.url, bucket: { mode: 'Existing', name: 'canary' } });
    expect(run.result).toMatchObject({ reason: want, failedStep: 'CHECK_BUCKET' });
    expect(server.requests).toEqual(['HEAD /canary', 'GET /canary?location']);
    expectConsistent(run);
  });

  it('keeps the reason from HEAD if the GET returns no error code', async () => {
    const server = await serveHttp((request, response) => {
      request.resume();
      response.sendDate = false;
      response.writeHead(request.method === 'HEAD' ? 403 : 502, { 'x-amz-request-id': '17F0' }).end();
    });
    const run = await probe({ url: server.url });
    expect(run.result).toMatchObject({ reason: 'AccessDenied', failedStep: 'CHECK_BUCKET' });
    expectConsistent(run);
  });

  it('detects that different bytes were returned', async () => {
    const store = await FakeS3.start({
      corrupt: (bytes) => Buffer.concat([bytes.subarray(0, -1), Buffer.from([(bytes.at(-1) ?? 0) ^ 1])]),
    });
    const run = await probe({ url: store.url });
    expect(run.result).toMatchObject({
      reason: 'ContentMismatch',
      failedStep: 'FETCH_OBJECT',
      leftBehind: [],
    });
    expect(store.contents).toEqual([]);
    expectConsistent(run);
  });

  it('detects that the object still exists after its removal', async () => {
    const store = new FakeS3();
    const server = await serveHttp((request, response) => {
      if (request.method === 'DELETE' && request.url?.includes('/', 1) === true) {
        request.resume();
        return void response.writeHead(204).end();
      }
      void store.handle(request, response);
    });
    const run = await probe({ url: server.url });
    expect(run.result).toMatchObject({ reason: 'ObjectNotRemoved', failedStep: 'REMOVE_OBJECT' });
    expect(run.result.leftBehind.toSorted()).toEqual(store.contents.toSorted());
    expectConsistent(run);
  });

  it("does not remove other clients' objects from its bucket", async () => {
    const store = await FakeS3.start();
    store.buckets.set(OWN_BUCKET, new Map([['theirs', Buffer.from('theirs')]]));
    const run = await probe({ url: store.url });
    expect(run.result).toMatchObject({ reason: 'BucketConflict', failedStep: 'REMOVE_BUCKET' });
    expect(store.contents).toEqual([OWN_BUCKET, `${OWN_BUCKET}/theirs`]);
    expect(run.result.leftBehind).toEqual([OWN_BUCKET]);
    expectConsistent(run);
  });

  it('names the object lock that keeps leftovers in its bucket', async () => {
    const store = await FakeS3.start({
      versioning: 'Enabled',
      isLocked: (key) => key.includes('killed-run'),
    });
    store.seed(OWN_BUCKET, [`${OWN_PREFIX}killed-run/0-4096`]);
    const run = await probe({ url: store.url });
    expect(run.result).toMatchObject({
      reason: 'ObjectLocked',
      failedStep: 'REMOVE_BUCKET',
      leftBehind: [OWN_BUCKET],
    });
    expectConsistent(run);
  });

  it('removes only its own objects even if the store ignores the listing prefix', async () => {
    const store = new FakeS3();
    store.buckets.set(OWN_BUCKET, new Map([['theirs', Buffer.from('theirs')]]));
    const server = await serveHttp((request, response) => {
      request.url = request.url?.replace(/prefix=[^&]*/, '') ?? '';
      void store.handle(request, response);
    });
    await probe({ url: server.url });
    expect(store.contents).toContain(`${OWN_BUCKET}/theirs`);
  });

  it('reports a refused connection and makes no further calls', async () => {
    const run = await probe({ url: `http://127.0.0.1:${await closedPort()}` });
    expect(run.result).toMatchObject({ reason: 'ConnectionRefused', verdict: 'Failed', leftBehind: [] });
    expect(run.result.steps.flatMap(({ calls }) => calls)).toHaveLength(1);
    expectConsistent(run);
  });

  it('accepts an endpoint with an IPv6 address', async () => {
    const run = await probe({ url: `http://[::1]:${await closedPort()}` });
    // Unreachable on a machine without IPv6.
    expect(['ConnectionRefused', 'Unreachable']).toContain(run.result.reason);
    expectConsistent(run);
  });

  it('is Unknown if the CA bundle is invalid', async () => {
    const run = await probe({ url: 'https://127.0.0.1:1', ca: 'nonsense' });
    expect(run.result).toMatchObject({
      reason: 'SecretInvalid',
      verdict: 'Unknown',
      failedStep: 'CHECK_BUCKET',
    });
    expectConsistent(run);
  });

  it('is Unknown if the endpoint resolves to a blocked address', async () => {
    const store = await FakeS3.start();
    const { port } = new URL(store.url);
    const run = await probe({
      url: `http://my-minio.storage.svc:${port}`,
      addressPolicy: addressPolicy({ allowed: [] }),
      resolver: resolvingTo('127.0.0.1'),
    });
    expect(run.result).toMatchObject({
      reason: 'AddressNotAllowed',
      verdict: 'Unknown',
      failedStep: 'CHECK_BUCKET',
      message: expect.stringContaining('my-minio.storage.svc resolves to 127.0.0.1') as string,
      leftBehind: [],
    });
    expect(outcomesOf(run.result).slice(1)).toEqual(Array.from({ length: 5 }, () => 'skipped'));
    expect(store.requests).toEqual([]);
    expectConsistent(run);
  });

  it('passes if the endpoint resolves to an allowed address', async () => {
    const store = await FakeS3.start();
    const run = await probe({
      url: `http://my-minio.storage.svc:${new URL(store.url).port}`,
      addressPolicy: addressPolicy({ allowed: ['127.0.0.1'] }),
      resolver: resolvingTo('127.0.0.1'),
    });
    expect(run.result).toMatchObject({ verdict: 'Passed', leftBehind: [] });
    expectConsistent(run);
  });

  it('is Unknown if it was cancelled, but still cleans up', async () => {
    const stop = new AbortController();
    const store = await FakeS3.start({
      faultAt: (_call, request) => (request.startsWith('GET') ? 'hangsBefore' : undefined),
      onHang: () => {
        stop.abort();
      },
    });
    const run = await probe({ url: store.url, signal: stop.signal });
    expect(run.result).toMatchObject({
      reason: 'Cancelled',
      verdict: 'Unknown',
      failedStep: 'FETCH_OBJECT',
      leftBehind: [],
    });
    expect(outcomesOf(run.result).slice(4)).toEqual(['passed', 'passed']);
    expect(store.contents).toEqual([]);
    expectConsistent(run);
  });

  it.each([
    { name: 'timed out', reason: 'Timeout', abortReason: new DOMException('time is up', 'TimeoutError') },
    { name: 'was cancelled', reason: 'Cancelled', abortReason: undefined },
    { name: 'was cancelled with an error', reason: 'Cancelled', abortReason: new Error('shutting down') },
  ])('makes no call if it $name before the first', async ({ reason, abortReason }) => {
    const store = await FakeS3.start();
    const run = await probe({ url: store.url, signal: AbortSignal.abort(abortReason) });
    expect(run.result).toMatchObject({ reason, failedStep: 'CHECK_BUCKET', leftBehind: [] });
    expect(store.requests).toEqual([]);
    expectConsistent(run);
  });

  it('times out while creating a large object', async () => {
    const store = await FakeS3.start();
    const stop = new AbortController();
    const run = await probe({
      url: store.url,
      sizes: [500_000_000],
      signal: stop.signal,
      onProgress: (progress) => {
        if ('started' in progress && progress.started === 'CREATE_OBJECT')
          queueMicrotask(() => {
            stop.abort(new DOMException('time is up', 'TimeoutError'));
          });
      },
    });
    expect(run.result).toMatchObject({ reason: 'Timeout', failedStep: 'CREATE_OBJECT', leftBehind: [] });
    expect(store.contents).toEqual([]);
    expectConsistent(run);
  });

  it('retries a removal that timed out', async () => {
    const clock = new ManualClock();
    let hasHung = false;
    const store = await FakeS3.start({
      faultAt: (_call, request) => {
        if (hasHung || !request.startsWith('DELETE')) return undefined;
        hasHung = true;
        return 'hangsBefore';
      },
      onHang: () => void clock.advance(TIMEOUT_MS),
    });
    const run = await probe({ url: store.url, sizes: [10, 20], clock });
    expect(run.result).toMatchObject({ reason: 'Timeout', failedStep: 'REMOVE_OBJECT', leftBehind: [] });
    expect(store.contents).toEqual([]);
    expectConsistent(run);
  });

  it('stops cleaning up at its deadline and reports what is left', async () => {
    const clock = new ManualClock();
    const hangTimesMs: number[] = [];
    const store = await FakeS3.start({
      faultAt: (call) => (call >= 2 ? 'hangsAfter' : undefined),
      onHang: () => {
        hangTimesMs.push(clock.monotonicMs());
        void clock.advance(hangTimesMs.length === 1 ? TIMEOUT_MS : CLEAN_UP_TIMEOUT_MS);
      },
    });
    const run = await probe({ url: store.url, clock });
    expect(run.result).toMatchObject({ reason: 'Timeout', failedStep: 'ADD_OBJECT' });
    expect(run.result.leftBehind).toContain(OWN_BUCKET);
    expect(run.result.durationMs).toBe(TIMEOUT_MS + CLEAN_UP_TIMEOUT_MS);
    expect(hangTimesMs).toEqual([0, TIMEOUT_MS]);
    expectConsistent(run);
  });
});

describe('a run in which a call fails', () => {
  const THEIRS = new Map([['theirs', Buffer.from('theirs')]]);
  const scenario = fc.record({
    mode: fc.constantFrom<BucketPlan['mode']>('Ephemeral', 'Existing'),
    sizes: fc.array(fc.constantFrom(0, 10, 70_000), { maxLength: 2 }),
    failingCall: fc.nat({ max: 16 }),
    isPermanent: fc.boolean(),
    ownBucket: fc.constantFrom('absent', 'empty', 'leftover', 'theirs'),
  });
  type Scenario = typeof scenario extends fc.Arbitrary<infer T> ? T : never;

  async function runAndCheck(
    fault: Fault,
    { mode, sizes, failingCall, isPermanent, ownBucket }: Scenario,
  ): Promise<void> {
    const clock = new ManualClock();
    const faultAt = (call: number): Fault | undefined =>
      call === failingCall || (isPermanent && call > failingCall) ? fault : undefined;
    const onHang = (): void => void clock.advance(TIMEOUT_MS + CLEAN_UP_TIMEOUT_MS);
    const store = await FakeS3.start({ faultAt, onHang });
    store.buckets.set('canary', new Map(THEIRS));
    const initialContents = {
      absent: undefined,
      empty: [],
      leftover: [[`${OWN_PREFIX}x/0-1`, Buffer.from('x')]],
      theirs: THEIRS,
    };
    const initial = initialContents[ownBucket] as Iterable<[string, Buffer]> | undefined;
    if (initial !== undefined) store.buckets.set(OWN_BUCKET, new Map(initial));
    const before = store.contents;
    const bucket: BucketPlan = mode === 'Existing' ? { mode, name: 'canary' } : { mode };

    const run = await probe({ url: store.url, bucket, sizes, clock });

    expectConsistent(run);
    const { leftBehind } = run.result;
    const added = store.contents.filter((name) => !before.includes(name));
    for (const name of added) expect(leftBehind).toContain(name);

    // The probe may remove only its own bucket and its leftovers in that bucket.
    const removed = before.filter((name) => !store.contents.includes(name));
    const removable = mode === 'Existing' ? [] : [OWN_BUCKET, `${OWN_BUCKET}/${OWN_PREFIX}x/0-1`];
    for (const name of removed) expect(removable).toContain(name);

    // If the bucket was removed, no leftovers are reported in it.
    const isBucketRemoved = mode === 'Ephemeral' && !leftBehind.includes(OWN_BUCKET);
    expect(isBucketRemoved ? leftBehind : []).toEqual([]);
    // No timer is left after the run.
    expect(clock.pendingTimers).toBe(0);
    // Calls are not retried: each sends at most one request.
    const calls = run.result.steps.flatMap((step) => step.calls);
    expect(store.requests.length).toBeLessThanOrEqual(calls.length);
    expect(store.requests.length).toBeGreaterThan(0);
  }

  it.each(FAULTS)('cleans up and reports correctly what is left, with fault %s', async (fault) => {
    expect.hasAssertions();
    await fc.assert(
      fc.asyncProperty(scenario, (generated) => runAndCheck(fault, generated)),
      { numRuns: 40, endOnFailure: true },
    );
  });
});
