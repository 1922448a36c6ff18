import { randomBytes } from 'node:crypto';

/** Returns a unique probe name of at most 24 characters, the maximum that fits into the bucket's name. */
export function uniqueName(prefix: string): string {
  return `${prefix.slice(0, 13)}-${randomBytes(5).toString('hex')}`;
}
