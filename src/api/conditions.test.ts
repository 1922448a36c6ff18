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
  it('adds a new condition', () => {
    expect(setCondition([READY], FOUND, NOW)).toStrictEqual([READY, { ...FOUND, lastTransitionTime: NOW }]);
  });

  it('keeps lastTransitionTime if only other fields change', () => {
    const healthy = { ...FOUND, lastTransitionTime: BEFORE };
    const found: Finding = { ...FOUND, message: 'a failed once', observedGeneration: 3 };
    expect(setCondition([healthy, READY], found, NOW)).toStrictEqual([
      { ...found, lastTransitionTime: BEFORE },
      READY,
    ]);
  });

  it.each(['False', 'Unknown'] as const)('sets lastTransitionTime when the status becomes %s', (status) => {
    const healthy = { ...FOUND, lastTransitionTime: BEFORE };
    const found: Finding = { ...FOUND, status };
    expect(setCondition([healthy], found, NOW)).toStrictEqual([{ ...found, lastTransitionTime: NOW }]);
  });

  it('cuts a long message', () => {
    const [condition] = setCondition([], { ...FOUND, message: 'é'.repeat(40_000) }, NOW);
    expect(condition?.message).toBe('é'.repeat(1_024));
  });

  it('does not modify its input', () => {
    const conditions = Object.freeze([Object.freeze({ ...READY })]);
    expect(setCondition(conditions, { ...FOUND, type: 'Ready', status: 'False' }, NOW)).not.toBe(conditions);
    expect(conditions).toStrictEqual([READY]);
  });
});
