import fc from 'fast-check';
import { signV4 } from 'minio/dist/esm/signing.mjs';
import { describe, expect, it } from 'vitest';

import type { Credentials } from '../api/run.ts';
import { EMPTY_SHA256, sha256Hex, Signer, type UnsignedRequest } from './signer.ts';

const NOON = Date.UTC(2026, 10, 22, 12);
const DAY_MS = 86_400_000;
const CREDENTIALS: Credentials = { accessKey: 'AKIAIOSFODNN7EXAMPLE', secretKey: 'wJalrXUtnFEMI/K7MDENG' };
const REQUEST: UnsignedRequest = {
  method: 'GET',
  host: 'my-minio:9000',
  path: '/bucket/key',
  query: '',
  payloadSha256: EMPTY_SHA256,
};

/** Returns the `authorization` header that minio's own code creates for the same request. */
function signedByMinio(
  { method, host, path, query, payloadSha256 }: UnsignedRequest,
  { accessKey, secretKey, sessionToken }: Credentials,
  region: string,
  nowMs: number,
): string {
  const headers = {
    host,
    'x-amz-content-sha256': payloadSha256,
    'x-amz-date': new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d+/g, ''),
    ...(sessionToken !== undefined && { 'x-amz-security-token': sessionToken }),
  };
  const request = { method, path: query === '' ? path : `${path}?${query}`, headers };
  return signV4(request as never, accessKey, secretKey, region, new Date(nowMs), payloadSha256);
}

const token = fc.stringMatching(/^[\w+/=.-]{1,80}$/);
const segment = fc.string({ unit: 'binary', minLength: 1, maxLength: 30 }).map(encode);
/** Query parameters with S3 names or random letters as names. */
const queryPair = fc.tuple(
  fc.oneof(
    fc.constantFrom('list-type', 'max-keys', 'prefix', 'uploadId', 'partNumber', 'versionId', 'location'),
    fc.stringMatching(/^[A-Za-z]{1,8}$/),
  ),
  fc.option(segment, { nil: undefined }),
);

/** Percent-encodes text as S3 requires. */
function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

const request = fc.record({
  method: fc.constantFrom('GET', 'HEAD', 'PUT', 'DELETE', 'POST'),
  host: fc.constantFrom('my-minio', 'my-minio:9000', '10.0.0.1:9000', '[::1]:9000', 's3.example.com'),
  path: fc.array(segment, { maxLength: 5 }).map((segments) => `/${segments.join('/')}`),
  query: fc
    .uniqueArray(queryPair, { maxLength: 5, selector: ([name]) => name })
    .map((pairs) =>
      pairs.map(([name, value]) => (value === undefined ? name : `${name}=${value}`)).join('&'),
    ),
  payloadSha256: fc.oneof(
    fc.constant('UNSIGNED-PAYLOAD'),
    fc.string({ unit: 'binary' }).map((body) => sha256Hex(body)),
  ),
});

const credentials = fc
  .tuple(token, fc.string({ unit: 'grapheme', minLength: 1 }), fc.option(token, { nil: undefined }))
  .map(([accessKey, secretKey, sessionToken]) => ({
    accessKey,
    secretKey,
    ...(sessionToken !== undefined && { sessionToken }),
  }));

const region = fc.constantFrom('us-east-1', 'eu-central-1', 'my-own', '');
const time = fc.integer({ min: 0, max: Date.UTC(2099, 11, 31) });

it("creates the same signature as minio's client", () => {
  fc.assert(
    fc.property(request, credentials, region, time, (unsigned, keys, place, nowMs) => {
      const { authorization } = new Signer(keys, place).sign(unsigned, nowMs);
      expect(authorization).toBe(signedByMinio(unsigned, keys, place, nowMs));
    }),
  );
});

describe('the daily signing key', () => {
  it('is correct when requests are signed on different days', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -3 * DAY_MS, max: 3 * DAY_MS })), (offsets) => {
        const signer = new Signer(CREDENTIALS, 'us-east-1');
        for (const offset of offsets) {
          expect(signer.sign(REQUEST, NOON + offset)).toEqual(
            new Signer(CREDENTIALS, 'us-east-1').sign(REQUEST, NOON + offset),
          );
        }
      }),
    );
  });

  it('changes at midnight UTC', () => {
    const signer = new Signer(CREDENTIALS, 'us-east-1');
    const midnight = Date.UTC(2026, 10, 23);
    for (const nowMs of [midnight - 1, midnight]) {
      expect(signer.sign(REQUEST, nowMs)['authorization']).toBe(
        signedByMinio(REQUEST, CREDENTIALS, 'us-east-1', nowMs),
      );
    }
    expect(signer.sign(REQUEST, midnight - 1)['x-amz-date']).toBe('20261122T235959Z');
    expect(signer.sign(REQUEST, midnight)['x-amz-date']).toBe('20261123T000000Z');
  });
});

it('signs further x-amz headers in the order that the signature requires', () => {
  const amzHeaders = { 'x-amz-server-side-encryption': 'AES256', 'x-amz-acl': 'private' };
  const { authorization } = new Signer(CREDENTIALS, 'us-east-1').sign({ ...REQUEST, amzHeaders }, NOON);
  const headers = {
    host: REQUEST.host,
    'x-amz-content-sha256': EMPTY_SHA256,
    'x-amz-date': '20261122T120000Z',
    ...amzHeaders,
  };
  const withHeaders = { method: 'GET', path: REQUEST.path, headers };
  const { accessKey, secretKey } = CREDENTIALS;
  expect(authorization).toBe(
    signV4(withHeaders as never, accessKey, secretKey, 'us-east-1', new Date(NOON), EMPTY_SHA256),
  );
});

it('returns the headers that it signs', () => {
  const headers = new Signer({ ...CREDENTIALS, sessionToken: 'token' }, 'us-east-1').sign(REQUEST, NOON);
  const signed = /SignedHeaders=([^,]+)/.exec(headers['authorization'] ?? '')?.[1]?.split(';');
  expect(signed).toEqual(['host', 'x-amz-content-sha256', 'x-amz-date', 'x-amz-security-token']);
  expect(Object.keys(headers).toSorted()).toEqual([
    'authorization',
    ...(signed ?? []).filter((name) => name !== 'host'),
  ]);
});

it('has the correct hash of an empty body', () => {
  expect(EMPTY_SHA256).toBe(sha256Hex(''));
});
