/** True if a call was aborted by a deadline rather than by a shutdown. */
export function isTimeout(cause: unknown): boolean {
  return cause instanceof Error && cause.name === 'TimeoutError';
}
