import { expect, it } from 'vitest';
import { nearest } from './suggest.ts';

it.each([
  { word: 'objcts', want: 'objects' },
  { word: 'OBJECTS', want: 'objects' },
  { word: 'object', want: 'objects' },
  { word: 'tsl', want: undefined },
  { word: 'tl', want: 'tls' },
  { word: 'credentials', want: undefined },
  { word: 'x'.repeat(1_000_000), want: undefined },
])('suggests $want for $word', ({ word, want }) => {
  expect(nearest(word, ['objects', 'tls', 'bucket'])).toBe(want);
});
