import type { Credentials } from '../../../src/api/run.ts';
import type { Store } from '../servers.ts';

/** A store that the matrix of tests covers. */
export interface StoreKind {
  /** Name and version, as in docs/stores.md. */
  readonly title: string;
  /** Why this machine cannot run the store. Undefined if it can. */
  readonly missing: string | undefined;
  /** Starts a store with its own data in `dir`. */
  readonly start: (dir: string) => Promise<StoreUnderTest>;
}

export interface StoreUnderTest extends Store, AsyncDisposable {
  /** Not the probe's default, so that a run without a region uses the wrong one. */
  readonly region: string;
  /** Has the rights that docs/stores.md asks for. */
  readonly user: Credentials;
  readonly userWithoutRights: Credentials;
}

/** Not the default of any store or of the probe. */
export const REGION = 'eu-north-7';
