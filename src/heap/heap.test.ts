import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { Heap } from './heap.ts';

describe('Heap', () => {
  it('starts empty', () => {
    const heap = new Heap<number>((a, b) => a < b);
    expect([heap.size, heap.peek(), heap.pop(), heap.size]).toEqual([0, undefined, undefined, 0]);
  });

  it('always returns the first item, for any sequence of pushes and pops', () => {
    const step = fc.oneof(
      { weight: 2, arbitrary: fc.integer({ min: -50, max: 50 }) },
      { weight: 1, arbitrary: fc.constant('pop' as const) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const heap = new Heap<number>((a, b) => a < b);
        let model: number[] = [];
        for (const item of steps) {
          expect([heap.size, heap.peek()]).toEqual([model.length, model[0]]);
          if (item !== 'pop') {
            heap.push(item);
            model = [...model, item].toSorted((a, b) => a - b);
            continue;
          }
          expect(heap.pop()).toBe(model.shift());
        }
        while (model.length > 0) expect(heap.pop()).toBe(model.shift());
        expect(heap.size).toBe(0);
      }),
    );
  });
});
