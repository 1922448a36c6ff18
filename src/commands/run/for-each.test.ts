import { expect, it } from 'vitest';

import { forEach } from './for-each.ts';

it.each([
  { items: 25, limit: 10, want: 10 },
  { items: 3, limit: 10, want: 3 },
  { items: 5, limit: 1, want: 1 },
  { items: 0, limit: 10, want: 0 },
])('runs $want of $items at a time, limit $limit', async ({ items, limit, want }) => {
  const begun: number[] = [];
  let running = 0;
  let most = 0;
  await forEach(
    Array.from({ length: items }, (_, index) => index),
    limit,
    async (item) => {
      begun.push(item);
      running += 1;
      most = Math.max(most, running);
      // The later ones are quicker.
      for (let turn = item; turn < items; turn += 1) await Promise.resolve();
      running -= 1;
    },
  );
  expect(most).toBe(want);
  expect(begun).toEqual(Array.from({ length: items }, (_, index) => index));
});

it('begins the next as soon as one ends', async () => {
  const slow = Promise.withResolvers<void>();
  const begun: string[] = [];
  const all = forEach(['slow', 'quick', 'next'], 2, async (item) => {
    begun.push(item);
    if (item === 'slow') await slow.promise;
    if (item === 'next') slow.resolve();
  });
  await all;
  expect(begun).toEqual(['slow', 'quick', 'next']);
});

it('fails with what fails', async () => {
  const broken = forEach([1, 2], 1, () => Promise.reject(new Error('broken')));
  await expect(broken).rejects.toThrow('broken');
});
