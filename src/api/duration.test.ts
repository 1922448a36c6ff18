import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatDuration, parseDurationMs } from './duration.ts';
import { NotAcceptedError } from './not-accepted.ts';

describe('parseDurationMs', () => {
  it.each([
    ['0s', 0],
    ['30s', 30_000],
    ['1m30s', 90_000],
    ['500ms', 500],
    ['1.5h', 5_400_000],
    ['0.001h', 3_600],
    ['0.1s0.2s', 300],
    ['1h1m1s1ms', 3_661_001],
    ['30s1h', 3_630_000],
    ['2562047h', 9_223_369_200_000],
  ])('parses %s', (text, want) => {
    expect(parseDurationMs(text)).toBe(want);
  });

  it.each([
    ['30', 'is not a duration (did you mean 30s?)'],
    ['30 s', 'is not a duration (did you mean 30s?)'],
    ['30sec', 'is not a duration (did you mean 30s?)'],
    ['30S', 'is not a duration (did you mean 30s?)'],
    ['5min', 'is not a duration (did you mean 5m?)'],
    ['2 hours', 'is not a duration (did you mean 2h?)'],
    ['1d', 'is not a duration (did you mean 24h?)'],
    ['0.5 days', 'is not a duration (did you mean 12h?)'],
    ['1w', 'is not a duration (did you mean 168h?)'],
    ['-30s', 'is not a duration: it is negative'],
    ['+30s', 'is not a duration'],
    ['PT30S', 'is not a duration'],
    ['s', 'is not a duration'],
    ['.5s', 'is not a duration'],
    ['5.s', 'is not a duration'],
    ['1.0005s', 'is not a duration'],
    ['1.5ms', 'is not a duration'],
    ['1500us', 'is not a duration'],
    ['1m 30s', 'is not a duration'],
    ['', 'is not a duration'],
    ['3000000h', 'is too long'],
  ])('rejects %j', (text, message) => {
    expect(() => parseDurationMs(text)).toThrow(new NotAcceptedError(message));
  });

  it('returns the sum of the parts', () => {
    const unit = fc.constantFrom(['h', 3_600_000], ['m', 60_000], ['s', 1_000], ['ms', 1]);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(9_999), unit), { minLength: 1, maxLength: 5 }), (parts) => {
        const text = parts.map(([count, [name]]) => `${count}${name}`).join('');
        const sum = parts.reduce((total, [count, [, ms]]) => total + count * ms, 0);
        expect(parseDurationMs(text)).toBe(sum);
      }),
    );
  });
});

describe('formatDuration', () => {
  it.each([
    [0, '0s'],
    [500, '500ms'],
    [1_500, '1.5s'],
    [30_000, '30s'],
    [90_000, '1m30s'],
    [3_600_000, '1h0m0s'],
    [86_400_000, '24h0m0s'],
  ])('formats %d as Go does: %s', (ms, want) => {
    expect(formatDuration(ms)).toBe(want);
  });

  it('round-trips through parseDurationMs', () => {
    fc.assert(
      fc.property(fc.nat(10 * 86_400_000), (ms) => {
        expect(parseDurationMs(formatDuration(ms))).toBe(ms);
      }),
    );
  });

  it.each([-1, 1.5, Number.NaN])('rejects %d', (ms) => {
    expect(() => formatDuration(ms)).toThrow(RangeError);
  });
});
