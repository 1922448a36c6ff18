import { describe, expect, it, onTestFinished, vi } from 'vitest';

import { FakeApiServer, type FakeKubeClient, hang, kubeError } from '../../test/support/fake-api-server.ts';
import { ManualClock } from '../clock/manual-clock.ts';
import { EventRecorder, type RecordedEvent } from './event-recorder.ts';

const PATH = '/apis/events.k8s.io/v1/namespaces/storage/events';
const NEVER = new AbortController().signal;
const FAILED: RecordedEvent = {
  regarding: {
    apiVersion: 'storageprobe.dev/v1alpha1',
    kind: 'StorageProbe',
    namespace: 'storage',
    name: 'my-minio',
    uid: 'uid-1',
  },
  type: 'Warning',
  reason: 'ConnectionRefused',
  action: 'Probe',
  note: 'Trace 1',
};

interface Recorder {
  readonly clock: ManualClock;
  readonly server: FakeApiServer;
  readonly client: FakeKubeClient;
  readonly events: EventRecorder;
  readonly log: Record<'debug' | 'info' | 'warn' | 'error', ReturnType<typeof vi.fn>>;
  readonly metrics: { recorded: ReturnType<typeof vi.fn>; dropped: ReturnType<typeof vi.fn> };
  /** Lets the recorder write its queued Events. */
  readonly settle: () => Promise<unknown>;
}

function setUp({ maxQueued }: { maxQueued?: number } = {}): Recorder {
  const clock = new ManualClock();
  const server = new FakeApiServer();
  const client = server.connect();
  const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() };
  const metrics = { recorded: vi.fn(), dropped: vi.fn() };
  let seed = 0;
  const events = new EventRecorder({
    client,
    clock,
    random: () => (seed += 1) / 65_536,
    log,
    reportingController: 'storageprobe.dev/controller',
    reportingInstance: 'pod-1',
    metrics,
    ...(maxQueued !== undefined && { maxQueued }),
  });
  onTestFinished(() => events.close());
  return { clock, server, client, events, log, metrics, settle: () => clock.advance(0) };
}

function about(uid: string, overrides: Partial<RecordedEvent> = {}): RecordedEvent {
  return { ...FAILED, ...overrides, regarding: { ...FAILED.regarding, uid, name: uid } };
}

describe('an Event', () => {
  it('is created in the namespace of the object that it is about', async () => {
    const { server, events, metrics, settle } = setUp();
    events.record(FAILED);
    await settle();
    const { note, ...rest } = FAILED;
    expect(server.list(PATH)).toEqual([
      {
        apiVersion: 'events.k8s.io/v1',
        kind: 'Event',
        metadata: expect.objectContaining({
          namespace: 'storage',
          name: 'my-minio.0001000000020000',
        }) as object,
        eventTime: '2026-11-22T12:00:00.000000Z',
        reportingController: 'storageprobe.dev/controller',
        reportingInstance: 'pod-1',
        ...rest,
        note,
      },
    ]);
    expect(metrics.recorded).toHaveBeenCalledTimes(1);
  });

  it('is created in the default namespace if the object is cluster-scoped', async () => {
    const { server, events, settle } = setUp();
    events.record({ ...FAILED, regarding: { kind: 'Namespace', name: 'storage' } });
    await settle();
    expect(server.list('/apis/events.k8s.io/v1/namespaces/default/events')).toHaveLength(1);
  });

  it.each([
    { name: 'not cut at the limit', note: 'é'.repeat(512), bytes: 1_024, end: 'é' },
    { name: 'cut above the limit', note: 'é'.repeat(513), bytes: 1_023, end: 'é…' },
    { name: 'cut between 4-byte characters', note: '𝄞'.repeat(2_000), bytes: 1_023, end: '𝄞…' },
  ])('has a note of at most 1,024 bytes, $name', async ({ note, bytes, end }) => {
    const { server, events, settle } = setUp();
    events.record({ ...FAILED, note });
    await settle();
    const [written] = server.list(PATH) as unknown as { note: string }[];
    expect(Buffer.byteLength(written?.note ?? '')).toBe(bytes);
    expect(written?.note.endsWith(end)).toBe(true);
  });

  it.each(['a'.repeat(253), `${'a'.repeat(235)}-.b`])(
    'has a valid name of at most 253 characters for the object %s',
    async (name) => {
      const { server, events, settle } = setUp();
      events.record({ ...FAILED, regarding: { ...FAILED.regarding, name } });
      await settle();
      const [written] = server.list(PATH);
      expect(written?.metadata.name.length).toBeLessThanOrEqual(253);
      expect(written?.metadata.name).toMatch(/^a+\.[0-9a-f]{16}$/);
    },
  );
});

