import { ReasonedError } from '../api/reasons.ts';
import type { ListedUpload, ListedVersion, Page, PageMarker } from '../s3/listings.ts';
import type { Deletion, ObjectVersion } from '../s3/s3-client.ts';
import { S3Error } from '../s3/s3-error.ts';
import { type Identity, isOwnKey, keyPrefix } from './names.ts';

/** Pages of one listing that are read. A store that ignores the prefix lists everything in the bucket. */
const MAX_PAGES = 50;

/**
 * Passes over the listing. One is enough in most buckets. Where a removal adds delete markers or uncovers older
 * versions, the next pass removes those.
 */
const MAX_PASSES = 4;

/** The calls that a removal needs. A listing is undefined if the store sent something that is not one. */
export interface LeftoverStore {
  listObjects(prefix: string, marker?: PageMarker): Promise<Page<string> | undefined>;
  listVersions(prefix: string, marker?: PageMarker): Promise<Page<ListedVersion> | undefined>;
  listUploads(prefix: string, marker?: PageMarker): Promise<Page<ListedUpload> | undefined>;
  headObject(key: string): Promise<ObjectVersion | undefined>;
  deleteObject(key: string, version: ObjectVersion): Promise<Deletion>;
  abortUpload(upload: ListedUpload): Promise<void>;
}

/** The objects to remove. */
export interface Leftovers {
  readonly prefix: string;
  /** Some stores ignore the prefix of a listing. */
  readonly includes: (key: string) => boolean;
}

/** The objects of all runs of one prober, probe and target. */
export function leftoversOf(identity: Identity): Leftovers {
  return { prefix: keyPrefix(identity), includes: (key) => isOwnKey(identity, key) };
}

/**
 * Removes objects with all their versions and delete markers, and their unfinished uploads. A failure to remove one
 * does not keep the others from being removed. A store that does not list versions or uploads is asked for objects only.
 */
export class LeftoverRemoval {
  readonly #store: LeftoverStore;
  readonly #leftovers: Leftovers;
  readonly #removed = new Set<string>();
  readonly #leftBehind = new Set<string>();
  /** Keys that have been deleted, but of which the store has kept a delete marker and perhaps a version. */
  readonly #hidden = new Set<string>();
  /** Entries of listings that could not be removed. They are not tried again in the next pass. */
  readonly #failed = new Set<string>();
  #hasListed = false;
  #error: unknown;

  constructor(store: LeftoverStore, leftovers: Leftovers) {
    this.#store = store;
    this.#leftovers = leftovers;
  }

  /** True if the store has returned a listing, so the bucket exists. */
  get hasListed(): boolean {
    return this.#hasListed;
  }

