import { describe, expect, it } from 'vitest';

import { STORE_ERROR_CODES } from '../../test/support/store-error-codes.ts';
import { REASONS } from '../api/reasons.ts';
import { reasonOfS3Code, s3CodesOf } from './s3-codes.ts';

describe.each(Object.entries(STORE_ERROR_CODES))('%s', (_store, codes) => {
  it('has a reason for every error code', () => {
    expect(codes.filter((code) => reasonOfS3Code(code) === undefined)).toEqual([]);
    expect(codes.filter((code) => reasonOfS3Code(code) === 'RequestRejected')).toEqual([]);
  });
});

it('lists no code under two reasons', () => {
  const codes = (Object.keys(REASONS) as (keyof typeof REASONS)[]).flatMap(s3CodesOf);
  expect(codes.length).toBeGreaterThan(300);
  expect(new Set(codes).size).toBe(codes.length);
});

it.each(['SomethingNew', 'constructor', '__proto__'])('has no reason for the unknown code %s', (code) => {
  expect(reasonOfS3Code(code)).toBeUndefined();
});