describe('a series', () => {
  it('is one Event with the count and the newest note', async () => {
    const { clock, server, events, settle } = setUp();
    events.record(FAILED);
    await settle();
    for (const note of ['Trace 2', 'Trace 3']) {
      await clock.advance(60_000);
      events.record({ ...FAILED, note });
      await settle();
    }
    expect(server.list(PATH)).toMatchObject([
      {
        note: 'Trace 3',
        eventTime: '2026-11-22T12:00:00.000000Z',
        series: { count: 3, lastObservedTime: '2026-11-22T12:02:00.000000Z' },
      },
    ]);
  });

  it.each([
    { name: 'with another reason', other: { ...FAILED, reason: 'Timeout' } },
    { name: 'with another type', other: { ...FAILED, type: 'Normal' as const } },
    { name: 'with another action', other: { ...FAILED, action: 'CleanUp' } },
    { name: 'about another object', other: about('uid-2') },
  ])('does not include an event $name', async ({ other }) => {
    const { server, events, settle } = setUp();
    events.record(FAILED);
    events.record(other);
    await settle();
    expect(server.list(PATH)).toHaveLength(2);
  });

  it('ends after 6 minutes without an occurrence', async () => {
    const { clock, server, events, settle } = setUp();
    events.record(FAILED);
    await clock.advance(360_001);
    events.record(FAILED);
    await settle();
    expect(server.list(PATH)).toHaveLength(2);
  });

  it('creates its Event again if the Event was deleted', async () => {
    const { server, events, settle } = setUp();
    events.record(FAILED);
    await settle();
    server.delete(`${PATH}/my-minio.0001000000020000`);
    events.record({ ...FAILED, note: 'Trace 2' });
    await settle();
    expect(server.list(PATH)).toMatchObject([{ note: 'Trace 2', series: { count: 2 } }]);
  });

  it('is written once for all events that occurred while it was queued', async () => {
    const { client, server, events, settle } = setUp();
    events.record(about('uid-2'));
    for (let count = 1; count <= 100; count += 1) events.record({ ...FAILED, note: `Trace ${count}` });
    await settle();
    expect(client.requests).toHaveLength(2);
    expect(server.list(PATH)[1]).toMatchObject({ note: 'Trace 100', series: { count: 100 } });
    expect(events.dropped).toBe(0);
  });
});

describe('rate limit', () => {
  it('allows 25 writes per object, then one every 5 minutes, and counts all occurrences', async () => {
    const { clock, client, server, events, log, settle } = setUp();
    const writes = (): number => client.requests.filter(({ method }) => method === 'PATCH').length;
    for (let count = 0; count < 100; count += 1) {
      events.record(FAILED);
      await settle();
    }
    expect(writes()).toBe(24);
    expect(events.dropped).toBe(75);
    expect(log.warn.mock.calls).toEqual([
      [
        { reason: 'TooMany', error: 'more than 25 Events about one object', dropped: 1 },
        'an Event was dropped',
      ],
    ]);
    events.record(about('uid-2'));
    await settle();
    expect(server.list(PATH).filter(({ metadata }) => metadata.name.startsWith('uid-2'))).toHaveLength(1);

    await clock.advance(300_000);
    events.record(FAILED);
    events.record(FAILED);
    await settle();
    expect(writes()).toBe(25);
    expect(client.requests.at(-1)?.body).toMatchObject({ series: { count: 101 } });
  });

  it('drops Events when the queue is full, and logs this once', async () => {
    const { client, events, log, metrics, settle } = setUp({ maxQueued: 10 });
    client.onRequest = hang;
    for (let object = 0; object < 100; object += 1) events.record(about(`uid-${object}`));
    await settle();
    expect(events.dropped).toBe(89);
    expect(metrics.dropped).toHaveBeenCalledTimes(89);
    expect(log.warn).toHaveBeenCalledTimes(1);
  });
});

