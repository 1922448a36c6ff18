import { gzipSync } from 'node:zlib';

import { describe, expect, it } from 'vitest';

import { CANARY, expectNoCanary } from './canary.ts';

const REVERSED = Array.from(CANARY).toReversed().join('');

describe('the canary', () => {
  it.each<[string, string]>([
    ['alone', CANARY],
    ['in a sentence', `the key is ${CANARY}, is it not?`],
    ['in upper case', CANARY.toUpperCase()],
    ['reversed', REVERSED],
    ['in JSON', JSON.stringify({ secretKey: CANARY })],
    ['in JSON in JSON', JSON.stringify(JSON.stringify({ secretKey: CANARY }))],
    ['in JSON with escaped slashes', JSON.stringify(CANARY).replaceAll('/', String.raw`\/`)],
    ['in a URL', `http://x/?key=${encodeURIComponent(CANARY)}`],
    ['in a form', new URLSearchParams({ key: CANARY }).toString()],
    ['in hex', Buffer.from(CANARY).toString('hex')],
    ['in upper-case hex', Buffer.from(CANARY).toString('hex').toUpperCase()],
    ['in base64', Buffer.from(CANARY).toString('base64')],
    ['in base64 for URLs', Buffer.from(CANARY).toString('base64url')],
    ['in base64 after one byte', Buffer.from(`x${CANARY}y`).toString('base64')],
    ['in base64 after two bytes', Buffer.from(`xx${CANARY}`).toString('base64')],
    [
      'in base64 of JSON',
      Buffer.from(JSON.stringify({ accessKey: 'a', secretKey: CANARY })).toString('base64'),
    ],
    ['in a basic authentication header', `Basic ${Buffer.from(`user:${CANARY}`).toString('base64')}`],
    ['truncated', `${CANARY.slice(0, 20)}…`],
    ['without its beginning', CANARY.slice(-22)],
    ['truncated in base64', Buffer.from(CANARY.slice(0, 24)).toString('base64')],
    ['truncated in hex', Buffer.from(CANARY.slice(0, 20)).toString('hex')],
  ])('is detected %s', (_name, text) => {
    expect(() => {
      expectNoCanary({ log: 'nothing', spans: `before ${text} after` });
    }).toThrow(/^a secret leaked into spans \(/);
  });

  it('is reported for each source without being repeated', () => {
    expect(() => {
      expectNoCanary({ log: CANARY, spans: 'nothing', events: Buffer.from(CANARY).toString('hex') });
    }).toThrow(/^a secret leaked into log \(plain\), events \(hex\)$/);
  });

  it.each<[string, string]>([
    ['an empty string', ''],
    ['the fixed parts of the key', 'canary/+a=coal'],
    ['another key', `canary/${'a1b2c3d4'.repeat(3)}+a=coal`],
    ['a mask', '**************'],
    ['a long string', 'abcdefghijklmnopqrstuvwxyz0123456789'.repeat(10_000)],
    ['compressed data', gzipSync('x'.repeat(100_000)).toString('base64')],
  ])('is not detected in %s', (_name, text) => {
    expect(() => {
      expectNoCanary({ log: text });
    }).not.toThrow();
  });

  it('is a valid secret key for MinIO', () => {
    expect(CANARY).toMatch(/^.{8,40}$/);
    expect(encodeURIComponent(CANARY)).not.toBe(CANARY);
  });
});
