import { randomBytes } from 'node:crypto';

/** A name for a probe, and so a bucket, that no other test has. At most 24 characters stand in the bucket's name. */
export function uniqueName(prefix: string): string {
  return `${prefix.slice(0, 13)}-${randomBytes(5).toString('hex')}`;
}
