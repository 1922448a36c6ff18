import net from 'node:net';

import { describe, expect, it, onTestFinished } from 'vitest';

import { addressesOf, fakeResolver } from '../../test/support/fake-resolver.ts';
import { closedPort, serveHttp } from '../../test/support/http-server.ts';
import { systemClock } from '../clock/system-clock.ts';
import type { OpenSocket } from './dialer.ts';
import { LookupSlots } from './lookup-slots.ts';
import { NameResolver } from './name-resolver.ts';
import { networkFault } from './network-faults.ts';
import type { Resolver } from './resolver.ts';
import { type Exchange, Transport, TransportError } from './transport.ts';

const SINK = { write: () => true };
const REQUEST = { method: 'GET', path: '/', headers: {}, sinkFor: () => SINK };
const NEVER = new AbortController().signal;

interface Setting {
  readonly port: number;
  readonly resolver: Resolver;
  /** What happens at an address: an error code, or `swallows`. Others are the server on 127.0.0.1. */
  readonly network?: Readonly<Record<string, string>>;
}

function transportOf({ port, resolver, network = {} }: Setting): Transport {
  const openSocket: OpenSocket = ({ address }, toPort) => {
    const fate = network[address];
    if (fate === undefined) return net.connect({ host: '127.0.0.1', port: toPort });
    const socket = new net.Socket();
    if (fate === 'swallows') return socket;
    const error = Object.assign(new Error(`connect ${fate} ${address}:${toPort}`), { code: fate });
    setImmediate(() => socket.emit('error', error));
    return socket;
  };
  const transport = new Transport({
    endpoint: new URL(`http://my-minio:${port}`),
    secureContext: undefined,
    clock: systemClock,
    resolver,
    openSocket,
  });
  onTestFinished(() => {
    transport.close();
  });
  return transport;
}

function resolverTo(...addresses: string[]): NameResolver {
  const answer = { addresses: addressesOf(...addresses), ttlMs: 30_000 };
  return new NameResolver({ clock: systemClock, lookup: () => Promise.resolve(answer) });
}

async function failureOf(sending: Promise<Exchange>): Promise<ReturnType<typeof networkFault>> {
  const error = await sending.catch((failure: unknown) => failure);
  if (!(error instanceof TransportError)) throw new Error('the exchange did not fail', { cause: error });
  return networkFault(error, {
    host: 'my-minio:9000',
    hasResponded: false,
    hasClientCertificate: false,
    by: 'network',
  });
}

describe('several addresses', () => {
  it('are tried until one accepts, and each attempt is recorded', async () => {
    const server = await serveHttp((_request, response) => response.end());
    const resolver = resolverTo('fd00::1', '10.0.0.1', '10.0.0.2');
    const network = { 'fd00::1': 'ENETUNREACH', '10.0.0.1': 'swallows' };
    const transport = transportOf({ port: server.port, resolver, network });
    const exchange = await transport.send(REQUEST, NEVER);
    expect(exchange.attempts).toMatchObject([
      { address: 'fd00::1', outcome: 'ENETUNREACH' },
      { address: '10.0.0.1', outcome: 'abandoned' },
      { address: '10.0.0.2', outcome: 'connected' },
    ]);
    expect(exchange.phases.connectMs).toBeGreaterThan(240);
    expect(exchange.phases.connectMs).toBeLessThan(2_000);

    // The next connection starts with the family that worked.
    transport.close();
    const second = await transport.send(REQUEST, NEVER);
    expect(second.attempts?.[0]?.address).toBe('10.0.0.1');
  });

  it('are no attempts worth recording if the first one accepts', async () => {
    const server = await serveHttp((_request, response) => response.end());
    const exchange = await transportOf({
      port: server.port,
      resolver: resolverTo('10.0.0.1', '10.0.0.2'),
    }).send(REQUEST, NEVER);
    expect(exchange.attempts).toBeUndefined();
  });

  it.each([
    { network: { 'fd00::1': 'ENETUNREACH', '10.0.0.1': 'ECONNREFUSED' }, reason: 'ConnectionRefused' },
    { network: { 'fd00::1': 'ECONNREFUSED', '10.0.0.1': 'EHOSTUNREACH' }, reason: 'ConnectionRefused' },
    { network: { 'fd00::1': 'ENETUNREACH', '10.0.0.1': 'EHOSTUNREACH' }, reason: 'Unreachable' },
    { network: { 'fd00::1': 'ECONNREFUSED', '10.0.0.1': 'EMFILE' }, reason: 'ProberError' },
  ])('that all fail are reported as $reason: $network', async ({ network, reason }) => {
    const resolver = resolverTo('fd00::1', '10.0.0.1');
    const fault = await failureOf(transportOf({ port: 9_000, resolver, network }).send(REQUEST, NEVER));
    expect(fault.reason).toBe(reason);
    expect(fault.message).toBe(
      `connecting to my-minio:9000 failed: tried 2 addresses: fd00::1 ${network['fd00::1']}, 10.0.0.1 ${network['10.0.0.1']}`,
    );
  });

  it.each([
    {
      network: { 'fd00::1': 'swallows', '10.0.0.1': 'ECONNREFUSED' },
      reason: 'ConnectionRefused',
      message:
        'connecting to my-minio:9000 failed: tried 2 addresses: fd00::1 ETIMEDOUT, 10.0.0.1 ECONNREFUSED',
    },
    {
      network: { 'fd00::1': 'ENETUNREACH', '10.0.0.1': 'swallows' },
      reason: 'Timeout',
      message:
        'connecting to my-minio:9000 timed out: tried 2 addresses: fd00::1 ENETUNREACH, 10.0.0.1 ETIMEDOUT',
    },
  ])('that do not answer are reported as $reason: $network', async ({ network, reason, message }) => {
    const transport = transportOf({ port: 9_000, resolver: resolverTo('fd00::1', '10.0.0.1'), network });
    using deadline = systemClock.deadline(400);
    const fault = await failureOf(transport.send(REQUEST, deadline.signal));
    expect(fault).toMatchObject({ reason, message });
  });
});

