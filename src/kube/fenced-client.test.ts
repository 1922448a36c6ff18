import { expect, it } from 'vitest';

import { ManualClock } from '../clock/manual-clock.ts';
import { fencedClient } from './fenced-client.ts';
import type { KubeClient, KubeRequest } from './kube-client.ts';

const NEVER = new AbortController().signal;
const POST: KubeRequest = { method: 'POST', path: '/events' };

function setUp() {
  const clock = new ManualClock();
  const sent: KubeRequest[] = [];
  const world = { leadsForMs: 0 };
  const client: KubeClient = {
    request: <T>(request: KubeRequest) => {
      sent.push(request);
      return Promise.resolve({} as T);
    },
    stream: () => {
      throw new Error('unexpected watch');
    },
    close: () => Promise.resolve(),
  };
  return { clock, sent, world, fenced: fencedClient(client, { clock, leadsForMs: () => world.leadsForMs }) };
}

it('sends a request only once this process is the leader', async () => {
  const { clock, sent, world, fenced } = setUp();
  const sending = fenced.request(POST, NEVER);
  await clock.advance(60_000);
  expect(sent).toEqual([]);
  world.leadsForMs = 10_000;
  await clock.advance(500);
  await sending;
  expect(sent).toEqual([{ ...POST, timeoutMs: 10_000 }]);
});

it('stops waiting when the signal aborts', async () => {
  const { clock, sent, fenced } = setUp();
  const stop = new AbortController();
  const failure = fenced.request(POST, stop.signal).catch((error: unknown) => error);
  stop.abort(new Error('shutting down'));
  await clock.advance(0);
  expect(await failure).toBe(stop.signal.reason);
  expect(sent).toEqual([]);
});

it.each([
  { leadsForMs: 4_000, timeoutMs: undefined, want: 4_000 },
  { leadsForMs: 10_000, timeoutMs: 2_000, want: 2_000 },
  { leadsForMs: Infinity, timeoutMs: undefined, want: 30_000 },
])('times out after $want ms', async ({ leadsForMs, timeoutMs, want }) => {
  const { sent, world, fenced } = setUp();
  world.leadsForMs = leadsForMs;
  await fenced.request(timeoutMs === undefined ? POST : { ...POST, timeoutMs }, NEVER);
  expect(sent).toMatchObject([{ timeoutMs: want }]);
});
