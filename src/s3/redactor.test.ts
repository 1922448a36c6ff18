import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { CANARY, expectNoCanary } from '../../test/support/canary.ts';
import { Redactor } from './redactor.ts';

const redactor = new Redactor([CANARY]);

describe('a secret in a text', () => {
  it.each([
    { name: 'as it is', form: CANARY },
    { name: 'reversed', form: Array.from(CANARY).toReversed().join('') },
    { name: 'in upper case', form: CANARY.toUpperCase() },
    { name: 'in a URL', form: encodeURIComponent(CANARY) },
    { name: 'in JSON', form: JSON.stringify({ CANARY }) },
    { name: 'in hex', form: Buffer.from(CANARY).toString('hex') },
    ...['', 'a', 'ab', 'abc'].map((prefix) => ({
      name: `in base64 after ${prefix.length} bytes`,
      form: Buffer.from(`${prefix}${CANARY}zz`).toString('base64'),
    })),
  ])('is redacted $name, complete or cut off', ({ form }) => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.string(),
        fc.nat(form.length),
        fc.nat(form.length),
        (before, after, a, b) => {
          const cut = form.slice(Math.min(a, b), Math.max(a, b));
          const text = redactor.redact(`${before}${cut}${after}`);
          expect(() => {
            expectNoCanary({ text });
          }).not.toThrow();
        },
      ),
    );
  });

  it('is redacted if it is short', () => {
    expect(new Redactor(['s3cr3t']).redact('the key is s3cr3t.')).toBe('the key is [redacted].');
  });

  it('leaves the rest of the text', () => {
    expect(redactor.redact(`before ${CANARY} after`)).toBe('before [redacted] after');
  });
});

it('changes nothing in a text without a secret', () => {
  const text = 'GetObject: 403 AccessDenied Access Denied. (request ID 17F0A2B3C4D5E6F7)';
  expect(redactor.redact(text)).toBe(text);
  expect(new Redactor([]).redact(text)).toBe(text);
});

it('removes the signature of a request that a server echoes', () => {
  expect(redactor.redact('Credential=AKIA/20261122/us-east-1/s3/aws4_request, Signature=0aff12')).toBe(
    'Credential=AKIA/20261122/us-east-1/s3/aws4_request, Signature=[redacted]',
  );
});
