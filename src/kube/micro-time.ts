/** Formats a `metav1.MicroTime`. The API server accepts exactly six fractional digits. */
export function microTime(epochMs: number): string {
  return new Date(epochMs).toISOString().replace('Z', '000Z');
}
