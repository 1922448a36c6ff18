import { describe, expect, it } from 'vitest';

import { ManualClock } from '../clock/manual-clock.ts';
import { KubeError } from './kube-client.ts';
import { isUnanswered, Outage } from './outage.ts';

function kubeError(status: number, reason: string, retryAfterMs?: number): KubeError {
  return new KubeError('no', { status, reason, retryAfterMs });
}

function setUp(): { clock: ManualClock; outage: Outage } {
  const clock = new ManualClock();
  // The longest rests.
  return { clock, outage: new Outage({ clock, random: () => 1, maxMs: 5_000 }) };
}

const AWAY = kubeError(0, 'ConnectionFailed');

describe('isUnanswered', () => {
  it.each([
    AWAY,
    kubeError(0, 'Timeout'),
    kubeError(429, 'TooManyRequests'),
    kubeError(500, 'InternalError'),
    kubeError(503, 'ServiceUnavailable'),
    new DOMException('The time is up', 'TimeoutError'),
  ])('is true of %o', (error) => expect(isUnanswered(error)).toBe(true));

  it.each([
    kubeError(0, 'CredentialsFailed'),
    kubeError(200, 'InvalidAnswer'),
    kubeError(401, 'Unauthorized'),
    kubeError(403, 'Forbidden'),
    kubeError(404, 'NotFound'),
    kubeError(409, 'Conflict'),
    new TypeError('a mistake of ours'),
    'thrown',
  ])('is false of %o', (error) => expect(isUnanswered(error)).toBe(false));
});

describe('Outage', () => {
  it('is none before a request got no answer', () => {
    const { outage } = setUp();
    outage.observe(kubeError(404, 'NotFound'));
    expect(outage.restMs).toBe(0);
  });

  it('rests for longer each time, up to its limit, and from the start in the next outage', async () => {
    const { clock, outage } = setUp();
    const rests: number[] = [];
    for (let attempt = 0; attempt < 6; attempt += 1) {
      outage.observe(AWAY);
      rests.push(outage.restMs);
      await clock.advance(outage.restMs);
      expect(outage.restMs).toBe(0);
    }
    expect(rests).toEqual([500, 1_000, 2_000, 4_000, 5_000, 5_000]);
    await clock.advance(30_001);
    outage.observe(AWAY);
    expect(outage.restMs).toBe(500);
  });

  it('counts those that fail together once', async () => {
    const { clock, outage } = setUp();
    for (let request = 0; request < 10; request += 1) outage.observe(AWAY);
    await clock.advance(500);
    outage.observe(AWAY);
    expect(outage.restMs).toBe(1_000);
  });

  it('rests for as long as the server asks', () => {
    const { outage } = setUp();
    outage.observe(kubeError(429, 'TooManyRequests', 20_000));
    expect(outage.restMs).toBe(20_000);
  });
});
