import { describe, expect, it } from 'vitest';

import { ManualClock } from '../clock/manual-clock.ts';
import { type KubeClient, KubeError } from '../kube/kube-client.ts';
import { KubeObjectReader } from './object-reader.ts';

const signal = new AbortController().signal;
const missing = new KubeError('secrets "keys" not found', { status: 404, reason: 'NotFound' });
const unreachable = new KubeError('connect ECONNREFUSED', { status: 0, reason: 'ConnectionFailed' });

/** No response until the request is aborted. */
const NO_RESPONSE = Symbol('no response');

/** A reader whose API server returns `answers` in order and then repeats the last one. */
function setUp(...answers: (string | Error | typeof NO_RESPONSE)[]): {
  clock: ManualClock;
  read: () => Promise<string>;
  requestCount: () => number;
} {
  const clock = new ManualClock();
  let requestCount = 0;
  const client: KubeClient = {
    request: <T>(_: unknown, given: AbortSignal) => {
      const answer = answers[Math.min(requestCount++, answers.length - 1)];
      if (answer === NO_RESPONSE) {
        return new Promise<T>((_resolve, reject) => {
          given.addEventListener('abort', () => reject(unreachable));
        });
      }
      return answer instanceof Error
        ? Promise.reject(answer)
        : Promise.resolve({ data: { key: btoa(String(answer)) } } as T);
    },
    stream: () => {
      throw new Error('unexpected watch');
    },
    close: () => Promise.resolve(),
  };
  const reader = new KubeObjectReader({ client, clock, random: () => 0.99 });
  return {
    clock,
    read: async () => {
      const { key } = await reader.read('Secret', { namespace: 'storage', name: 'keys' }, signal);
      return Buffer.from(key ?? []).toString();
    },
    requestCount: () => requestCount,
  };
}

describe('KubeObjectReader', () => {
  it('reads a Secret once for runs that start together, and again for the next run', async () => {
    const { requestCount, clock, read } = setUp('old', 'new');
    expect(await Promise.all([read(), read(), read()])).toEqual(['old', 'old', 'old']);
    expect(requestCount()).toBe(1);
    await clock.advance(1_000);
    expect(await read()).toBe('new');
  });

  it('reports a missing Secret, and reads it as soon as it exists', async () => {
    const { read } = setUp(missing, 'created');
    await expect(read()).rejects.toMatchObject({
      reason: 'SecretMissing',
      message: 'Secret storage/keys does not exist',
    });
    expect(await read()).toBe('created');
  });

  it('clears the cached Secret once it is deleted', async () => {
    const { clock, read } = setUp('old', missing, unreachable);
    await read();
    await clock.advance(1_000);
    await expect(read()).rejects.toMatchObject({ reason: 'SecretMissing' });
    await expect(read()).rejects.toMatchObject({ reason: 'ProberError' });
  });

  it('clears the cached Secret once reading it is forbidden', async () => {
    const { clock, read } = setUp('old', new KubeError('no', { status: 403, reason: 'Forbidden' }));
    await read();
    await clock.advance(1_000);
    await expect(read()).rejects.toMatchObject({
      reason: 'SecretMissing',
      message: 'Secret storage/keys cannot be read: the operator has no RBAC permission to get it',
    });
  });

  it('returns the cached Secret while the API server is unreachable', async () => {
    const { clock, read } = setUp('old', unreachable);
    await read();
    await clock.advance(60_000);
    expect(await read()).toBe('old');
  });

  it('falls back to the cached Secret after 250 ms without a response', async () => {
    const { clock, read } = setUp('old', NO_RESPONSE);
    await read();
    await clock.advance(1_000);
    const reading = read();
    await clock.advance(250);
    expect(await reading).toBe('old');
  });

  it.each<{ name: string; answer: Error | typeof NO_RESPONSE }>([
    { name: 'is unreachable', answer: unreachable },
    { name: 'does not respond', answer: NO_RESPONSE },
  ])('backs off while the API server $name, and notices soon when it recovers', async ({ answer }) => {
    const { requestCount, clock, read } = setUp('old', answer, answer, answer, 'new');
    await read();
    await clock.advance(60_000);
    for (let second = 0; second < 3; second += 1) {
      const reading = Promise.all([read(), read()]);
      await clock.advance(250);
      expect(await reading).toEqual(['old', 'old']);
      const countBefore = requestCount();
      expect(await read()).toBe('old');
      expect(requestCount()).toBe(countBefore);
      await clock.advance(6_000);
    }
    expect(requestCount()).toBe(4);
    expect(await read()).toBe('new');
  });

  it('fails after the time limit if nothing is cached and the API server does not respond', async () => {
    const { clock, read } = setUp(NO_RESPONSE);
    const [failure] = await Promise.all([read().catch((error: unknown) => error), clock.advance(5_000)]);
    expect(failure).toMatchObject({ reason: 'ProberError' });
    expect(clock.pendingTimers).toBe(0);
  });

  it('reads the texts and the bytes of a ConfigMap, which has the name of a Secret', async () => {
    const paths: string[] = [];
    const client: KubeClient = {
      request: <T>({ path }: { readonly path: string }) => {
        paths.push(path);
        return Promise.resolve({ data: { 'ca.crt': 'é' }, binaryData: { 'ca.der': btoa('b') } } as T);
      },
      stream: () => {
        throw new Error('unexpected watch');
      },
      close: () => Promise.resolve(),
    };
    const reader = new KubeObjectReader({ client, clock: new ManualClock(), random: () => 0.99 });
    const name = { namespace: 'storage', name: 'keys' };
    await reader.read('Secret', name, signal);
    expect(await reader.read('ConfigMap', name, signal)).toEqual({
      'ca.crt': Buffer.from('é'),
      'ca.der': Buffer.from('b'),
    });
    expect(paths).toEqual([
      '/api/v1/namespaces/storage/secrets/keys',
      '/api/v1/namespaces/storage/configmaps/keys',
    ]);
  });
});
