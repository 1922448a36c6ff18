import { describe, expect, it } from 'vitest';

import { ManualClock } from '../clock/manual-clock.ts';
import { type KubeClient, KubeError } from '../kube/kube-client.ts';
import { KubeSecretReader } from './secret-reader.ts';

const signal = new AbortController().signal;
const missing = new KubeError('secrets "keys" not found', { status: 404, reason: 'NotFound' });
const away = new KubeError('connect ECONNREFUSED', { status: 0, reason: 'ConnectionFailed' });

/** No answer until the request is given up. */
const SILENCE = Symbol('silence');

/** A reader over an API server that answers as `answers` say, one after the other, and the last for ever. */
function setUp(...answers: (string | Error | typeof SILENCE)[]): {
  clock: ManualClock;
  read: () => Promise<string | undefined>;
  asked: () => number;
} {
  const clock = new ManualClock();
  let asked = 0;
  const client: KubeClient = {
    request: <T>(_: unknown, given: AbortSignal) => {
      const answer = answers[Math.min(asked++, answers.length - 1)];
      if (answer === SILENCE) {
        return new Promise<T>((_resolve, reject) => {
          given.addEventListener('abort', () => reject(away));
        });
      }
      return answer instanceof Error
        ? Promise.reject(answer)
        : Promise.resolve({ data: { key: answer } } as T);
    },
    stream: () => {
      throw new Error('a Secret is not watched');
    },
    close: () => Promise.resolve(),
  };
  const reader = new KubeSecretReader({ client, clock, random: () => 0.99 });
  return {
    clock,
    read: async () => (await reader.read('storage', 'keys', signal))['key'],
    asked: () => asked,
  };
}

describe('KubeSecretReader', () => {
  it('asks once for runs that start together, and again for the next', async () => {
    const { asked, clock, read } = setUp('old', 'new');
    expect(await Promise.all([read(), read(), read()])).toEqual(['old', 'old', 'old']);
    expect(asked()).toBe(1);
    await clock.advance(1_000);
    expect(await read()).toBe('new');
  });

  it('says that a Secret is missing, and finds it as soon as it is there', async () => {
    const { read } = setUp(missing, 'made');
    await expect(read()).rejects.toMatchObject({
      reason: 'SecretMissing',
      message: 'Secret storage/keys is not there',
    });
    expect(await read()).toBe('made');
  });

  it('forgets what a Secret held once it is removed', async () => {
    const { clock, read } = setUp('old', missing, away);
    await read();
    await clock.advance(1_000);
    await expect(read()).rejects.toMatchObject({ reason: 'SecretMissing' });
    await expect(read()).rejects.toMatchObject({ reason: 'ProberError' });
  });

  it('does so, too, when it may not read it any more', async () => {
    const { clock, read } = setUp('old', new KubeError('no', { status: 403, reason: 'Forbidden' }));
    await read();
    await clock.advance(1_000);
    await expect(read()).rejects.toMatchObject({
      reason: 'SecretMissing',
      message: 'Secret storage/keys may not be read by the operator',
    });
  });

  it('goes on with what it read last while the API server is away', async () => {
    const { clock, read } = setUp('old', away);
    await read();
    await clock.advance(60_000);
    expect(await read()).toBe('old');
  });

  it('waits for a silent API server only for a moment where it can help itself', async () => {
    const { clock, read } = setUp('old', SILENCE);
    await read();
    await clock.advance(1_000);
    const reading = read();
    await clock.advance(250);
    expect(await reading).toBe('old');
  });

  it.each<{ name: string; answer: Error | typeof SILENCE }>([
    { name: 'away', answer: away },
    { name: 'silent', answer: SILENCE },
  ])('asks a server that is $name only now and then, and sees soon that it is back', async ({ answer }) => {
    const { asked, clock, read } = setUp('old', answer, answer, answer, 'new');
    await read();
    await clock.advance(60_000);
    for (let second = 0; second < 3; second += 1) {
      const reading = Promise.all([read(), read()]);
      await clock.advance(250);
      expect(await reading).toEqual(['old', 'old']);
      const askedBefore = asked();
      expect(await read()).toBe('old');
      expect(asked()).toBe(askedBefore);
      await clock.advance(6_000);
    }
    expect(asked()).toBe(4);
    expect(await read()).toBe('new');
  });

  it('gives up on a silent API server where it cannot', async () => {
    const { clock, read } = setUp(SILENCE);
    const [failure] = await Promise.all([read().catch((error: unknown) => error), clock.advance(5_000)]);
    expect(failure).toMatchObject({ reason: 'ProberError' });
    expect(clock.waiting).toBe(0);
  });
});
