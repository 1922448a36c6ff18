import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';
import { describe, expect, it } from 'vitest';

import { ManualClock } from '../clock/manual-clock.ts';
import { RetryingExporter, type RetryingExporterOptions } from './retrying-exporter.ts';

/** What the receiver does with one attempt. */
type Answer = 'takes' | 'hangs' | Error;

/** A receiver that answers as told, and then takes all; it sees every exporter that is made for it. */
class Receiver {
  readonly answers: Answer[];
  /** The names of the spans of each attempt. */
  readonly attempts: string[][] = [];
  /** When each came, in ms. */
  readonly times: number[] = [];
  readonly taken: string[] = [];
  made = 0;
  closed = 0;
  readonly #clock: ManualClock;

  constructor(clock: ManualClock, answers: Answer[]) {
    this.#clock = clock;
    this.answers = answers;
  }

  create(): SpanExporter {
    this.made += 1;
    return {
      export: (spans: ReadableSpan[], done: (result: ExportResult) => void) => {
        const names = spans.map(({ name }) => name);
        this.attempts.push(names);
        this.times.push(this.#clock.monotonicMs());
        const answer = this.answers.shift() ?? 'takes';
        if (answer === 'hangs') return;
        if (answer === 'takes') this.taken.push(...names);
        // As the real ones do: later.
        queueMicrotask(() => {
          if (answer === 'takes') done({ code: ExportResultCode.SUCCESS });
          else done({ code: ExportResultCode.FAILED, error: answer });
        });
      },
      shutdown: async () => {
        this.closed += 1;
      },
    };
  }
}

interface Setting extends Partial<RetryingExporterOptions> {
  readonly answers?: Answer[];
}

function setUp({ answers = [], ...options }: Setting = {}): {
  clock: ManualClock;
  receiver: Receiver;
  exporter: RetryingExporter;
  results: ExportResult[];
  send: (...names: string[]) => void;
} {
  const clock = new ManualClock();
  const receiver = new Receiver(clock, answers);
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

function coded(code: number | string, rest: object = {}): Error {
  return Object.assign(new Error(`it failed with ${code}`), { code, ...rest });
}

const AWAY = coded(14);
const always = (answer: Answer): Answer[] => Array.from({ length: 1_000 }, () => answer);

/** As `@grpc/grpc-js` gives it: the details are a serialised `google.rpc.Status`. */
function exhausted(details: readonly string[]): Error {
  const found = details.map((type) => Buffer.from(`\u0008\u0012type.googleapis.com/${type}\u0001`));
  return coded(8, { metadata: { get: (key: string) => (key === 'grpc-status-details-bin' ? found : []) } });
}

/** How long it waits between the attempts of its first half minute. */
async function pausesOf(random: () => number): Promise<number[]> {
  const { clock, receiver, send } = setUp({ answers: always(AWAY), random });
  send('a');
  await clock.advance(30_000);
  return receiver.times.slice(1).map((time, index) => time - (receiver.times[index] ?? 0));
}

describe('delivery', () => {
  it('takes a batch at once, and delivers all in order', async () => {
    const { exporter, receiver, results, send } = setUp();
    send('a', 'b');
    send('c');
    expect(results).toEqual([{ code: ExportResultCode.SUCCESS }, { code: ExportResultCode.SUCCESS }]);
    await exporter.forceFlush();
    expect(receiver.attempts).toEqual([['a', 'b'], ['c']]);
    expect(exporter.counts).toEqual({ delivered: 3, dropped: 0, lastError: undefined });
  });

  it('goes on after it had nothing to do', async () => {
    const { exporter, receiver, send } = setUp();
    send('a');
    await exporter.forceFlush();
    send('b');
    await exporter.forceFlush();
    expect(receiver.taken).toEqual(['a', 'b']);
    expect(receiver.made).toBe(1);
  });

  it('keeps the order when the first batch needs several attempts', async () => {
    const { clock, exporter, receiver, send } = setUp({ answers: [AWAY, AWAY] });
    send('a');
    send('b');
    await clock.advance(10_000);
    await exporter.forceFlush();
    expect(receiver.attempts).toEqual([['a'], ['a'], ['a'], ['b']]);
    expect(receiver.taken).toEqual(['a', 'b']);
    expect(exporter.counts).toEqual({ delivered: 2, dropped: 0, lastError: AWAY.message });
  });

  it('makes a new exporter after a failure, and closes the old one', async () => {
    const { clock, exporter, receiver, send } = setUp({ answers: [AWAY] });
    send('a');
    await clock.advance(10_000);
    await exporter.forceFlush();
    expect(receiver).toMatchObject({ made: 2, closed: 1 });
  });

  it('sends the next batch by a new one, too, after a failure that no attempt can mend', async () => {
    const { exporter, receiver, send } = setUp({ answers: [coded(12)] });
    send('a');
    await exporter.forceFlush();
    send('b');
    await exporter.forceFlush();
    expect(receiver).toMatchObject({ made: 2, closed: 1, taken: ['b'] });
  });

  it('tells once that it fails, and why, and once that it does not any more', async () => {
    const turns: (string | undefined)[] = [];
    const { clock, exporter, send } = setUp({
      answers: [AWAY, AWAY, AWAY, 'takes', 'takes', coded(7)],
      onTurn: (error) => turns.push(error),
    });
    for (const name of ['a', 'b', 'c']) send(name);
    await clock.advance(10_000);
    await exporter.forceFlush();
    expect(turns).toEqual(['it failed with 14', undefined, 'it failed with 7']);
  });

  it('waits longer each time, up to a limit, with jitter', async () => {
    const [least, most] = [await pausesOf(() => 0), await pausesOf(() => 1)];
    expect(least.slice(0, 4)).toEqual([100, 200, 400, 800]);
    expect(most.slice(0, 4)).toEqual([200, 400, 800, 1_600]);
    expect(Math.max(...least)).toBe(2_500);
    expect(Math.max(...most)).toBe(5_000);
  });
});

describe('what is tried again', () => {
  it.each([
    { name: 'gRPC CANCELLED', error: coded(1), again: true },
    { name: 'gRPC UNKNOWN', error: coded(2), again: false },
    { name: 'gRPC INVALID_ARGUMENT', error: coded(3), again: false },
    { name: 'gRPC DEADLINE_EXCEEDED', error: coded(4), again: true },
    { name: 'gRPC NOT_FOUND', error: coded(5), again: false },
    { name: 'gRPC PERMISSION_DENIED', error: coded(7), again: false },
    { name: 'gRPC RESOURCE_EXHAUSTED', error: coded(8), again: false },
    { name: 'gRPC RESOURCE_EXHAUSTED without details', error: exhausted([]), again: false },
    { name: 'gRPC RESOURCE_EXHAUSTED for good', error: exhausted(['google.rpc.QuotaFailure']), again: false },
    { name: 'gRPC RESOURCE_EXHAUSTED for now', error: exhausted(['google.rpc.RetryInfo']), again: true },
    { name: 'gRPC ABORTED', error: coded(10), again: true },
    { name: 'gRPC OUT_OF_RANGE', error: coded(11), again: true },
    { name: 'gRPC UNIMPLEMENTED', error: coded(12), again: false },
    { name: 'gRPC INTERNAL', error: coded(13), again: false },
    { name: 'gRPC UNAVAILABLE', error: coded(14), again: true },
    { name: 'gRPC DATA_LOSS', error: coded(15), again: true },
    { name: 'gRPC UNAUTHENTICATED', error: coded(16), again: false },
    { name: 'HTTP 400', error: coded(400), again: false },
    { name: 'HTTP 401', error: coded(401), again: false },
    { name: 'HTTP 404', error: coded(404), again: false },
    { name: 'HTTP 429', error: coded(429), again: true },
    { name: 'HTTP 500', error: coded(500), again: false },
    { name: 'HTTP 502', error: coded(502), again: true },
    { name: 'HTTP 503', error: coded(503), again: true },
    { name: 'HTTP 504', error: coded(504), again: true },
    {
      name: "the HTTP exporter's own word",
      error: new Error('Export failed with retryable status'),
      again: true,
    },
    { name: 'a refused connection', error: coded('ECONNREFUSED'), again: true },
    { name: 'a connection that was cut', error: coded('ECONNRESET'), again: true },
    { name: 'an unknown error', error: new Error('Nothing to send'), again: false },
  ])('$name: $again', async ({ error, again }) => {
    const { clock, exporter, receiver, send } = setUp({ answers: [error] });
    send('a', 'b');
    await clock.advance(10_000);
    await exporter.forceFlush();
    expect(receiver.attempts).toHaveLength(again ? 2 : 1);
    expect(exporter.counts).toEqual({
      delivered: again ? 2 : 0,
      dropped: again ? 0 : 2,
      lastError: error.message,
    });
  });

  it('is not what fails for its settings', async () => {
    const { exporter, send } = setUp({
      create: () => {
        throw new TypeError('Invalid URL');
      },
    });
    send('a');
    await exporter.forceFlush();
    expect(exporter.counts).toEqual({ delivered: 0, dropped: 1, lastError: 'Invalid URL' });
  });

  it('is not what throws', async () => {
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

describe('its bounds', () => {
  it('holds so many spans and no more', async () => {
    const { clock, exporter, receiver, results, send } = setUp({ answers: [AWAY], maxHeldSpans: 3 });
    send('a', 'b');
    send('c', 'd');
    send('e');
    expect(results).toHaveLength(3);
    expect(exporter.counts.dropped).toBe(2);
    await clock.advance(10_000);
    await exporter.forceFlush();
    expect(receiver.taken).toEqual(['a', 'b', 'e']);
    expect(exporter.counts).toMatchObject({ delivered: 3, dropped: 2 });

    send('f', 'g', 'h');
    await exporter.forceFlush();
    expect(receiver.taken).toEqual(['a', 'b', 'e', 'f', 'g', 'h']);
  });

  it('gives a batch up after its time, and the next has a time of its own', async () => {
    const { clock, exporter, receiver, send } = setUp({ answers: always(AWAY), maxRetryMs: 10_000 });
    send('a');
    await clock.advance(9_000);
    send('b');
    await clock.advance(2_000);
    expect(exporter.counts).toEqual({ delivered: 0, dropped: 1, lastError: AWAY.message });
    receiver.answers.length = 0;
    await clock.advance(5_000);
    await exporter.forceFlush();
    expect(receiver.taken).toEqual(['b']);
    expect(exporter.counts).toMatchObject({ delivered: 1, dropped: 1 });
  });

  it('tells an error in one short line', async () => {
    const { exporter, send } = setUp({ answers: [new Error(`one\n  two\t${'x'.repeat(1_000)}`)] });
    send('a');
    await exporter.forceFlush();
    expect(exporter.counts.lastError).toMatch(/^one two x{100,192}…$/);
  });
});

describe('shutting down', () => {
  it('drops and counts what is not delivered, without waiting for who hangs', async () => {
    const { exporter, receiver, send } = setUp({ answers: ['hangs'] });
    send('a', 'b');
    send('c');
    await exporter.shutdown();
    expect(exporter.counts).toEqual({
      delivered: 0,
      dropped: 3,
      lastError: 'no answer within the time to flush',
    });
    expect(receiver.closed).toBe(1);
  });

  it('wakes who waits for the next attempt, and keeps the reason of the last', async () => {
    const { clock, exporter, send } = setUp({ answers: always(AWAY) });
    send('a');
    await clock.advance(50);
    await exporter.shutdown();
    expect(exporter.counts).toEqual({ delivered: 0, dropped: 1, lastError: AWAY.message });
    expect(clock.waiting).toBe(0);
  });

  it('takes nothing more', async () => {
    const { exporter, receiver, results, send } = setUp();
    await exporter.shutdown();
    send('a');
    expect(results).toHaveLength(1);
    expect(receiver.made).toBe(0);
    expect(exporter.counts.dropped).toBe(1);
  });

  it('loses nothing when it is flushed first', async () => {
    const { exporter, receiver, send } = setUp();
    send('a');
    await exporter.forceFlush();
    await exporter.shutdown();
    expect(receiver.taken).toEqual(['a']);
    expect(exporter.counts).toMatchObject({ delivered: 1, dropped: 0 });
  });

  it('does not wait for a channel that does not close', async () => {
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
