import type { LookupAddress } from 'node:dns';
import net from 'node:net';

import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';

import { addressesOf } from '../../test/support/fake-resolver.ts';
import { serveTcp } from '../../test/support/http-server.ts';
import type { ConnectionAttempt } from '../api/run.ts';
import { ManualClock } from '../clock/manual-clock.ts';
import { decisiveCode, dial, DialError, type DialOptions, describeAttempts, refusalAmong } from './dialer.ts';

const NEVER = new AbortController().signal;

/** Sockets whose fate the test decides. */
class FakeNetwork {
  readonly sockets = new Map<string, net.Socket>();

  readonly open = ({ address }: { readonly address: string }): net.Socket => {
    const socket = new net.Socket();
    this.sockets.set(address, socket);
    return socket;
  };

  get opened(): string[] {
    return [...this.sockets.keys()];
  }

  accept(address: string): void {
    this.sockets.get(address)?.emit('connect');
  }

  fail(address: string, code: string): void {
    this.sockets
      .get(address)
      ?.emit('error', Object.assign(new Error(`connect ${code} ${address}:9000`), { code }));
  }
}

function start(addresses: readonly string[], options: Partial<DialOptions> = {}) {
  const network = new FakeNetwork();
  const clock = new ManualClock();
  const attempts: ConnectionAttempt[] = [];
  const dialing = dial({
    addresses: addressesOf(...addresses),
    port: 9_000,
    clock,
    signal: NEVER,
    attempts,
    open: network.open,
    ...options,
  });
  dialing.catch(() => undefined);
  return { network, clock, attempts, dialing };
}

function lookUpBothFamilies(): Promise<LookupAddress[]> {
  return Promise.resolve(addressesOf('fd00::1', '10.0.0.1'));
}

function attemptWith(outcome: string): ConnectionAttempt {
  return { address: '10.0.0.1', durationMs: 1, outcome };
}

