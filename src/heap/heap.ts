/** A binary heap. The first item is available in O(1); adding or removing an item costs O(log n). */
export class Heap<T> {
  /** No item comes before its parent, which is at `(index - 1) >> 1`. */
  readonly #items: T[] = [];
  readonly #isBefore: (a: T, b: T) => boolean;

  /** @param isBefore returns true if `a` comes before `b`. Items that compare equal come out in any order. */
  constructor(isBefore: (a: T, b: T) => boolean) {
    this.#isBefore = isBefore;
  }

  get size(): number {
    return this.#items.length;
  }

  /** The first item, or undefined if the heap is empty. */
  peek(): T | undefined {
    return this.#items[0];
  }

  push(item: T): void {
    const items = this.#items;
    let index = items.length;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = items[parentIndex] as T;
      if (!this.#isBefore(item, parent)) break;
      items[index] = parent;
      index = parentIndex;
    }
    items[index] = item;
  }

  /** Removes and returns the first item, or returns undefined if the heap is empty. */
  pop(): T | undefined {
    const first = this.#items[0];
    const last = this.#items.pop();
    if (this.#items.length > 0) this.#siftDown(last as T);
    return first;
  }

  /** Replaces the first item with `item` and sifts it down. */
  #siftDown(item: T): void {
    const items = this.#items;
    let index = 0;
    for (;;) {
      const left = 2 * index + 1;
      if (left >= items.length) break;
      const right = left + 1;
      const isRightFirst = right < items.length && this.#isBefore(items[right] as T, items[left] as T);
      const childIndex = isRightFirst ? right : left;
      const child = items[childIndex] as T;
      if (!this.#isBefore(child, item)) break;
      items[index] = child;
      index = childIndex;
    }
    items[index] = item;
  }
}
