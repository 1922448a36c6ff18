import type { Credentials } from '../../../src/api/run.ts';
import type { Store } from '../servers.ts';

/** A store that the matrix of tests covers. */
export interface StoreKind {
  /** Name and version, as in docs/stores.md. */
  readonly title: string;
  /** Why this machine cannot run the store. Undefined if it can. */
  readonly missing: string | undefined;
  /** If false, the store checks the region only of a new bucket, and does not name the right one. */
  readonly signsWithRegion: boolean;
  /** Starts a store with its own data in `dir`. */
  readonly start: (dir: string) => Promise<StoreUnderTest>;
}

export interface StoreUnderTest extends Store, AsyncDisposable {
  readonly region: string;
  /** Has the rights that docs/stores.md asks for. */
  readonly user: Credentials;
  /** Has no right to the buckets of `user`, and cannot create any. */
  readonly userWithoutRights: Credentials;
}

/** Neither the probe's default nor that of a store. */
export const REGION = 'eu-north-7';
