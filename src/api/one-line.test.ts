import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { oneLine } from './one-line.ts';

describe('foreign text as one line', () => {
  it.each([
    { name: 'line breaks', text: 'a\r\nb\u2028c\u0085d', want: 'a b c d' },
    { name: 'an escape sequence', text: 'it is \u001B[31mred\u001B[0m', want: 'it is [31mred [0m' },
    { name: 'a title for the terminal', text: '\u001B]0;owned\u0007x', want: ']0;owned x' },
    { name: 'eight-bit controls', text: 'a\u009B31mb', want: 'a 31mb' },
    { name: 'marks of direction', text: 'gpj.\u202Eexe\u2066.txt', want: 'gpj. exe .txt' },
    { name: 'what has no width', text: 'pass\u200Bword\uFEFF', want: 'pass word' },
    { name: 'tags that nobody sees', text: 'a\u{E0041}b', want: 'a b' },
    { name: 'half a character', text: 'a\uD83Db', want: 'a b' },
    { name: 'no-break spaces', text: '\u00A0a\u3000b ', want: 'a b' },
    { name: 'NUL', text: 'a\0b', want: 'a b' },
  ])('shows nothing of $name', ({ text, want }) => {
    expect(oneLine(text)).toBe(want);
  });

  it('keeps what can be read', () => {
    expect(oneLine('Zugriff für „müller“ verweigert: 拒否 😀')).toBe(
      'Zugriff für „müller“ verweigert: 拒否 😀',
    );
  });

  it('is as long as it may be, and whole characters', () => {
    expect(oneLine('abcdef', 6)).toBe('abcdef');
    expect(oneLine('abcdefg', 6)).toBe('abcde…');
    expect(oneLine('abcd😀efg', 6)).toBe('abcd…');
  });

  it('is bounded and printable, whatever comes', () => {
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
