import { describe, expect, it } from 'vitest';

import type { Condition } from '../api/conditions.ts';
import { eventsOf } from './probe-events.ts';

function condition(type: string, status: Condition['status'], reason: string): Condition {
  return {
    type,
    status,
    reason,
    message: `Message of ${reason}.`,
    lastTransitionTime: '2026-11-22T12:00:00.000Z',
  };
}

const ready = condition('Ready', 'True', 'Scheduled');
const suspended = condition('Ready', 'True', 'Suspended');
const notYetRun = condition('Healthy', 'Unknown', 'NotYetRun');
const healthy = condition('Healthy', 'True', 'Passed');
const unhealthy = condition('Healthy', 'False', 'Timeout');

describe('Events for changed conditions', () => {
  it.each<{ name: string; before: Condition[]; after: Condition[]; want: string[] }>([
    { name: 'a new probe without problems', before: [], after: [ready, notYetRun], want: [] },
    {
      name: 'a new probe without its Secret',
      before: [],
      after: [condition('Ready', 'False', 'SecretMissing'), condition('Healthy', 'Unknown', 'SecretMissing')],
      want: ['Warning Schedule SecretMissing'],
    },
    {
      name: 'its Secret is deleted',
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
    { name: 'no change', before: [ready, healthy], after: [ready, healthy], want: [] },
    {
      name: 'it becomes unhealthy',
      before: [ready, healthy],
      after: [ready, unhealthy],
      want: ['Warning Probe Timeout'],
    },
    {
      name: 'it stays unhealthy for another reason',
      before: [ready, unhealthy],
      after: [ready, condition('Healthy', 'False', 'DNSFailed')],
      want: [],
    },
    {
      name: 'it recovers',
      before: [ready, unhealthy],
      after: [ready, healthy],
      want: ['Normal Probe Passed'],
    },
    {
      name: 'its health becomes unknown because of the prober',
      before: [ready, healthy],
      after: [ready, condition('Healthy', 'Unknown', 'AddressNotAllowed')],
      want: ['Warning Probe AddressNotAllowed'],
    },
    {
      name: 'its health stays unknown because of the prober',
      before: [ready, notYetRun],
      after: [ready, condition('Healthy', 'Unknown', 'AddressNotAllowed')],
      want: ['Warning Probe AddressNotAllowed'],
    },
    {
      name: 'the first run fails, below the failure threshold',
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
      name: 'a target is added',
      before: [ready, healthy],
      after: [ready, notYetRun],
      want: [],
    },
  ])('$name', ({ before, after, want }) => {
    expect(eventsOf(before, after).map(({ type, action, reason }) => `${type} ${action} ${reason}`)).toEqual(
      want,
    );
  });

  it('contain the message of the condition', () => {
    expect(eventsOf([ready, healthy], [ready, unhealthy])[0]?.note).toBe('Message of Timeout.');
  });
});
