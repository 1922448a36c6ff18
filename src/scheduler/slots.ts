/** A group gets another slot only while it holds fewer than this many slots per free slot. */
const MAX_HELD_PER_FREE_SLOT = 3;

interface Group<T> {
  readonly name: string;
  readonly waiting: Set<T>;
  held: number;
}

/**
 * A limited number of slots, shared fairly among groups.
 *
 * Waiting groups take turns. A group gets a slot only while it holds fewer than three times the number of free slots:
 *
 * - A single group gets three quarters of `max`, rounded up.
 * - k groups that never release their slots get equal shares and leave about max / (3k + 1) free.
 * - If `max` is 4 or more and an equal share for all groups is at least three slots, a new group gets a slot at once,
 *   however long the other groups keep theirs.
 */
export class Slots<T> {
  readonly #max: number;
  /** Groups that hold a slot or wait for one. */
  readonly #groups = new Map<string, Group<T>>();
  /** Waiting groups, in the order of their turns. */
  readonly #waitingGroups = new Set<Group<T>>();
  #taken = 0;
  #waiting = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get taken(): number {
    return this.#taken;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Queues an item behind the other items of its group. The item must not be waiting already. */
  add(groupName: string, item: T): void {
    const group = this.#groups.get(groupName) ?? { name: groupName, waiting: new Set(), held: 0 };
    this.#groups.set(groupName, group);
    this.#waitingGroups.add(group);
    group.waiting.add(item);
    this.#waiting += 1;
  }

  /** Removes an item from the queue. */
  drop(groupName: string, item: T): void {
    const group = this.#groups.get(groupName);
    if (group?.waiting.delete(item) !== true) return;
    this.#waiting -= 1;
    this.#removeIfIdle(group);
  }

  /** Gives a slot to the next item and returns that item, or undefined if no item may have a slot. */
  take(): T | undefined {
    const free = this.#max - this.#taken;
    if (free === 0) return undefined;
    // Skips only a few groups, because each skipped group already holds at least three of the slots.
    for (const group of this.#waitingGroups) {
      if (group.held >= MAX_HELD_PER_FREE_SLOT * free) continue;
      const [item] = group.waiting;
      group.waiting.delete(item as T);
      group.held += 1;
      this.#waiting -= 1;
      this.#taken += 1;
      this.#waitingGroups.delete(group);
      if (group.waiting.size > 0) this.#waitingGroups.add(group);
      return item;
    }
    return undefined;
  }

  /** Releases one slot of the group. */
  release(groupName: string): void {
    const group = this.#groups.get(groupName);
    if (group === undefined || group.held === 0)
      throw new Error('cannot release a slot: the group holds none');
    group.held -= 1;
    this.#taken -= 1;
    this.#removeIfIdle(group);
  }

  #removeIfIdle(group: Group<T>): void {
    if (group.waiting.size > 0) return;
    this.#waitingGroups.delete(group);
    if (group.held === 0) this.#groups.delete(group.name);
  }
}
