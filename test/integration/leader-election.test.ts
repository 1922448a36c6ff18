import { KubeConfig } from '@kubernetes/client-node';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { expect, inject, it, onTestFinished } from 'vitest';

import { systemClock } from '../../src/clock/system-clock.ts';
import { HttpKubeClient } from '../../src/kube/http-kube-client.ts';
import type { KubeClient } from '../../src/kube/kube-client.ts';
import { LeaderElector } from '../../src/kube/leader-elector.ts';
import { LEASE } from '../../src/kube/lease.ts';
import { getObject } from '../../src/kube/resources.ts';
import { uniqueName } from '../support/unique-name.ts';
import { connectTo, createNamespace, NEVER } from './kube.ts';

const { kube } = inject('servers');
const LEASE_MS = 3_000;
const RENEW_MS = 2_000;
const RETRY_MS = 500;
/** Margin for a busy machine. */
const MARGIN_MS = 1_000;

/** A period during which a candidate led. */
interface Term {
  readonly identity: string;
  readonly startMs: number;
  endMs: number;
}

interface Candidate {
  readonly elector: LeaderElector;
  readonly warnings: string[];
  /** Releases the Lease if held. Resolves when the candidate has stopped. */
  leave(): Promise<void>;
}

interface Election {
  /** Terms of all candidates, in order of their start. */
  readonly terms: Term[];
  /** Resolves when the next term starts. */
  nextTerm(): Promise<Term>;
  join(identity: string, client: KubeClient): Candidate;
}

function startElection(namespace: string, name: string): Election {
  const terms: Term[] = [];
  let next = Promise.withResolvers<Term>();
  function join(identity: string, client: KubeClient): Candidate {
    const warnings: string[] = [];
    const warn = (fields: object, message: string): number =>
      warnings.push(`${message}: ${JSON.stringify(fields)}`);
    const log = { debug: () => undefined, info: () => undefined, warn, error: warn };
    const durations = { leaseDurationMs: LEASE_MS, renewDeadlineMs: RENEW_MS, retryPeriodMs: RETRY_MS };
    const elector = new LeaderElector({
      client,
      clock: systemClock,
      random: Math.random,
      log,
      namespace,
      name,
      identity,
      ...durations,
    });
    async function lead(signal: AbortSignal): Promise<void> {
      const term = { identity, startMs: performance.now(), endMs: Infinity };
      terms.push(term);
      next.resolve(term);
      next = Promise.withResolvers();
      if (!signal.aborted) await once(signal, 'abort');
      term.endMs = performance.now();
    }
    const stop = new AbortController();
    const stopped = elector.run(lead, stop.signal);
    async function leave(): Promise<void> {
      stop.abort();
      await stopped;
    }
    onTestFinished(leave);
    return { elector, warnings, leave };
  }
  return { terms, join, nextTerm: () => next.promise };
}

function expectNoOverlap(terms: readonly Term[]): void {
  const overlaps = terms.flatMap((term, index) =>
    terms.slice(index + 1).filter(({ startMs, endMs }) => startMs < term.endMs && term.startMs < endMs),
  );
  expect(overlaps).toEqual([]);
}

/** One client's connection to the API server, which a test can break. */
interface BreakableConnection {
  readonly client: KubeClient;
  /** Drops all traffic but keeps the sockets open, like a network outage. */
  freeze(): void;
  /** Closes the sockets, like a crash of the process or its machine. */
  close(): void;
}

async function openBreakableConnection(): Promise<BreakableConnection> {
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
  const close = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  onTestFinished(async () => {
    await client.close();
    close();
  });
  return {
    client,
    close,
    freeze: () => {
      isFrozen = true;
      for (const socket of sockets) socket.unpipe().pause();
    },
  };
}

it.each(['close', 'freeze'] as const)(
  "a standby leads once the lost leader's Lease has expired: %s",
  async (fault) => {
    const client = connectTo(kube.kubeconfigFile);
    const election = startElection(await createNamespace(client, 'election'), 'storage-probe');
    const connection = await openBreakableConnection();
    const a = election.join('a', connection.client);
    const termOfA = await election.nextTerm();
    const b = election.join('b', client);
    // Long enough for the leader to renew and the standby to start watching.
    await systemClock.sleep(2 * RETRY_MS, NEVER);

    const lostMs = performance.now();
    const nextTerm = election.nextTerm();
    connection[fault]();
    const termOfB = await nextTerm;
    connection.close();

    expect(termOfB.identity).toBe('b');
    expect(a.elector.isLeader).toBe(false);
    expectNoOverlap(election.terms);
    expect(termOfA.endMs - lostMs).toBeLessThan(RENEW_MS + MARGIN_MS);
    // The lease duration starts with the last renewal, which was sent up to one retry period earlier.
    expect(termOfB.startMs - lostMs).toBeGreaterThan(LEASE_MS - RETRY_MS - MARGIN_MS);
    expect(termOfB.startMs - lostMs).toBeLessThan(LEASE_MS + RETRY_MS + MARGIN_MS);
    expect(b.warnings).toEqual([]);
  },
);

it('a standby leads at once when the leader leaves', async () => {
  const client = connectTo(kube.kubeconfigFile);
  const namespace = await createNamespace(client, 'election');
  const election = startElection(namespace, 'storage-probe');
  let nextTerm = election.nextTerm();
  const candidates = new Map(['a', 'b', 'c'].map((identity) => [identity, election.join(identity, client)]));
  const delaysMs: number[] = [];
  for (;;) {
    const { identity } = await nextTerm;
    if (election.terms.length === candidates.size) break;
    await systemClock.sleep(2 * RETRY_MS, NEVER);
    nextTerm = election.nextTerm();
    const leftMs = performance.now();
    await candidates.get(identity)?.leave();
    delaysMs.push((await nextTerm).startMs - leftMs);
  }

  expect(Math.max(...delaysMs)).toBeLessThan(2_000);
  expectNoOverlap(election.terms);
  expect(new Set(election.terms.map(({ identity }) => identity))).toEqual(new Set(candidates.keys()));
  const lease = await getObject(client, LEASE, { namespace, name: 'storage-probe' }, NEVER);
  expect(lease).toMatchObject({ spec: { leaseTransitions: 2 } });
});

it('needs no rights beyond those of the operator', async () => {
  const client = connectTo(kube.operatorKubeconfigFile);
  const election = startElection('storage-probe', uniqueName('lease'));
  const firstTerm = election.nextTerm();
  const a = election.join('a', client);
  await firstTerm;
  const b = election.join('b', client);
  await systemClock.sleep(2 * RETRY_MS, NEVER);
  const secondTerm = election.nextTerm();
  await a.leave();
  await secondTerm;
  expect([...a.warnings, ...b.warnings]).toEqual([]);
});
