/** A group may hold this many times the number of free slots. */
const SHARE = 3;

interface Group<T> {
  readonly name: string;
  readonly waiting: Set<T>;
  held: number;
}

/**
 * A limited number of slots, shared out fairly among groups that ask for more than there are.
 *
 * A group takes a slot only while it holds less than three times as many as are free, in turn with the other groups that
 * wait. So one group alone gets three quarters of `max`, rounded up; k groups that hold on to what they get end up with
 * equal shares and leave about max / (3k + 1) free; and whoever comes next, with `max` of 4 or more, finds a free slot
 * at once, however long the others hold theirs, until there are so many groups that a share is less than three slots.
 */
export class Slots<T> {
  readonly #max: number;
  /** Those that hold a slot or wait for one. */
  readonly #groups = new Map<string, Group<T>>();
  /** Those that wait, the one whose turn it is first. */
  readonly #turns = new Set<Group<T>>();
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

  /** Lets an item, which is not waiting, wait for a slot behind the others of its group. */
  add(groupName: string, item: T): void {
    const group = this.#groups.get(groupName) ?? { name: groupName, waiting: new Set(), held: 0 };
    this.#groups.set(groupName, group);
    this.#turns.add(group);
    group.waiting.add(item);
    this.#waiting += 1;
  }

  /** Lets an item wait no longer. */
  drop(groupName: string, item: T): void {
    const group = this.#groups.get(groupName);
    if (group?.waiting.delete(item) !== true) return;
    this.#waiting -= 1;
    this.#tidy(group);
  }

  /** Gives a slot to the item whose turn it is, until {@link release}; undefined if none may have one. */
  take(): T | undefined {
    const free = this.#max - this.#taken;
    if (free === 0) return undefined;
    // Few are passed over: who may not have one holds three at least.
    for (const group of this.#turns) {
      if (group.held >= SHARE * free) continue;
      const [item] = group.waiting;
      group.waiting.delete(item as T);
      group.held += 1;
      this.#waiting -= 1;
      this.#taken += 1;
      this.#turns.delete(group);
      if (group.waiting.size > 0) this.#turns.add(group);
      return item;
    }
    return undefined;
  }

  /** Gives back one slot of the group. */
  release(groupName: string): void {
    const group = this.#groups.get(groupName);
    if (group === undefined || group.held === 0) throw new Error('a slot is released only by who holds it');
    group.held -= 1;
    this.#taken -= 1;
    this.#tidy(group);
  }

  #tidy(group: Group<T>): void {
    if (group.waiting.size > 0) return;
    this.#turns.delete(group);
    if (group.held === 0) this.#groups.delete(group.name);
  }
}