  /** Keys of which nothing is left, in the order of removal. */
  get removed(): string[] {
    return [...this.#removed].filter((key) => !this.#leftBehind.has(key) && !this.#hidden.has(key));
  }

  /** Keys that may still have leftovers in the store. */
  get leftBehind(): string[] {
    return [...new Set([...this.#leftBehind, ...this.#hidden])];
  }

  /** The first failure of a removal. Present if something is left behind. */
  get error(): unknown {
    return this.#error;
  }

  /** @throws {ReasonedError} if a listing fails. */
  async run(): Promise<void> {
    for (let pass = 0; pass < MAX_PASSES; pass += 1) {
      const removals = (await this.#removeVersions()) ?? (await this.#removeObjects());
      if (removals === 0) break;
    }
    const [hidden] = this.#hidden;
    if (hidden !== undefined) {
      this.#error ??= new ReasonedError(
        'ObjectNotRemoved',
        `${hidden}: the store keeps a version of each deleted object, and does not list it`,
      );
    }
    await this.#abortUploads();
  }

  /** @returns the number of removals, or undefined if the store does not list versions. */
  async #removeVersions(): Promise<number | undefined> {
    let removals = 0;
    const pages = this.#pages((marker) => this.#store.listVersions(this.#leftovers.prefix, marker));
    for await (const page of unlessRefused(pages)) {
      if (page === undefined) return undefined;
      for (const version of page) if (await this.#removeVersion(version)) removals += 1;
    }
    return removals;
  }

  /** Without a version ID, needs fewer rights, and removes an object for good if the bucket has never had versions. */
  #removeVersion({ key, versionId, isLatest, isDeleteMarker }: ListedVersion): Promise<boolean> {
    const isPlainObject = versionId === 'null' && isLatest && !isDeleteMarker;
    const id = isPlainObject ? undefined : versionId;
    return this.#remove(key, versionId, () => this.#delete(key, { id }));
  }

  async #removeObjects(): Promise<number> {
    let removals = 0;
    const pages = this.#pages((marker) => this.#store.listObjects(this.#leftovers.prefix, marker));
    for await (const page of pages) {
      if (page === undefined)
        throw new ReasonedError('NotS3', 'ListObjectsV2: the response is not a listing');
      for (const key of page) if (await this.#remove(key, '', () => this.#removeCurrent(key))) removals += 1;
    }
    return removals;
  }

  async #removeCurrent(key: string): Promise<void> {
    const version = await this.#store.headObject(key);
    if (version === undefined) return;
    await this.#delete(key, version);
  }

  async #delete(key: string, version: ObjectVersion): Promise<void> {
    const { addedMarker } = await this.#store.deleteObject(key, version);
    if (addedMarker) this.#hidden.add(key);
    else this.#hidden.delete(key);
  }

  async #abortUploads(): Promise<void> {
    const { prefix } = this.#leftovers;
    if (await this.#abortListed(prefix, MAX_PAGES)) return;
    // MinIO lists the uploads of one key or of the whole bucket, not those under a prefix.
    await this.#abortListed('', 1);
  }

  /** @returns true if uploads were found. */
  async #abortListed(prefix: string, maxPages: number): Promise<boolean> {
    let hasFound = false;
    const pages = this.#pages((marker) => this.#store.listUploads(prefix, marker), maxPages);
    for await (const page of unlessRefused(pages)) {
      for (const upload of page ?? []) {
        hasFound = true;
        await this.#remove(upload.key, `upload ${upload.uploadId}`, () => this.#store.abortUpload(upload));
      }
    }
    return hasFound;
  }

  /** Yields undefined for a response that is not a listing. */
  async *#pages<T>(
    list: (marker: PageMarker | undefined) => Promise<Page<T> | undefined>,
    maxPages = MAX_PAGES,
  ): AsyncGenerator<readonly T[] | undefined> {
    let marker: PageMarker | undefined;
    for (let count = 0; count < maxPages; count += 1) {
      const page = await list(marker);
      this.#hasListed ||= page !== undefined;
      yield page?.entries;
      // Some stores ignore markers and send the first page again.
      if (page?.next === undefined || isSame(page.next, marker)) return;
      marker = page.next;
    }
  }

  /** @returns true if something was removed. Records a failure instead of throwing it. */
  async #remove(key: string, part: string, remove: () => Promise<void>): Promise<boolean> {
    const entry = `${key}\n${part}`;
    if (!this.#leftovers.includes(key) || this.#failed.has(entry)) return false;
    try {
      await remove();
    } catch (error) {
      if (!isGone(error)) {
        this.#failed.add(entry);
        this.#leftBehind.add(key);
        this.#error ??= error;
        return false;
      }
    }
    this.#removed.add(key);
    return true;
  }
}

/** Yields undefined and ends if the store does not offer the listing or the credentials do not permit it. */
async function* unlessRefused<T>(pages: AsyncIterable<T | undefined>): AsyncGenerator<T | undefined> {
  try {
    yield* pages;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    yield undefined;
  }
}

function isRefusal(error: unknown): boolean {
  if (!(error instanceof S3Error) || error.reason === 'BucketMissing') return false;
  const { status = 0 } = error.call;
  return (status >= 400 && status < 500) || status === 501;
}

/** Something else has removed the object, the version or the upload. */
function isGone(error: unknown): boolean {
  return error instanceof S3Error && error.call.status === 404 && error.reason !== 'BucketMissing';
}

function isSame(next: PageMarker, marker: PageMarker | undefined): boolean {
  return JSON.stringify(next) === JSON.stringify(marker);
}
