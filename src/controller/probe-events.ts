import type { Condition } from '../api/conditions.ts';
import { type Reason, REASONS } from '../api/reasons.ts';

/** What an Event tells of a probe. */
export interface ProbeEvent {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly action: string;
  /** One line; holds the trace id where a run is the cause. */
  readonly note: string;
}

/** The Events that a change of conditions is worth. A new reason of the same status is none. */
export function eventsOf(before: readonly Condition[], after: readonly Condition[]): ProbeEvent[] {
  return after.flatMap((condition) => {
    const earlier = before.find(({ type }) => type === condition.type);
    return isWorthTelling(earlier, condition) && !isToldOfReady(condition, after) ? [eventOf(condition)] : [];
  });
}

/** What keeps runs from starting makes Healthy unknown, and is worth one Event. */
function isToldOfReady({ type, reason }: Condition, conditions: readonly Condition[]): boolean {
  return type === 'Healthy' && conditions.some((other) => other.type === 'Ready' && other.reason === reason);
}

function isWorthTelling(before: Condition | undefined, { type, status, reason }: Condition): boolean {
  // That a probe is new and in order is no news to who applied it.
  if (before === undefined) return status === 'False';
  const isSuspension = (reason === 'Suspended') !== (before.reason === 'Suspended');
  // Ready tells of a suspension; that Healthy is then unknown goes without saying.
  if (isSuspension) return type === 'Ready';
  if (before.status === status) return before.reason === 'NotYetRun' && isProberTrouble(reason);
  return reason !== 'NotYetRun';
}

/** What keeps the prober from ever telling: no later run is going to say it. */
function isProberTrouble(reason: string): boolean {
  return isReason(reason) && REASONS[reason].verdict === 'Unknown';
}

function isReason(reason: string): reason is Reason {
  return Object.hasOwn(REASONS, reason);
}

function eventOf({ type, status, reason, message }: Condition): ProbeEvent {
  const isTrouble = status === 'False' || isReason(reason);
  return {
    type: isTrouble ? 'Warning' : 'Normal',
    reason,
    action: type === 'Healthy' ? 'Probe' : 'Schedule',
    note: message,
  };
}
