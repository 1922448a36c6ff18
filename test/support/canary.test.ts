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
    ['in base64 behind one byte', Buffer.from(`x${CANARY}y`).toString('base64')],
    ['in base64 behind two bytes', Buffer.from(`xx${CANARY}`).toString('base64')],
    [
      'in base64 of JSON',
      Buffer.from(JSON.stringify({ accessKey: 'a', secretKey: CANARY })).toString('base64'),
    ],
    ['in a data URL of basic authentication', `Basic ${Buffer.from(`user:${CANARY}`).toString('base64')}`],
    ['cut short', `${CANARY.slice(0, 20)}…`],
    ['cut at its start', CANARY.slice(-22)],
    ['cut short in base64', Buffer.from(CANARY.slice(0, 24)).toString('base64')],
    ['cut short in hex', Buffer.from(CANARY.slice(0, 20)).toString('hex')],
  ])('is found %s', (_name, text) => {
    expect(() => {
      expectNoCanary({ log: 'nothing', spans: `before ${text} after` });
    }).toThrow(/^a secret stands in spans \(/);
  });

  it('is found in each source, and not repeated', () => {
    expect(() => {
      expectNoCanary({ log: CANARY, spans: 'nothing', events: Buffer.from(CANARY).toString('hex') });
    }).toThrow(/^a secret stands in log \(plain\), events \(hex\)$/);
  });

  it.each<[string, string]>([
    ['nothing', ''],
    ['what all such keys have in common', 'canary/+a=coal'],
    ['another', `canary/${'a1b2c3d4'.repeat(3)}+a=coal`],
    ['a mask', '**************'],
    ['a lot', 'abcdefghijklmnopqrstuvwxyz0123456789'.repeat(10_000)],
    ['bytes', gzipSync('x'.repeat(100_000)).toString('base64')],
  ])('is not found in %s', (_name, text) => {
    expect(() => {
      expectNoCanary({ log: text });
    }).not.toThrow();
  });

  it('is a secret key that MinIO takes', () => {
    expect(CANARY).toMatch(/^.{8,40}$/);
    expect(encodeURIComponent(CANARY)).not.toBe(CANARY);
  });
});
