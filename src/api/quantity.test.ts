import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NotAcceptedError } from './not-accepted.ts';
import { formatBytes, parseBytes } from './quantity.ts';

const MULTIPLIERS: Record<string, number> = {
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
};

describe('parseBytes', () => {
  it.each([
    ['0', 0],
    ['1024', 1024],
    ['4Ki', 4096],
    ['64Mi', 67_108_864],
    ['1M', 1_000_000],
    ['500k', 500_000],
    ['0004Ki', 4096],
    ['9P', 9e15],
  ])('parses %s', (text, want) => {
    expect(parseBytes(text)).toBe(want);
  });

  it.each([
    ['4KB', 'is not a size (did you mean 4Ki or 4k?)'],
    ['4kb', 'is not a size (did you mean 4Ki or 4k?)'],
    ['4K', 'is not a size (did you mean 4Ki or 4k?)'],
    ['4KiB', 'is not a size (did you mean 4Ki?)'],
    ['4 Ki', 'is not a size (did you mean 4Ki?)'],
    ['4ki', 'is not a size (did you mean 4Ki?)'],
    ['10mb', 'is not a size (did you mean 10Mi or 10M?)'],
    ['4B', 'is not a size (did you mean 4?)'],
    ['100m', 'is not a size (did you mean 100Mi or 100M?)'],
    ['-1', 'is not a size: it is negative'],
    ['+1', 'is not a size'],
    ['1e3', 'is not a size'],
    ['.5Ki', 'is not a size'],
    ['2.Ki', 'is not a size'],
    ['.', 'is not a size'],
    ['', 'is not a size'],
    ['four', 'is not a size'],
    ['1.5Mi', 'is not a size (did you mean 1536Ki?)'],
    ['1.5MB', 'is not a size (did you mean 1536Ki or 1500000?)'],
    ['1.5MiB', 'is not a size (did you mean 1536Ki?)'],
    ['1.5', 'is not a size'],
    ['0.0001Ki', 'is not a size'],
    ['9Pi', 'is too large'],
    ['2E', 'is too large'],
  ])('rejects %j', (text, message) => {
    expect(() => parseBytes(text)).toThrow(new NotAcceptedError(message));
  });

  it('multiplies the number by its suffix', () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), fc.constantFrom(...Object.keys(MULTIPLIERS)), (count, suffix) => {
        expect(parseBytes(`${count}${suffix}`)).toBe(count * (MULTIPLIERS[suffix] ?? Number.NaN));
      }),
    );
  });

  it('parses or rejects any text', () => {
    const unit = fc.constantFrom(...'0123456789.+-eEkKMGimB '.split(''));
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit, maxLength: 8 })), (text) => {
        expect(bytesOrRejected(text)).toSatisfy((bytes) => bytes === 'rejected' || isByteCount(bytes));
      }),
    );
  });
});

describe('formatBytes', () => {
  it.each([
    [0, '0'],
    [1000, '1000'],
    [1024, '1Ki'],
    [4096, '4Ki'],
    [1_572_864, '1536Ki'],
    [1_048_576, '1Mi'],
  ])('formats %d as %s', (bytes, want) => {
    expect(formatBytes(bytes)).toBe(want);
  });

  it('round-trips through parseBytes', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.nat(40), (count, shift) => {
        const bytes = Math.floor(count / 2 ** shift) * 2 ** shift;
        expect(parseBytes(formatBytes(bytes))).toBe(bytes);
      }),
    );
  });

  it.each([-1, 1.5, Number.NaN])('rejects %d', (bytes) => {
    expect(() => formatBytes(bytes)).toThrow(RangeError);
  });
});

function bytesOrRejected(text: string): unknown {
  try {
    return parseBytes(text);
  } catch (error) {
    if (error instanceof NotAcceptedError) return 'rejected';
    throw error;
  }
}

function isByteCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
