import { describe, expect, it } from 'vitest';

import type { Condition } from '../api/conditions.ts';
import { eventsOf } from './probe-events.ts';

function condition(type: string, status: Condition['status'], reason: string): Condition {
  return { type, status, reason, message: `${reason} it is`, lastTransitionTime: '2026-11-22T12:00:00.000Z' };
}

const ready = condition('Ready', 'True', 'Scheduled');
const suspended = condition('Ready', 'True', 'Suspended');
const notYetRun = condition('Healthy', 'Unknown', 'NotYetRun');
const healthy = condition('Healthy', 'True', 'Passed');
const unhealthy = condition('Healthy', 'False', 'Timeout');

describe('events of a change of conditions', () => {
  it.each<{ name: string; before: Condition[]; after: Condition[]; want: string[] }>([
    { name: 'a new probe in order', before: [], after: [ready, notYetRun], want: [] },
    {
      name: 'a new probe without its Secret',
      before: [],
      after: [condition('Ready', 'False', 'SecretMissing'), condition('Healthy', 'Unknown', 'SecretMissing')],
      want: ['Warning Schedule SecretMissing'],
    },
    {
      name: 'its Secret is gone',
      before: [ready, healthy],
      after: [condition('Ready', 'False', 'SecretMissing'), condition('Healthy', 'Unknown', 'SecretMissing')],
      want: ['Warning Schedule SecretMissing'],
    },
    {
      name: 'the first run passed',
      before: [ready, notYetRun],
      after: [ready, healthy],
      want: ['Normal Probe Passed'],
    },
    { name: 'nothing', before: [ready, healthy], after: [ready, healthy], want: [] },
    {
      name: 'it fails',
      before: [ready, healthy],
      after: [ready, unhealthy],
      want: ['Warning Probe Timeout'],
    },
    {
      name: 'it fails for another reason',
      before: [ready, unhealthy],
      after: [ready, condition('Healthy', 'False', 'DNSFailed')],
      want: [],
    },
    {
      name: 'it is back',
      before: [ready, unhealthy],
      after: [ready, healthy],
      want: ['Normal Probe Passed'],
    },
    {
      name: 'it cannot tell any more',
      before: [ready, healthy],
      after: [ready, condition('Healthy', 'Unknown', 'AddressNotAllowed')],
      want: ['Warning Probe AddressNotAllowed'],
    },
    {
      name: 'it never could tell',
      before: [ready, notYetRun],
      after: [ready, condition('Healthy', 'Unknown', 'AddressNotAllowed')],
      want: ['Warning Probe AddressNotAllowed'],
    },
    {
      name: 'the first run fails, and others are to follow',
      before: [ready, notYetRun],
      after: [ready, condition('Healthy', 'Unknown', 'Timeout')],
      want: [],
    },
    {
      name: 'it is suspended',
      before: [ready, healthy],
      after: [suspended, condition('Healthy', 'Unknown', 'Suspended')],
      want: ['Normal Schedule Suspended'],
    },
    {
      name: 'it is resumed',
      before: [suspended, condition('Healthy', 'Unknown', 'Suspended')],
      after: [ready, notYetRun],
      want: ['Normal Schedule Scheduled'],
    },
    {
      name: 'a target is new',
      before: [ready, healthy],
      after: [ready, notYetRun],
      want: [],
    },
  ])('$name', ({ before, after, want }) => {
    expect(eventsOf(before, after).map(({ type, action, reason }) => `${type} ${action} ${reason}`)).toEqual(
      want,
    );
  });

  it('tell what the condition tells', () => {
    expect(eventsOf([ready, healthy], [ready, unhealthy])[0]?.note).toBe('Timeout it is');
  });
});
