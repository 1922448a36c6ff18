/** `metav1.MicroTime`: the API server takes six digits of the second, neither fewer nor more. */
export function microTime(epochMs: number): string {
  return new Date(epochMs).toISOString().replace('Z', '000Z');
}
