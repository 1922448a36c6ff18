import type { Condition } from '../api/conditions.ts';
import { type Reason, REASONS } from '../api/reasons.ts';

/** Content of an Event about a probe. */
export interface ProbeEvent {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly action: string;
  /** One line. Contains the trace ID if a run is the cause. */
  readonly note: string;
}

/** Returns the Events for a change in conditions. A new reason with the same status usually causes no Event. */
export function eventsOf(before: readonly Condition[], after: readonly Condition[]): ProbeEvent[] {
  return after.flatMap((condition) => {
    const previous = before.find(({ type }) => type === condition.type);
    return shouldReport(previous, condition) && !isCoveredByReady(condition, after)
      ? [eventOf(condition)]
      : [];
  });
}

/** If runs cannot start, Ready and Healthy have the same reason, and one Event is enough. */
function isCoveredByReady({ type, reason }: Condition, conditions: readonly Condition[]): boolean {
  return type === 'Healthy' && conditions.some((other) => other.type === 'Ready' && other.reason === reason);
}

function shouldReport(before: Condition | undefined, { type, status, reason }: Condition): boolean {
  // The user who applied a new probe needs no Event if the probe works.
  if (before === undefined) return status === 'False';
  const isSuspension = (reason === 'Suspended') !== (before.reason === 'Suspended');
  // A suspension always makes Healthy unknown, so the Event for Ready is enough.
  if (isSuspension) return type === 'Ready';
  if (before.status === status) return before.reason === 'NotYetRun' && isProberFailure(reason);
  return reason !== 'NotYetRun';
}

/** True for a failure of the prober itself. Until it is fixed, later runs give no verdict either. */
function isProberFailure(reason: string): boolean {
  return isRunReason(reason) && REASONS[reason].verdict === 'Unknown';
}

function isRunReason(reason: string): reason is Reason {
  return Object.hasOwn(REASONS, reason);
}

function eventOf({ type, status, reason, message }: Condition): ProbeEvent {
  const isWarning = status === 'False' || isRunReason(reason);
  return {
    type: isWarning ? 'Warning' : 'Normal',
    reason,
    action: type === 'Healthy' ? 'Probe' : 'Schedule',
    note: message,
  };
}
