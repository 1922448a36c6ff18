export interface FakeVersion {
  readonly key: string;
  /** `null` in a bucket without versioning or with suspended versioning. */
  readonly id: string;
  /** Absent for a delete marker. */
  readonly body?: Buffer;
}

/** The versions of the objects in one bucket, oldest first. */
export class FakeVersions {
  readonly #mode: 'Enabled' | 'Suspended';
  #all: FakeVersion[] = [];
  #count = 0;

  constructor(mode: 'Enabled' | 'Suspended') {
    this.#mode = mode;
  }

  /** In the order of a listing: by key, newest first. */
  get listed(): FakeVersion[] {
    return this.#all.toReversed().toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  }

  latest(key: string): FakeVersion | undefined {
    return this.#all.findLast((version) => version.key === key);
  }

  /** Adds a version or, without a body, a delete marker. @returns its ID. */
  add(key: string, body?: Buffer, mode = this.#mode): string {
    const id = mode === 'Enabled' ? `v${(this.#count += 1)}` : 'null';
    if (id === 'null') this.remove(key, 'null');
    this.#all.push({ key, id, ...(body !== undefined && { body }) });
    return id;
  }

  remove(key: string, id: string): void {
    this.#all = this.#all.filter((version) => version.key !== key || version.id !== id);
  }
}