describe('failed writes', () => {
  it.each([
    { name: 'no response', error: kubeError(0, 'ConnectionFailed') },
    { name: 'a 503', error: kubeError(503, 'ServiceUnavailable') },
    { name: 'a 429', error: kubeError(429, 'TooManyRequests') },
  ])('are retried after $name', async ({ error }) => {
    const { clock, client, server, events } = setUp();
    client.onRequest = () => {
      throw error;
    };
    events.record(FAILED);
    await clock.advance(20_000);
    expect(client.requests.length).toBeGreaterThan(3);
    client.onRequest = () => undefined;
    await clock.advance(10_000);
    expect(server.list(PATH)).toHaveLength(1);
    expect(events.dropped).toBe(0);
  });

  it('are dropped after 12 attempts, and the next Event is written', async () => {
    const { clock, client, server, events, log } = setUp();
    client.onRequest = ({ body }) => {
      if (JSON.stringify(body).includes('uid-1')) throw kubeError(500, 'InternalError');
    };
    events.record(FAILED);
    events.record(about('uid-2'));
    await clock.advance(120_000);
    expect(client.requests).toHaveLength(13);
    expect(server.list(PATH)).toHaveLength(1);
    expect(events.dropped).toBe(1);
    expect(log.warn).toHaveBeenCalledTimes(1);
  });

  it.each([
    { name: 'Forbidden', error: kubeError(403, 'Forbidden') },
    { name: 'NotFound', error: kubeError(404, 'NotFound') },
    { name: 'Invalid', error: kubeError(422, 'Invalid') },
  ])('are dropped at once after $name, and logged once', async ({ error }) => {
    const { client, events, log, settle } = setUp();
    client.onRequest = () => {
      throw error;
    };
    for (let object = 0; object < 5; object += 1) events.record(about(`uid-${object}`));
    await settle();
    expect(client.requests).toHaveLength(5);
    expect(events.dropped).toBe(5);
    expect(log.warn.mock.calls).toEqual([
      [{ reason: error.reason, error: error.message, dropped: 1 }, 'an Event was dropped'],
    ]);
  });

  it('do not create a second Event if only the response was lost', async () => {
    const { clock, client, server, events } = setUp();
    let isLost = false;
    client.onResponse = () => {
      if (isLost) return;
      isLost = true;
      throw kubeError(0, 'ConnectionFailed');
    };
    events.record(FAILED);
    events.record({ ...FAILED, note: 'Trace 2' });
    await clock.advance(10_000);
    expect(isLost).toBe(true);
    expect(server.list(PATH)).toMatchObject([{ note: 'Trace 2', series: { count: 2 } }]);
    expect(events.dropped).toBe(0);
  });
});

describe('shutdown', () => {
  it('flushes queued Events', async () => {
    const { server, events } = setUp();
    for (let object = 0; object < 5; object += 1) events.record(about(`uid-${object}`));
    await events.flush(NEVER);
    expect(server.list(PATH)).toHaveLength(5);
  });

  it('stops flushing on abort, and closes while a request hangs', async () => {
    const { clock, client, events, settle } = setUp();
    client.onRequest = hang;
    events.record(FAILED);
    events.record(about('uid-2'));
    await settle();
    const stop = new AbortController();
    const flushed = events.flush(stop.signal);
    stop.abort();
    await flushed;
    await events.close();
    expect(events.dropped).toBe(2);
    expect(clock.pendingTimers).toBe(0);
    events.record(about('uid-3'));
    await settle();
    expect(client.requests).toHaveLength(1);
    expect(events.dropped).toBe(3);
  });
});
