import fc from 'fast-check';
import { expect, it } from 'vitest';

import { statusWithDetail } from '../../test/support/grpc-receiver.ts';
import { retryDelayMs } from './retry-info.ts';

const RETRY_INFO = 'google.rpc.RetryInfo';

it.each([
  { name: 'seconds and nanoseconds', duration: [0x08, 2, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01], want: 2_500 },
  { name: 'seconds in two bytes', duration: [0x08, 0xac, 0x02], want: 300_000 },
  { name: 'no duration', duration: [], want: 0 },
])('reads the delay of RetryInfo: $name', ({ duration, want }) => {
  expect(retryDelayMs(statusWithDetail(RETRY_INFO, [0x0a, duration.length, ...duration]))).toBe(want);
});

it('ignores other details', () => {
  expect(retryDelayMs(statusWithDetail('google.rpc.QuotaFailure', [0x0a, 2, 0x08, 2]))).toBeUndefined();
  expect(retryDelayMs(new Uint8Array())).toBeUndefined();
});

it('reads any bytes without an error, and never returns a negative delay', () => {
  const anyStatus = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.uint8Array({ maxLength: 30 }).map((bytes) => statusWithDetail(RETRY_INFO, [...bytes])),
  );
  fc.assert(
    fc.property(anyStatus, (status) => {
      expect(retryDelayMs(status) ?? 0).toBeGreaterThanOrEqual(0);
    }),
  );
});
