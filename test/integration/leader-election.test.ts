import { KubeConfig } from '@kubernetes/client-node';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { expect, inject, it, onTestFinished } from 'vitest';

import { systemClock } from '../../src/clock/system-clock.ts';
import { HttpKubeClient } from '../../src/kube/http-kube-client.ts';
import type { KubeClient } from '../../src/kube/kube-client.ts';
import { LEASE, LeaderElector } from '../../src/kube/leader-elector.ts';
import { getObject } from '../../src/kube/resources.ts';
import { uniqueName } from '../support/unique-name.ts';
import { connectTo, makeNamespace, NEVER } from './kube.ts';

const { kube } = inject('servers');
const LEASE_MS = 3_000;
const RENEW_MS = 2_000;
const RETRY_MS = 500;
/** Beyond what the rules allow: for a busy machine. */
const MARGIN_MS = 1_000;

interface Interval {
  readonly identity: string;
  readonly startMs: number;
  endMs: number;
}

interface Candidate {
  readonly elector: LeaderElector;
  readonly warnings: string[];
  /** Resolves when it has left. */
  leave(): Promise<void>;
}

interface Election {
  /** Of all candidates, in the order in which they began. */
  readonly intervals: Interval[];
  /** Resolves when somebody begins to lead after this call. */
  nextLeader(): Promise<Interval>;
  join(identity: string, client: KubeClient): Candidate;
}

function startElection(namespace: string, name: string): Election {
  const intervals: Interval[] = [];
  let next = Promise.withResolvers<Interval>();
  function join(identity: string, client: KubeClient): Candidate {
    const warnings: string[] = [];
    const warn = (fields: object, message: string): number =>
      warnings.push(`${message}: ${JSON.stringify(fields)}`);
    const log = { debug: () => undefined, info: () => undefined, warn, error: warn };
    const times = { leaseDurationMs: LEASE_MS, renewDeadlineMs: RENEW_MS, retryPeriodMs: RETRY_MS };
    const elector = new LeaderElector({
      client,
      clock: systemClock,
      random: Math.random,
      log,
      namespace,
      name,
      identity,
      ...times,
    });
    async function lead(signal: AbortSignal): Promise<void> {
      const interval = { identity, startMs: performance.now(), endMs: Infinity };
      intervals.push(interval);
      next.resolve(interval);
      next = Promise.withResolvers();
      if (!signal.aborted) await once(signal, 'abort');
      interval.endMs = performance.now();
    }
    const stop = new AbortController();
    const ended = elector.run(lead, stop.signal);
    async function leave(): Promise<void> {
      stop.abort();
      await ended;
    }
    onTestFinished(leave);
    return { elector, warnings, leave };
  }
  return { intervals, join, nextLeader: () => next.promise };
}

/** Never two at a time, whatever the order in which they are told. */
function expectOneAtATime(intervals: readonly Interval[]): void {
  const overlaps = intervals.flatMap((interval, index) =>
    intervals
      .slice(index + 1)
      .filter(({ startMs, endMs }) => startMs < interval.endMs && interval.startMs < endMs),
  );
  expect(overlaps).toEqual([]);
}

/** The way to the API server for one client, which can be lost. */
interface Line {
  readonly client: KubeClient;
  /** As when the network swallows all that is sent. */
  freeze(): void;
  /** As when the process or its machine ends. */
  cut(): void;
}

async function openLine(): Promise<Line> {
  const sockets: Socket[] = [];
  const { hostname, port: apiPort } = new URL(kube.url);
  let isFrozen = false;
  const server = createServer((near) => {
    sockets.push(near.on('error', () => undefined));
    if (isFrozen) return;
    const far = connect(Number(apiPort), hostname).on('error', () => undefined);
    sockets.push(far);
    near.pipe(far).pipe(near);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const config = new KubeConfig();
  const text = await readFile(kube.kubeconfigFile, 'utf8');
  config.loadFromString(text.replaceAll(kube.url, `https://127.0.0.1:${port}`));
  const client = new HttpKubeClient({ config, clock: systemClock, userAgent: 'storage-probe-test' });
  const cut = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  onTestFinished(async () => {
    await client.close();
    cut();
  });
  return {
    client,
    cut,
    freeze: () => {
      isFrozen = true;
      for (const socket of sockets) socket.unpipe().pause();
    },
  };
}

it.each(['cut', 'freeze'] as const)(
  'another leads once the lease of a lost one has expired: %s',
  async (fault) => {
    const client = connectTo(kube.kubeconfigFile);
    const election = startElection(await makeNamespace(client, 'election'), 'storage-probe');
    const line = await openLine();
    const a = election.join('a', line.client);
    const ofA = await election.nextLeader();
    const b = election.join('b', client);
    // Until one renews and the other watches.
    await systemClock.sleep(2 * RETRY_MS, NEVER);

    const lostMs = performance.now();
    const led = election.nextLeader();
    line[fault]();
    const ofB = await led;
    line.cut();

    expect(ofB.identity).toBe('b');
    expect(a.elector.isLeader).toBe(false);
    expectOneAtATime(election.intervals);
    expect(ofA.endMs - lostMs).toBeLessThan(RENEW_MS + MARGIN_MS);
    // Counted from the last renewal, which was sent up to one period before.
    expect(ofB.startMs - lostMs).toBeGreaterThan(LEASE_MS - RETRY_MS - MARGIN_MS);
    expect(ofB.startMs - lostMs).toBeLessThan(LEASE_MS + RETRY_MS + MARGIN_MS);
    expect(b.warnings).toEqual([]);
  },
);

it('another leads at once when one leaves', async () => {
  const client = connectTo(kube.kubeconfigFile);
  const namespace = await makeNamespace(client, 'election');
  const election = startElection(namespace, 'storage-probe');
  let leading = election.nextLeader();
  const candidates = new Map(['a', 'b', 'c'].map((identity) => [identity, election.join(identity, client)]));
  const delaysMs: number[] = [];
  for (;;) {
    const { identity } = await leading;
    if (election.intervals.length === candidates.size) break;
    await systemClock.sleep(2 * RETRY_MS, NEVER);
    leading = election.nextLeader();
    const leftMs = performance.now();
    await candidates.get(identity)?.leave();
    delaysMs.push((await leading).startMs - leftMs);
  }

  expect(Math.max(...delaysMs)).toBeLessThan(2_000);
  expectOneAtATime(election.intervals);
  expect(new Set(election.intervals.map(({ identity }) => identity))).toEqual(new Set(candidates.keys()));
  const lease = await getObject(client, LEASE, { namespace, name: 'storage-probe' }, NEVER);
  expect(lease).toMatchObject({ spec: { leaseTransitions: 2 } });
});

it('needs no more rights than the operator has', async () => {
  const client = connectTo(kube.operatorKubeconfigFile);
  const election = startElection('storage-probe', uniqueName('lease'));
  const first = election.nextLeader();
  const a = election.join('a', client);
  await first;
  const b = election.join('b', client);
  await systemClock.sleep(2 * RETRY_MS, NEVER);
  const next = election.nextLeader();
  await a.leave();
  await next;
  expect([...a.warnings, ...b.warnings]).toEqual([]);
});
