import { describe, expect, it } from 'vitest';

import { ManualClock } from '../clock/manual-clock.ts';
import { KubeError } from './kube-client.ts';
import { isUnavailable, OutageBackoff } from './outage-backoff.ts';

function kubeError(status: number, reason: string, retryAfterMs?: number): KubeError {
  return new KubeError('no', { status, reason, retryAfterMs });
}

function setUp(): { clock: ManualClock; outage: OutageBackoff } {
  const clock = new ManualClock();
  // No jitter.
  return { clock, outage: new OutageBackoff({ clock, random: () => 1, maxMs: 5_000 }) };
}

const UNREACHABLE = kubeError(0, 'ConnectionFailed');

describe('isUnavailable', () => {
  it.each([
    UNREACHABLE,
    kubeError(0, 'Timeout'),
    kubeError(429, 'TooManyRequests'),
    kubeError(500, 'InternalError'),
    kubeError(503, 'ServiceUnavailable'),
    new DOMException('Deadline exceeded', 'TimeoutError'),
  ])('is true for %o', (error) => expect(isUnavailable(error)).toBe(true));

  it.each([
    kubeError(0, 'CredentialsFailed'),
    kubeError(200, 'InvalidAnswer'),
    kubeError(401, 'Unauthorized'),
    kubeError(403, 'Forbidden'),
    kubeError(404, 'NotFound'),
    kubeError(409, 'Conflict'),
    new TypeError('a bug'),
    'thrown',
  ])('is false for %o', (error) => expect(isUnavailable(error)).toBe(false));
});

describe('OutageBackoff', () => {
  it('does not back off after an error response', () => {
    const { outage } = setUp();
    outage.recordError(kubeError(404, 'NotFound'));
    expect(outage.remainingMs).toBe(0);
  });

  it('doubles the backoff up to its limit, and starts over in the next outage', async () => {
    const { clock, outage } = setUp();
    const delaysMs: number[] = [];
    for (let attempt = 0; attempt < 6; attempt += 1) {
      outage.recordError(UNREACHABLE);
      delaysMs.push(outage.remainingMs);
      await clock.advance(outage.remainingMs);
      expect(outage.remainingMs).toBe(0);
    }
    expect(delaysMs).toEqual([500, 1_000, 2_000, 4_000, 5_000, 5_000]);
    await clock.advance(30_001);
    outage.recordError(UNREACHABLE);
    expect(outage.remainingMs).toBe(500);
  });

  it('counts requests that fail together as one failure', async () => {
    const { clock, outage } = setUp();
    for (let request = 0; request < 10; request += 1) outage.recordError(UNREACHABLE);
    await clock.advance(500);
    outage.recordError(UNREACHABLE);
    expect(outage.remainingMs).toBe(1_000);
  });

  it('waits for the Retry-After that the server sent', () => {
    const { outage } = setUp();
    outage.recordError(kubeError(429, 'TooManyRequests', 20_000));
    expect(outage.remainingMs).toBe(20_000);
  });
});
