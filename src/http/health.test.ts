import { expect, it } from 'vitest';

import { ManualClock } from '../clock/manual-clock.ts';
import { doneCheck, eventLoopCheck, type HealthCheck, healthHandler, progressCheck } from './health.ts';

const GOOD: HealthCheck = { name: 'cache', check: () => undefined };
const BAD: HealthCheck = { name: 'scheduler', check: () => 'no progress for 61 s' };

it.each([
  { name: 'says ok', checks: [GOOD], query: '', status: 200, body: 'ok' },
  { name: 'says ok without checks', checks: [], query: '', status: 200, body: 'ok' },
  {
    name: 'lists its checks when asked to',
    checks: [GOOD],
    query: 'verbose',
    status: 200,
    body: '[+]cache ok\nreadyz check passed\n',
  },
  {
    name: 'lists its checks when one fails',
    checks: [GOOD, BAD],
    query: '',
    status: 500,
    body: '[+]cache ok\n[-]scheduler failed: no progress for 61 s\nreadyz check failed\n',
  },
])('$name', ({ checks, query, status, body }) => {
  const answer = healthHandler('readyz', checks)({ query: new URLSearchParams(query), accept: undefined });
  expect(answer).toMatchObject({ status, body });
});

it('progressCheck fails when a loop stands still, and not while none has to turn', async () => {
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

it('eventLoopCheck tells of a hold-up once', () => {
  const delay = {
    max: 0,
    reset: () => {
      delay.max = 0;
    },
  };
  const { check } = eventLoopCheck({ delay, maxDelayMs: 10_000 });
  expect(check()).toBeUndefined();
  delay.max = 12e9;
  expect(check()).toBe('was held up for 12 s');
  expect(check()).toBeUndefined();
});

it('doneCheck waits', () => {
  let done = false;
  const { check } = doneCheck('cache', () => done);
  expect(check()).toBe('not yet');
  done = true;
  expect(check()).toBeUndefined();
});
