import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';
import { describe, expect, it } from 'vitest';

import { ManualClock } from '../clock/manual-clock.ts';
import { RetryingExporter, type RetryingExporterOptions } from './retrying-exporter.ts';

/** How the receiver replies to one attempt. */
type Reply = 'accepts' | 'hangs' | Error;

/** A receiver that gives the listed replies, then accepts everything. It records every exporter that is created. */
class Receiver {
  readonly replies: Reply[];
  /** Span names of each attempt. */
  readonly attempts: string[][] = [];
  readonly attemptTimesMs: number[] = [];
  readonly accepted: string[] = [];
  created = 0;
  closed = 0;
  readonly #clock: ManualClock;

  constructor(clock: ManualClock, replies: Reply[]) {
    this.#clock = clock;
    this.replies = replies;
  }

  create(): SpanExporter {
    this.created += 1;
    return {
      export: (spans: ReadableSpan[], done: (result: ExportResult) => void) => {
        const names = spans.map(({ name }) => name);
        this.attempts.push(names);
        this.attemptTimesMs.push(this.#clock.monotonicMs());
        const reply = this.replies.shift() ?? 'accepts';
        if (reply === 'hangs') return;
        if (reply === 'accepts') this.accepted.push(...names);
        // Real exporters also call back asynchronously.
        queueMicrotask(() => {
          if (reply === 'accepts') done({ code: ExportResultCode.SUCCESS });
          else done({ code: ExportResultCode.FAILED, error: reply });
        });
      },
      shutdown: async () => {
        this.closed += 1;
      },
    };
  }
}

interface SetUpOptions extends Partial<RetryingExporterOptions> {
  readonly replies?: Reply[];
}

function setUp({ replies = [], ...options }: SetUpOptions = {}): {
  clock: ManualClock;
  receiver: Receiver;
  exporter: RetryingExporter;
  results: ExportResult[];
  send: (...names: string[]) => void;
} {
  const clock = new ManualClock();
  const receiver = new Receiver(clock, replies);
  const create = receiver.create.bind(receiver);
  const exporter = new RetryingExporter({ create, clock, random: () => 0, ...options });
  const results: ExportResult[] = [];
  const send = (...names: string[]): void => {
    exporter.export(
      names.map((name) => ({ name }) as ReadableSpan),
      (result) => results.push(result),
    );
  };
  return { clock, receiver, exporter, results, send };
}

function errorWithCode(code: number | string, rest: object = {}): Error {
  return Object.assign(new Error(`it failed with ${code}`), { code, ...rest });
}

const UNAVAILABLE = errorWithCode(14);
const always = (reply: Reply): Reply[] => Array.from({ length: 1_000 }, () => reply);

/** The error of `@grpc/grpc-js`, whose details are a serialised `google.rpc.Status`. */
function resourceExhausted(detailTypes: readonly string[]): Error {
  const details = detailTypes.map((type) => Buffer.from(`\u0008\u0012type.googleapis.com/${type}\u0001`));
  return errorWithCode(8, {
    metadata: { get: (key: string) => (key === 'grpc-status-details-bin' ? details : []) },
  });
}

/** Delays between the attempts in the first 30 s. */
async function retryDelaysMs(random: () => number): Promise<number[]> {
  const { clock, receiver, send } = setUp({ replies: always(UNAVAILABLE), random });
  send('a');
  await clock.advance(30_000);
  const timesMs = receiver.attemptTimesMs;
  return timesMs.slice(1).map((timeMs, index) => timeMs - (timesMs[index] ?? 0));
}

describe('delivery', () => {
  it('accepts batches immediately and delivers them in order', async () => {
    const { exporter, receiver, results, send } = setUp();
    send('a', 'b');
    send('c');
    expect(results).toEqual([{ code: ExportResultCode.SUCCESS }, { code: ExportResultCode.SUCCESS }]);
    await exporter.forceFlush();
    expect(receiver.attempts).toEqual([['a', 'b'], ['c']]);
    expect(exporter.counts).toEqual({ delivered: 3, dropped: 0, lastError: undefined });
  });

  it('resumes after the queue was empty', async () => {
    const { exporter, receiver, send } = setUp();
    send('a');
    await exporter.forceFlush();
    send('b');
    await exporter.forceFlush();
    expect(receiver.accepted).toEqual(['a', 'b']);
    expect(receiver.created).toBe(1);
  });

  it('keeps the order when the first batch needs several attempts', async () => {
    const { clock, exporter, receiver, send } = setUp({ replies: [UNAVAILABLE, UNAVAILABLE] });
    send('a');
    send('b');
    await clock.advance(10_000);
    await exporter.forceFlush();
    expect(receiver.attempts).toEqual([['a'], ['a'], ['a'], ['b']]);
    expect(receiver.accepted).toEqual(['a', 'b']);
    expect(exporter.counts).toEqual({ delivered: 2, dropped: 0, lastError: UNAVAILABLE.message });
  });

  it('replaces the exporter after a failure and closes the old one', async () => {
    const { clock, exporter, receiver, send } = setUp({ replies: [UNAVAILABLE] });
    send('a');
    await clock.advance(10_000);
    await exporter.forceFlush();
    expect(receiver).toMatchObject({ created: 2, closed: 1 });
  });

  it('also replaces the exporter after a permanent failure', async () => {
    const { exporter, receiver, send } = setUp({ replies: [errorWithCode(12)] });
    send('a');
    await exporter.forceFlush();
    send('b');
    await exporter.forceFlush();
    expect(receiver).toMatchObject({ created: 2, closed: 1, accepted: ['b'] });
  });

  it('reports a failure and a recovery once each', async () => {
    const changes: (string | undefined)[] = [];
    const { clock, exporter, send } = setUp({
      replies: [UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, 'accepts', 'accepts', errorWithCode(7)],
      onDeliveryChange: (error) => changes.push(error),
    });
    for (const name of ['a', 'b', 'c']) send(name);
    await clock.advance(10_000);
    await exporter.forceFlush();
    expect(changes).toEqual(['it failed with 14', undefined, 'it failed with 7']);
  });

  it('backs off up to a limit, with jitter', async () => {
    const [shortest, longest] = [await retryDelaysMs(() => 0), await retryDelaysMs(() => 1)];
    expect(shortest.slice(0, 4)).toEqual([100, 200, 400, 800]);
    expect(longest.slice(0, 4)).toEqual([200, 400, 800, 1_600]);
    expect(Math.max(...shortest)).toBe(2_500);
    expect(Math.max(...longest)).toBe(5_000);
  });
});

describe('retrying', () => {
  it.each([
    { name: 'gRPC CANCELLED', error: errorWithCode(1), retries: true },
    { name: 'gRPC UNKNOWN', error: errorWithCode(2), retries: false },
    { name: 'gRPC INVALID_ARGUMENT', error: errorWithCode(3), retries: false },
    { name: 'gRPC DEADLINE_EXCEEDED', error: errorWithCode(4), retries: true },
    { name: 'gRPC NOT_FOUND', error: errorWithCode(5), retries: false },
    { name: 'gRPC PERMISSION_DENIED', error: errorWithCode(7), retries: false },
    { name: 'gRPC RESOURCE_EXHAUSTED', error: errorWithCode(8), retries: false },
    { name: 'gRPC RESOURCE_EXHAUSTED without details', error: resourceExhausted([]), retries: false },
    {
      name: 'gRPC RESOURCE_EXHAUSTED with QuotaFailure',
      error: resourceExhausted(['google.rpc.QuotaFailure']),
      retries: false,
    },
    {
      name: 'gRPC RESOURCE_EXHAUSTED with RetryInfo',
      error: resourceExhausted(['google.rpc.RetryInfo']),
      retries: true,
    },
    { name: 'gRPC ABORTED', error: errorWithCode(10), retries: true },
    { name: 'gRPC OUT_OF_RANGE', error: errorWithCode(11), retries: true },
    { name: 'gRPC UNIMPLEMENTED', error: errorWithCode(12), retries: false },
    { name: 'gRPC INTERNAL', error: errorWithCode(13), retries: false },
    { name: 'gRPC UNAVAILABLE', error: errorWithCode(14), retries: true },
    { name: 'gRPC DATA_LOSS', error: errorWithCode(15), retries: true },
    { name: 'gRPC UNAUTHENTICATED', error: errorWithCode(16), retries: false },
    { name: 'HTTP 400', error: errorWithCode(400), retries: false },
    { name: 'HTTP 401', error: errorWithCode(401), retries: false },
    { name: 'HTTP 404', error: errorWithCode(404), retries: false },
    { name: 'HTTP 429', error: errorWithCode(429), retries: true },
    { name: 'HTTP 500', error: errorWithCode(500), retries: false },
    { name: 'HTTP 502', error: errorWithCode(502), retries: true },
    { name: 'HTTP 503', error: errorWithCode(503), retries: true },
    { name: 'HTTP 504', error: errorWithCode(504), retries: true },
    {
      name: "the HTTP exporter's retryable error",
      error: new Error('Export failed with retryable status'),
      retries: true,
    },
    { name: 'a refused connection', error: errorWithCode('ECONNREFUSED'), retries: true },
    { name: 'a reset connection', error: errorWithCode('ECONNRESET'), retries: true },
    { name: 'an unknown error', error: new Error('Nothing to send'), retries: false },
  ])('after $name: $retries', async ({ error, retries }) => {
    const { clock, exporter, receiver, send } = setUp({ replies: [error] });
    send('a', 'b');
    await clock.advance(10_000);
    await exporter.forceFlush();
    expect(receiver.attempts).toHaveLength(retries ? 2 : 1);
    expect(exporter.counts).toEqual({
      delivered: retries ? 2 : 0,
      dropped: retries ? 0 : 2,
      lastError: error.message,
    });
  });

  it('is skipped when the exporter cannot be created', async () => {
    const { exporter, send } = setUp({
      create: () => {
        throw new TypeError('Invalid URL');
      },
    });
    send('a');
    await exporter.forceFlush();
    expect(exporter.counts).toEqual({ delivered: 0, dropped: 1, lastError: 'Invalid URL' });
  });

  it('is skipped when export throws', async () => {
    const broken = {
      export: () => {
        throw new Error('broken');
      },
      shutdown: async () => undefined,
    };
    const { exporter, send } = setUp({ create: () => broken });
    send('a');
    send('b');
    await exporter.forceFlush();
    expect(exporter.counts).toEqual({ delivered: 0, dropped: 2, lastError: 'broken' });
  });
});

describe('limits', () => {
  it('drops spans when the queue is full', async () => {
    const { clock, exporter, receiver, results, send } = setUp({ replies: [UNAVAILABLE], maxQueuedSpans: 3 });
    send('a', 'b');
    send('c', 'd');
    send('e');
    expect(results).toHaveLength(3);
    expect(exporter.counts.dropped).toBe(2);
    await clock.advance(10_000);
    await exporter.forceFlush();
    expect(receiver.accepted).toEqual(['a', 'b', 'e']);
    expect(exporter.counts).toMatchObject({ delivered: 3, dropped: 2 });

    send('f', 'g', 'h');
    await exporter.forceFlush();
    expect(receiver.accepted).toEqual(['a', 'b', 'e', 'f', 'g', 'h']);
  });

  it('applies the retry limit to each batch separately', async () => {
    const { clock, exporter, receiver, send } = setUp({ replies: always(UNAVAILABLE), maxRetryMs: 10_000 });
    send('a');
    await clock.advance(9_000);
    send('b');
    await clock.advance(2_000);
    expect(exporter.counts).toEqual({ delivered: 0, dropped: 1, lastError: UNAVAILABLE.message });
    receiver.replies.length = 0;
    await clock.advance(5_000);
    await exporter.forceFlush();
    expect(receiver.accepted).toEqual(['b']);
    expect(exporter.counts).toMatchObject({ delivered: 1, dropped: 1 });
  });

  it('shortens an error to one line', async () => {
    const { exporter, send } = setUp({ replies: [new Error(`one\n  two\t${'x'.repeat(1_000)}`)] });
    send('a');
    await exporter.forceFlush();
    expect(exporter.counts.lastError).toMatch(/^one two x{100,192}…$/);
  });
});

describe('shutdown', () => {
  it('drops and counts undelivered spans without waiting for a hanging receiver', async () => {
    const { exporter, receiver, send } = setUp({ replies: ['hangs'] });
    send('a', 'b');
    send('c');
    await exporter.shutdown();
    expect(exporter.counts).toEqual({
      delivered: 0,
      dropped: 3,
      lastError: 'flush timed out while waiting for a response',
    });
    expect(receiver.closed).toBe(1);
  });

  it('interrupts the backoff and keeps the last error', async () => {
    const { clock, exporter, send } = setUp({ replies: always(UNAVAILABLE) });
    send('a');
    await clock.advance(50);
    await exporter.shutdown();
    expect(exporter.counts).toEqual({ delivered: 0, dropped: 1, lastError: UNAVAILABLE.message });
    expect(clock.pendingTimers).toBe(0);
  });

  it('drops spans that are exported afterwards', async () => {
    const { exporter, receiver, results, send } = setUp();
    await exporter.shutdown();
    send('a');
    expect(results).toHaveLength(1);
    expect(receiver.created).toBe(0);
    expect(exporter.counts.dropped).toBe(1);
  });

  it('drops nothing after a flush', async () => {
    const { exporter, receiver, send } = setUp();
    send('a');
    await exporter.forceFlush();
    await exporter.shutdown();
    expect(receiver.accepted).toEqual(['a']);
    expect(exporter.counts).toMatchObject({ delivered: 1, dropped: 0 });
  });

  it('does not wait for a channel that hangs while closing', async () => {
    const { exporter, send } = setUp({
      create: () => ({
        export: (_spans, done) => {
          done({ code: ExportResultCode.SUCCESS });
        },
        shutdown: () => new Promise(() => undefined),
      }),
    });
    send('a');
    await exporter.forceFlush();
    await exporter.shutdown();
    expect(exporter.counts.delivered).toBe(1);
  });
});
