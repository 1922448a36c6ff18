import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { oneLine } from './one-line.ts';

describe('oneLine', () => {
  it.each([
    { name: 'line breaks', text: 'a\r\nb\u2028c\u0085d', want: 'a b c d' },
    { name: 'an escape sequence', text: 'it is \u001B[31mred\u001B[0m', want: 'it is [31mred [0m' },
    { name: 'a terminal title', text: '\u001B]0;owned\u0007x', want: ']0;owned x' },
    { name: '8-bit control characters', text: 'a\u009B31mb', want: 'a 31mb' },
    { name: 'direction marks', text: 'gpj.\u202Eexe\u2066.txt', want: 'gpj. exe .txt' },
    { name: 'zero-width characters', text: 'pass\u200Bword\uFEFF', want: 'pass word' },
    { name: 'invisible tag characters', text: 'a\u{E0041}b', want: 'a b' },
    { name: 'half of a surrogate pair', text: 'a\uD83Db', want: 'a b' },
    { name: 'no-break spaces', text: '\u00A0a\u3000b ', want: 'a b' },
    { name: 'NUL', text: 'a\0b', want: 'a b' },
  ])('replaces $name', ({ text, want }) => {
    expect(oneLine(text)).toBe(want);
  });

  it('keeps printable text', () => {
    expect(oneLine('Zugriff für „müller“ verweigert: 拒否 😀')).toBe(
      'Zugriff für „müller“ verweigert: 拒否 😀',
    );
  });

  it('cuts at the limit without splitting a character', () => {
    expect(oneLine('abcdef', 6)).toBe('abcdef');
    expect(oneLine('abcdefg', 6)).toBe('abcde…');
    expect(oneLine('abcd😀efg', 6)).toBe('abcd…');
  });

  it('returns bounded, printable text for any input', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 600 }),
        fc.integer({ min: 1, max: 512 }),
        (text, max) => {
          const line = oneLine(text, max);
          expect(line.length).toBeLessThanOrEqual(max);
          expect(line.isWellFormed()).toBe(true);
          expect(line).toMatch(/^[^\p{C}\p{Zl}\p{Zp}]*$/u);
        },
      ),
    );
  });
});
