import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { describe, expect, it } from 'vitest';

import { ManualClock } from '../clock/manual-clock.ts';
import type { Delivery, OtlpTransport } from './otlp-transport.ts';
import { RetryingExporter, type RetryingExporterOptions } from './retrying-exporter.ts';

/** How the receiver replies to one attempt. */
type Reply = 'accepts' | 'hangs' | Delivery;

/** A receiver that gives the listed replies, then accepts everything. It records every transport that is created. */
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

  create(): OtlpTransport {
    this.created += 1;
    return {
      send: async (spans) => {
        const names = spans.map(({ name }) => name);
        this.attempts.push(names);
        this.attemptTimesMs.push(this.#clock.monotonicMs());
        const reply = this.replies.shift() ?? 'accepts';
        if (reply === 'hangs') return new Promise<Delivery>(() => undefined);
        if (reply !== 'accepts') return reply;
        this.accepted.push(...names);
        return { outcome: 'accepted', rejectedSpans: 0 };
      },
      close: () => {
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

const UNAVAILABLE: Delivery = { outcome: 'failed', message: 'unavailable', isRetryable: true };
const DENIED: Delivery = { outcome: 'failed', message: 'denied', isRetryable: false };
const always = (reply: Reply): Reply[] => Array.from({ length: 1_000 }, () => reply);

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
    expect(exporter.counts).toEqual({ delivered: 2, dropped: 0, lastError: 'unavailable' });
  });

  it('replaces the exporter after a failure and closes the old one', async () => {
    const { clock, exporter, receiver, send } = setUp({ replies: [UNAVAILABLE] });
    send('a');
    await clock.advance(10_000);
    await exporter.forceFlush();
    expect(receiver).toMatchObject({ created: 2, closed: 1 });
  });

  it('also replaces the exporter after a permanent failure', async () => {
    const { exporter, receiver, send } = setUp({ replies: [DENIED] });
    send('a');
    await exporter.forceFlush();
    send('b');
    await exporter.forceFlush();
    expect(receiver).toMatchObject({ created: 2, closed: 1, accepted: ['b'] });
  });

  it('reports a failure and a recovery once each', async () => {
    const changes: (string | undefined)[] = [];
    const { clock, exporter, send } = setUp({
      replies: [UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, 'accepts', 'accepts', DENIED],
      onDeliveryChange: (error) => changes.push(error),
    });
    for (const name of ['a', 'b', 'c']) send(name);
    await clock.advance(10_000);
    await exporter.forceFlush();
    expect(changes).toEqual(['unavailable', undefined, 'denied']);
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
  it('is skipped after a permanent failure', async () => {
    const { exporter, receiver, send } = setUp({ replies: [DENIED] });
    send('a', 'b');
    send('c');
    await exporter.forceFlush();
    expect(receiver.attempts).toEqual([['a', 'b'], ['c']]);
    expect(exporter.counts).toEqual({ delivered: 1, dropped: 2, lastError: 'denied' });
  });

  it('is skipped when the transport cannot be created', async () => {
    const { exporter, send } = setUp({
      create: () => {
        throw new TypeError('Invalid URL');
      },
    });
    send('a');
    await exporter.forceFlush();
    expect(exporter.counts).toEqual({ delivered: 0, dropped: 1, lastError: 'TypeError: Invalid URL' });
  });

  it('follows a receiver that hangs, with a new connection', async () => {
    const { clock, exporter, receiver, send } = setUp({ replies: ['hangs', 'hangs'], timeoutMs: 3_000 });
    send('a');
    await clock.advance(10_000);
    await exporter.forceFlush();
    expect(receiver.attemptTimesMs).toEqual([0, 3_100, 6_300]);
    expect(receiver.created).toBe(3);
    expect(exporter.counts).toEqual({ delivered: 1, dropped: 0, lastError: 'no response within 3 s' });
    expect(clock.pendingTimers).toBe(0);
  });

  it('waits as long as the receiver asks for', async () => {
    const { clock, exporter, receiver, send } = setUp({ replies: [{ ...UNAVAILABLE, retryAfterMs: 7_000 }] });
    send('a');
    await clock.advance(10_000);
    await exporter.forceFlush();
    expect(receiver.attemptTimesMs).toEqual([0, 7_000]);
  });

  it('backs off if the receiver asks for less', async () => {
    const { clock, exporter, receiver, send } = setUp({ replies: [{ ...UNAVAILABLE, retryAfterMs: 1 }] });
    send('a');
    await clock.advance(10_000);
    await exporter.forceFlush();
    expect(receiver.attemptTimesMs).toEqual([0, 100]);
  });

  it('drops what would expire in the pause, and sends nothing before its end', async () => {
    const { clock, exporter, receiver, send } = setUp({
      replies: [UNAVAILABLE, { ...UNAVAILABLE, retryAfterMs: 9_950 }],
      maxRetryMs: 10_000,
    });
    send('a');
    await clock.advance(5_000);
    send('b');
    await clock.advance(10_000);
    await exporter.forceFlush();
    expect(receiver.attemptTimesMs).toEqual([0, 100, 10_050]);
    expect(receiver.accepted).toEqual(['b']);
    expect(exporter.counts).toMatchObject({ delivered: 1, dropped: 1 });
  });

  it('pauses for at most the time limit of a batch', async () => {
    const { clock, exporter, receiver, send } = setUp({
      replies: [{ ...UNAVAILABLE, retryAfterMs: Number.MAX_VALUE }],
      maxRetryMs: 10_000,
    });
    send('a');
    await clock.advance(1);
    send('b');
    await clock.advance(10_000);
    await exporter.forceFlush();
    expect(receiver.accepted).toEqual(['a', 'b']);
  });
});

describe('a partial success', () => {
  it('counts the rejected spans as dropped and reports why', async () => {
    const changes: (string | undefined)[] = [];
    const { exporter, send } = setUp({
      replies: [{ outcome: 'accepted', rejectedSpans: 2, message: 'too many attributes' }],
      onDeliveryChange: (error) => changes.push(error),
    });
    send('a', 'b', 'c');
    await exporter.forceFlush();
    const lastError = 'the receiver rejected 2 of 3 spans: too many attributes';
    expect(exporter.counts).toEqual({ delivered: 1, dropped: 2, lastError });
    send('d');
    await exporter.forceFlush();
    expect(changes).toEqual([lastError, undefined]);
  });

  it('never counts more spans than were sent', async () => {
    const { exporter, send } = setUp({ replies: [{ outcome: 'accepted', rejectedSpans: 9 }] });
    send('a');
    await exporter.forceFlush();
    expect(exporter.counts).toMatchObject({ delivered: 0, dropped: 1 });
  });

  it('counts nothing as dropped if it is only a warning', async () => {
    const { exporter, send } = setUp({
      replies: [{ outcome: 'accepted', rejectedSpans: 0, message: 'deprecated' }],
    });
    send('a');
    await exporter.forceFlush();
    expect(exporter.counts).toEqual({ delivered: 1, dropped: 0, lastError: undefined });
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
    expect(exporter.counts).toEqual({ delivered: 0, dropped: 1, lastError: 'unavailable' });
    receiver.replies.length = 0;
    await clock.advance(5_000);
    await exporter.forceFlush();
    expect(receiver.accepted).toEqual(['b']);
    expect(exporter.counts).toMatchObject({ delivered: 1, dropped: 1 });
  });

  it('shortens an error to one line', async () => {
    const { exporter, send } = setUp({
      replies: [{ ...DENIED, message: `one\n  two\t${'x'.repeat(1_000)}` }],
    });
    send('a');
    await exporter.forceFlush();
    expect(exporter.counts.lastError).toMatch(/^one two x{100,192}…$/);
  });
});

describe('shutdown', () => {
  it('delivers what is queued, then closes the connection', async () => {
    const { clock, exporter, receiver, send } = setUp({ replies: [UNAVAILABLE] });
    send('a');
    const shuttingDown = exporter.shutdown();
    await clock.advance(100);
    await shuttingDown;
    expect(receiver).toMatchObject({ accepted: ['a'], created: 2, closed: 2 });
    expect(exporter.counts).toMatchObject({ delivered: 1, dropped: 0 });
  });

  it('drops spans that are exported afterwards', async () => {
    const { exporter, receiver, results, send } = setUp();
    await exporter.shutdown();
    send('a');
    expect(results).toHaveLength(1);
    expect(receiver.created).toBe(0);
    expect(exporter.counts.dropped).toBe(1);
  });
});

describe('abort', () => {
  it('drops and counts undelivered spans without waiting for a hanging receiver', async () => {
    const { clock, exporter, receiver, send } = setUp({ replies: ['hangs'] });
    send('a', 'b');
    send('c');
    exporter.abort();
    await exporter.shutdown();
    expect(exporter.counts).toEqual({
      delivered: 0,
      dropped: 3,
      lastError: 'flush timed out while waiting for a response',
    });
    expect(receiver.closed).toBe(1);
    expect(clock.pendingTimers).toBe(0);
  });

  it('interrupts the backoff and keeps the last error', async () => {
    const { clock, exporter, send } = setUp({ replies: always(UNAVAILABLE) });
    send('a');
    await clock.advance(50);
    exporter.abort();
    await exporter.shutdown();
    expect(exporter.counts).toEqual({ delivered: 0, dropped: 1, lastError: 'unavailable' });
    expect(clock.pendingTimers).toBe(0);
  });
});
