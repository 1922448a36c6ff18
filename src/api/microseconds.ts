/**
 * A duration as it is told: ms to the microsecond, without the noise of a subtraction. The record of a run keeps it all,
 * so that phases add up.
 */
export function toMicroseconds(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}