describe('a dial', () => {
  it('tries the next address after 250 ms, and closes the loser', async () => {
    const { network, clock, attempts, dialing } = start(['fd00::1', '10.0.0.1', '10.0.0.2']);
    expect(network.opened).toEqual(['fd00::1']);
    await clock.advance(249);
    expect(network.opened).toEqual(['fd00::1']);
    await clock.advance(1);
    expect(network.opened).toEqual(['fd00::1', '10.0.0.1']);
    await clock.advance(50);
    network.accept('10.0.0.1');
    expect((await dialing).address).toEqual({ address: '10.0.0.1', family: 4 });
    expect(attempts).toEqual([
      { address: 'fd00::1', outcome: 'abandoned', durationMs: 300 },
      { address: '10.0.0.1', outcome: 'connected', durationMs: 50 },
    ]);
    expect(network.sockets.get('fd00::1')?.destroyed).toBe(true);
    await clock.advance(1_000);
    expect(network.opened).toHaveLength(2);
    expect(clock.pendingTimers).toBe(0);
  });

  it('tries the next address at once after a failure', async () => {
    const { network, dialing } = start(['fd00::1', '10.0.0.1']);
    network.fail('fd00::1', 'ENETUNREACH');
    network.accept('10.0.0.1');
    expect((await dialing).address.address).toBe('10.0.0.1');
  });

  it('uses the first address if it answers late but first', async () => {
    const { network, clock, dialing } = start(['fd00::1', '10.0.0.1']);
    await clock.advance(300);
    network.accept('fd00::1');
    expect((await dialing).address.address).toBe('fd00::1');
    expect(network.sockets.get('10.0.0.1')?.destroyed).toBe(true);
  });

  it('fails with the error of the system if there is one address', async () => {
    const { network, dialing } = start(['10.0.0.1']);
    network.fail('10.0.0.1', 'ECONNREFUSED');
    await expect(dialing).rejects.toMatchObject({
      code: 'ECONNREFUSED',
      message: 'connect ECONNREFUSED 10.0.0.1:9000',
    });
  });

  it('names all attempts if there are several', async () => {
    const { network, dialing } = start(['fd00::1', '10.0.0.1']);
    network.fail('fd00::1', 'ENETUNREACH');
    network.fail('10.0.0.1', 'ECONNREFUSED');
    await expect(dialing).rejects.toMatchObject({
      code: 'ECONNREFUSED',
      message: 'tried 2 addresses: fd00::1 ENETUNREACH, 10.0.0.1 ECONNREFUSED',
    });
  });

  it('tries further addresses when all have failed', async () => {
    const { network, dialing } = start(['fd00::1'], { more: lookUpBothFamilies });
    network.fail('fd00::1', 'ENETUNREACH');
    await expect.poll(() => network.opened).toEqual(['fd00::1', '10.0.0.1']);
    network.accept('10.0.0.1');
    expect((await dialing).address.address).toBe('10.0.0.1');
  });

  it('reports the failed attempt if the lookup of further addresses fails', async () => {
    const { network, dialing } = start(['fd00::1'], { more: () => Promise.reject(new Error('no answer')) });
    network.fail('fd00::1', 'EHOSTUNREACH');
    await expect(dialing).rejects.toMatchObject({ code: 'EHOSTUNREACH' });
  });

  it('tries at most 16 addresses', async () => {
    const addresses = Array.from({ length: 40 }, (_, index) => `10.0.0.${index}`);
    const { network, dialing } = start(addresses);
    for (const address of addresses) network.fail(address, 'ECONNREFUSED');
    await expect(dialing).rejects.toThrow(
      'tried 16 addresses: 10.0.0.0 ECONNREFUSED, 10.0.0.1 ECONNREFUSED, 10.0.0.2 ECONNREFUSED, 10.0.0.3 ECONNREFUSED and 12 more',
    );
  });

  it.each([
    { name: 'a deadline', reason: new DOMException('late', 'TimeoutError'), outcome: 'ETIMEDOUT' },
    { name: 'a shutdown', reason: new Error('stop'), outcome: 'abandoned' },
  ])('closes all sockets after $name', async ({ reason, outcome }) => {
    const stop = new AbortController();
    const { network, clock, attempts, dialing } = start(['10.0.0.1', '10.0.0.2'], { signal: stop.signal });
    await clock.advance(250);
    stop.abort(reason);
    expect(attempts.map((attempt) => attempt.outcome)).toEqual([outcome, outcome]);
    await expect(dialing).rejects.toBe(reason);
    for (const socket of network.sockets.values()) expect(socket.destroyed).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });

  it('opens no socket if the signal has aborted', async () => {
    const { network, dialing } = start(['10.0.0.1'], { signal: AbortSignal.abort(new Error('stop')) });
    await expect(dialing).rejects.toThrow('stop');
    expect(network.opened).toEqual([]);
  });

  it('connects over TCP', async () => {
    const server = await serveTcp(() => undefined);
    const { dialing } = start(['127.0.0.9', '127.0.0.1'], { open: undefined, port: server.port });
    const { socket, address } = await dialing;
    onTestFinished(() => {
      socket.destroy();
    });
    expect(address.address).toBe('127.0.0.1');
    expect(socket.remoteAddress).toBe('127.0.0.1');
  });
});

describe('the decisive code', () => {
  it.each([
    { codes: ['ENETUNREACH', 'ECONNREFUSED'], want: 'ECONNREFUSED' },
    { codes: ['EADDRNOTAVAIL', 'EHOSTUNREACH'], want: 'EHOSTUNREACH' },
    { codes: ['EHOSTUNREACH', 'ETIMEDOUT'], want: 'ETIMEDOUT' },
    { codes: ['ETIMEDOUT', 'ECONNREFUSED'], want: 'ECONNREFUSED' },
    { codes: ['ECONNREFUSED', 'EMFILE'], want: 'EMFILE' },
  ])('of $codes is $want', ({ codes, want }) => {
    expect(decisiveCode(codes)).toBe(want);
    fc.assert(
      fc.property(fc.shuffledSubarray(codes, { minLength: codes.length }), (shuffled) => {
        expect(decisiveCode(shuffled)).toBe(want);
      }),
    );
  });
});

describe('a refusal among attempts', () => {
  it('counts more than addresses that do not answer', () => {
    const attempts = [attemptWith('ECONNREFUSED'), attemptWith('ETIMEDOUT')];
    expect(refusalAmong(attempts)).toBeInstanceOf(DialError);
    expect(refusalAmong(attempts)?.message).toBe(describeAttempts(attempts));
  });

  it('does not count after a connection', () => {
    expect(refusalAmong([attemptWith('ECONNREFUSED'), attemptWith('connected')])).toBeUndefined();
    expect(refusalAmong([attemptWith('ETIMEDOUT')])).toBeUndefined();
  });
});
