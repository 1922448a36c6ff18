import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { Slots } from './slots.ts';

function takeAll<T>(slots: Slots<T>): T[] {
  const taken: T[] = [];
  for (let item = slots.take(); item !== undefined; item = slots.take()) taken.push(item);
  return taken;
}

function addMany(slots: Slots<string>, group: string, count: number): void {
  for (let index = 0; index < count; index += 1) slots.add(group, `${group}${index}`);
}

describe('slots', () => {
  it.each([
    [1, 1],
    [2, 2],
    [3, 3],
    [4, 3],
    [5, 4],
    [8, 6],
    [50, 38],
  ])('with a maximum of %i, a single group gets %i', (max, want) => {
    const slots = new Slots<string>(max);
    addMany(slots, 'a', 100);
    expect(takeAll(slots)).toHaveLength(want);
    expect([slots.taken, slots.waiting]).toEqual([want, 100 - want]);
  });

  it('go to the groups in turn, and to the items of a group in order', () => {
    const slots = new Slots<string>(50);
    addMany(slots, 'a', 3);
    addMany(slots, 'b', 2);
    addMany(slots, 'c', 1);
    expect(takeAll(slots)).toEqual(['a0', 'b0', 'c0', 'a1', 'b1', 'a2']);
  });

  it('are shared equally among groups that never release them, with some left free', () => {
    const slots = new Slots<string>(50);
    for (const group of ['a', 'b', 'c', 'd']) addMany(slots, group, 100);
    const taken = takeAll(slots);
    const shares = ['a', 'b', 'c', 'd'].map((group) => taken.filter((item) => item.startsWith(group)).length);
    expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
    expect(50 - slots.taken).toBeGreaterThanOrEqual(3);
  });

  it('are available at once to a new group while another group never releases its slots', () => {
    const slots = new Slots<string>(8);
    addMany(slots, 'hung', 100);
    takeAll(slots);
    for (let round = 0; round < 10; round += 1) {
      slots.add('new', `new${round}`);
      expect(takeAll(slots)).toEqual([`new${round}`]);
      slots.release('new');
    }
  });

  it('are not given to dropped items', () => {
    const slots = new Slots<string>(2);
    slots.add('a', 'a0');
    slots.add('b', 'b0');
    slots.drop('a', 'a0');
    slots.drop('a', 'unknown');
    slots.drop('unknown', 'a0');
    expect([slots.waiting, takeAll(slots)]).toEqual([1, ['b0']]);
  });

  it('cannot be released by a group that holds none', () => {
    const slots = new Slots<string>(2);
    slots.add('a', 'a0');
    expect(() => {
      slots.release('a');
    }).toThrow('the group holds none');
  });

  it('keep their invariants for any sequence of operations', () => {
    const step = fc.record({
      group: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      action: fc.constantFrom('add', 'add', 'add', 'release', 'drop'),
    });
    fc.assert(
      fc.property(fc.integer({ min: 4, max: 20 }), fc.array(step, { maxLength: 200 }), (max, steps) => {
        const slots = new Slots<string>(max);
        const held = new Map<string, number>();
        const waiting = new Map<string, string[]>();
        for (const [index, { group, action }] of steps.entries()) {
          const ofGroup = waiting.get(group) ?? [];
          if (action === 'add') {
            slots.add(group, `${group}${index}`);
            waiting.set(group, [...ofGroup, `${group}${index}`]);
          } else if (action === 'drop' && ofGroup[0] !== undefined) {
            slots.drop(group, ofGroup[0]);
            waiting.set(group, ofGroup.slice(1));
          } else if (action === 'release' && (held.get(group) ?? 0) > 0) {
            slots.release(group);
            held.set(group, (held.get(group) ?? 0) - 1);
          }
          for (const item of takeAll(slots)) {
            const name = item.charAt(0);
            expect(item).toBe(waiting.get(name)?.[0]);
            waiting.set(name, waiting.get(name)?.slice(1) ?? []);
            held.set(name, (held.get(name) ?? 0) + 1);
          }

          const taken = [...held.values()].reduce((sum, count) => sum + count, 0);
          const left = [...waiting.values()].flat().length;
          expect([slots.taken, slots.waiting]).toEqual([taken, left]);
          expect(taken).toBeLessThanOrEqual(max);
          // A waiting group holds its share. A group that holds no slot waits only if no slot is free.
          const waitingGroups = [...waiting].filter(([, items]) => items.length > 0).map(([name]) => name);
          for (const name of waitingGroups) {
            expect(held.get(name) ?? 0).toBeGreaterThanOrEqual(3 * (max - taken));
          }
        }
      }),
    );
  });
});
