import { describe, expect, it } from 'vitest';
import { type Condition, type Finding, setCondition } from './conditions.ts';

const BEFORE = '2026-01-01T00:00:00Z';
const NOW = '2026-01-02T00:00:00Z';

const READY: Condition = {
  type: 'Ready',
  status: 'True',
  reason: 'Scheduled',
  message: 'runs every 30s',
  observedGeneration: 1,
  lastTransitionTime: BEFORE,
};
const FOUND: Finding = {
  type: 'Healthy',
  status: 'True',
  reason: 'Passed',
  message: 'all targets passed',
  observedGeneration: 2,
};

describe('setCondition', () => {
  it('adds one that is new', () => {
    expect(setCondition([READY], FOUND, NOW)).toStrictEqual([READY, { ...FOUND, lastTransitionTime: NOW }]);
  });

  it('leaves the time alone while the status stays, whatever else changes', () => {
    const healthy = { ...FOUND, lastTransitionTime: BEFORE };
    const found: Finding = { ...FOUND, message: 'a failed once', observedGeneration: 3 };
    expect(setCondition([healthy, READY], found, NOW)).toStrictEqual([
      { ...found, lastTransitionTime: BEFORE },
      READY,
    ]);
  });

  it.each(['False', 'Unknown'] as const)('moves the time when the status becomes %s', (status) => {
    const healthy = { ...FOUND, lastTransitionTime: BEFORE };
    const found: Finding = { ...FOUND, status };
    expect(setCondition([healthy], found, NOW)).toStrictEqual([{ ...found, lastTransitionTime: NOW }]);
  });

  it('cuts a message of many targets', () => {
    const [condition] = setCondition([], { ...FOUND, message: 'é'.repeat(40_000) }, NOW);
    expect(condition?.message).toBe('é'.repeat(1_024));
  });

  it('leaves what it was given as it was', () => {
    const conditions = Object.freeze([Object.freeze({ ...READY })]);
    expect(setCondition(conditions, { ...FOUND, type: 'Ready', status: 'False' }, NOW)).not.toBe(conditions);
    expect(conditions).toStrictEqual([READY]);
  });
});
