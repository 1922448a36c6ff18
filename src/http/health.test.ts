import { expect, it } from 'vitest';

import { ManualClock } from '../clock/manual-clock.ts';
import { readyCheck, eventLoopCheck, type HealthCheck, healthHandler, progressCheck } from './health.ts';

const PASSING: HealthCheck = { name: 'cache', check: () => undefined };
const FAILING: HealthCheck = { name: 'scheduler', check: () => 'no progress for 61 s' };

it.each([
  { name: 'returns ok', checks: [PASSING], query: '', status: 200, body: 'ok' },
  { name: 'returns ok without checks', checks: [], query: '', status: 200, body: 'ok' },
  {
    name: 'lists its checks with ?verbose',
    checks: [PASSING],
    query: 'verbose',
    status: 200,
    body: '[+]cache ok\nreadyz check passed\n',
  },
  {
    name: 'lists its checks if one fails',
    checks: [PASSING, FAILING],
    query: '',
    status: 500,
    body: '[+]cache ok\n[-]scheduler failed: no progress for 61 s\nreadyz check failed\n',
  },
])('$name', ({ checks, query, status, body }) => {
  const response = healthHandler('readyz', checks)({ query: new URLSearchParams(query), accept: undefined });
  expect(response).toMatchObject({ status, body });
});

it('progressCheck fails without progress, unless none is expected', async () => {
  const clock = new ManualClock();
  let lastProgressMs: number | undefined;
  const { check } = progressCheck('scheduler', {
    clock,
    lastProgressMs: () => lastProgressMs,
    maxAgeMs: 60_000,
  });
  expect(check()).toBeUndefined();
  lastProgressMs = clock.monotonicMs();
  await clock.advance(60_000);
  expect(check()).toBeUndefined();
  await clock.advance(1_000);
  expect(check()).toBe('no progress for 61 s');
  lastProgressMs = clock.monotonicMs();
  expect(check()).toBeUndefined();
});

it('eventLoopCheck reports each delay once', () => {
  const delay = {
    max: 0,
    reset: () => {
      delay.max = 0;
    },
  };
  const { check } = eventLoopCheck({ delay, maxDelayMs: 10_000 });
  expect(check()).toBeUndefined();
  delay.max = 12e9;
  expect(check()).toBe('blocked for 12 s');
  expect(check()).toBeUndefined();
});

it('readyCheck fails until ready', () => {
  let ready = false;
  const { check } = readyCheck('cache', () => ready);
  expect(check()).toBe('not ready');
  ready = true;
  expect(check()).toBeUndefined();
});
