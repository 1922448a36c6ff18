/**
 * Rounds milliseconds to whole microseconds for output, which removes floating-point noise. The record of a run keeps the
 * exact values, so that phases add up.
 */
export function toMicroseconds(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}
