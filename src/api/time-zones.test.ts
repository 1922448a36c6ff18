import { expect, it } from 'vitest';
import { TIME_ZONES } from './time-zones.ts';

it('contains all zones that Node lists', () => {
  expect(TIME_ZONES).toStrictEqual(expect.arrayContaining(Intl.supportedValuesOf('timeZone')));
});

it.each(TIME_ZONES)('%s is supported by Node', (timeZone) => {
  expect(() => new Intl.DateTimeFormat('en', { timeZone })).not.toThrow();
});