describe('a cached name', () => {
  it('has no DNS phase', async () => {
    const server = await serveHttp((_request, response) => response.end());
    const transport = transportOf({ port: server.port, resolver: resolverTo('10.0.0.1') });
    const first = await transport.send(REQUEST, NEVER);
    transport.close();
    const second = await transport.send(REQUEST, NEVER);
    expect(Object.keys(first.phases)).toContain('dnsMs');
    expect(Object.keys(second.phases)).toEqual(['connectMs', 'sendMs', 'firstByteMs', 'bodyMs']);
  });

  it('is looked up again if its addresses fail', async () => {
    const server = await serveHttp((_request, response) => response.end());
    const answers = [addressesOf('10.0.0.1'), addressesOf('10.0.0.2')];
    let lookups = 0;
    const resolver = new NameResolver({
      clock: systemClock,
      lookup: () => Promise.resolve({ addresses: answers[lookups++] ?? [], ttlMs: 30_000 }),
    });
    const network: Record<string, string> = {};
    const transport = transportOf({ port: server.port, resolver, network });
    await transport.send(REQUEST, NEVER);
    transport.close();
    network['10.0.0.1'] = 'ECONNREFUSED';
    const exchange = await transport.send(REQUEST, NEVER);
    expect(exchange.attempts?.map(({ outcome }) => outcome)).toEqual(['ECONNREFUSED', 'connected']);
    expect(lookups).toBe(2);
  });
});

describe('waiting for other lookups', () => {
  it('is a phase of its own, and a timeout there is the fault of the prober', async () => {
    const hanging = new NameResolver({
      clock: systemClock,
      lookup: () => new Promise(() => undefined),
      slots: new LookupSlots({ max: 1, maxUnresponsive: 1 }),
    });
    void hanging.resolve('other', { signal: NEVER }).catch(() => undefined);
    using deadline = systemClock.deadline(20);
    const transport = transportOf({ port: 9_000, resolver: hanging });
    const fault = await failureOf(transport.send(REQUEST, deadline.signal));
    expect(fault).toMatchObject({
      reason: 'ProberError',
      message: 'waiting in the prober to resolve the host name of my-minio:9000 timed out',
    });
  });
});

it('one refused address is reported with the error of the system', async () => {
  const port = await closedPort();
  const resolver = fakeResolver(() => Promise.resolve(addressesOf('127.0.0.1')));
  const fault = await failureOf(transportOf({ port, resolver }).send(REQUEST, NEVER));
  expect(fault).toMatchObject({
    reason: 'ConnectionRefused',
    message: `connecting to my-minio:9000 failed: connect ECONNREFUSED 127.0.0.1:${port}`,
  });
});
