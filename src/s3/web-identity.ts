import { addAbortListener } from 'node:events';

import type { WebIdentityPlan } from '../api/plan.ts';
import { ReasonedError, REASONS } from '../api/reasons.ts';
import type { Credentials, TargetProxy, TargetTls } from '../api/run.ts';
import type { Connection, CredentialsOrFault } from '../api/target.ts';
import { sha256Hex } from './signer.ts';
import { assumeRoleWithWebIdentity, type Grant, type StsDeps } from './sts.ts';

/** Time limit for one exchange. It is not part of a run, so it must be short. */
const TIMEOUT_MS = 5_000;
/** New credentials are requested this long before the old ones expire, or halfway if they are valid for less than twice. */
const RENEW_BEFORE_MS = 10 * 60_000;
/** Old credentials are not used for a run that starts this shortly before they expire. */
const UNUSABLE_BEFORE_MS = 30_000;
/** Delay between two attempts to renew credentials that are still valid. */
const RETRY_MS = 30_000;
/** Far more than there are roles. Beyond this, the grant that was obtained first is forgotten. */
const MAX_GRANTS = 10_000;

export interface WebIdentityDeps extends StsDeps {
  /** Reads the token, which Kubernetes replaces before it expires. @throws Error */
  readonly readToken: (signal: AbortSignal) => Promise<string>;
  /**
   * Origins of the STS services that may receive the token. Absent: any. In a cluster, the user who names an STS service is
   * usually not the administrator to whom the token belongs.
   */
  readonly allowedStsEndpoints?: readonly string[];
  /** Returns the proxy to an STS service. A target's own proxy is never used, because its owner could read the token. */
  readonly proxyFor?: (url: string) => TargetProxy | undefined;
}

interface CachedGrant extends Grant {
  /** Wall time from which the grant is renewed. */
  renewAtMs: number;
}

/** Exchanges the prober's web identity token for credentials, and keeps them until shortly before they expire. */
export class WebIdentity {
  readonly #deps: WebIdentityDeps;
  readonly #grants = new Map<string, CachedGrant>();
  readonly #inFlight = new Map<string, Promise<Grant>>();

  constructor(deps: WebIdentityDeps) {
    this.#deps = deps;
  }

  /**
   * Returns credentials for a target. If its own STS service grants none, the store is at fault: the result then contains the
   * reason, for the run to report.
   *
   * @throws {ReasonedError} `WebIdentityUnavailable` if the store is not at fault.
   * @throws signal.reason if the signal aborts.
   */
  async credentialsFor(
    plan: WebIdentityPlan,
    target: Connection,
    signal: AbortSignal,
  ): Promise<CredentialsOrFault> {
    const sts = new URL(plan.stsEndpoint ?? defaultStsEndpoint(target)).origin;
    const isStore = sts === new URL(target.endpoint).origin;
    const { allowedStsEndpoints } = this.#deps;
    if (allowedStsEndpoints?.includes(sts) === false) {
      throw unavailable(`the operator's --web-identity-sts-endpoints does not include ${sts}`);
    }
    try {
      return {
        credentials: await this.#credentials(plan.roleArn, stsConnection(sts, isStore, target), signal),
      };
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof ReasonedError)) throw error;
      if (REASONS[error.reason].verdict === 'Unknown') throw error;
      if (isStore || error.reason === 'WebIdentityRejected') {
        return { credentials: { accessKey: '', secretKey: '' }, credentialsFault: error };
      }
      throw unavailable(error.message, error);
    }
  }

  async #credentials(
    roleArn: string | undefined,
    connection: Connection,
    signal: AbortSignal,
  ): Promise<Credentials> {
    const key = JSON.stringify([connection.endpoint, roleArn, fingerprint(connection.tls)]);
    const cached = this.#grants.get(key);
    const nowMs = this.#deps.clock.now();
    if (cached !== undefined && nowMs < cached.renewAtMs) return cached.credentials;
    try {
      return (await untilAborted(this.#renew(key, roleArn, connection), signal)).credentials;
    } catch (error) {
      if (cached === undefined || nowMs > cached.expiresAtMs - UNUSABLE_BEFORE_MS) throw error;
      cached.renewAtMs = nowMs + RETRY_MS;
      return cached.credentials;
    }
  }

  /** Ignores the caller's signal, because other runs may be waiting for the same grant. */
  #renew(key: string, roleArn: string | undefined, connection: Connection): Promise<Grant> {
    const inFlight = this.#inFlight.get(key);
    if (inFlight !== undefined) return inFlight;
    const renewing = this.#request(roleArn, connection)
      .then((grant) => {
        this.#store(key, grant);
        return grant;
      })
      .finally(() => this.#inFlight.delete(key));
    // Avoids an unhandled rejection if no caller is waiting any more when it fails.
    renewing.catch(() => undefined);
    this.#inFlight.set(key, renewing);
    return renewing;
  }

  async #request(roleArn: string | undefined, connection: Connection): Promise<Grant> {
    using deadline = this.#deps.clock.deadline(TIMEOUT_MS);
    const token = await this.#readToken(deadline.signal);
    const proxy = this.#deps.proxyFor?.(connection.endpoint);
    const service = proxy === undefined ? connection : { ...connection, proxy };
    return await assumeRoleWithWebIdentity(
      { roleArn, token, connection: service },
      this.#deps,
      deadline.signal,
    );
  }

  async #readToken(signal: AbortSignal): Promise<string> {
    const text = await this.#deps.readToken(signal).catch((cause: unknown) => {
      const why = cause instanceof Error ? cause.message : 'unknown error';
      throw unavailable(`the web identity token cannot be read: ${why}`, cause);
    });
    const token = text.trim();
    if (token === '') throw unavailable('the file of the web identity token is empty');
    return token;
  }

  #store(key: string, grant: Grant): void {
    const nowMs = this.#deps.clock.now();
    const lifetimeMs = grant.expiresAtMs - nowMs;
    const [oldest] = this.#grants.keys();
    this.#grants.delete(key);
    if (this.#grants.size >= MAX_GRANTS && oldest !== undefined) this.#grants.delete(oldest);
    this.#grants.set(key, {
      ...grant,
      renewAtMs: grant.expiresAtMs - Math.min(RENEW_BEFORE_MS, lifetimeMs / 2),
    });
  }
}

/** The regional STS service for an AWS store. Other stores, such as MinIO, serve STS at the store's endpoint. */
function defaultStsEndpoint({ endpoint, region }: Connection): string {
  const { hostname } = new URL(endpoint);
  const [, domain] = /(?:^|\.)(amazonaws\.com(?:\.cn)?)\.?$/.exec(hostname) ?? [];
  return domain === undefined ? endpoint : `https://sts.${region}.${domain}`;
}

/** The client certificate and the server name are for the store, and not for another service. */
function stsConnection(sts: string, isStore: boolean, { region, tls }: Connection): Connection {
  const connection = { endpoint: sts, region };
  if (tls === undefined) return connection;
  if (isStore) return { ...connection, tls };
  return tls.ca === undefined ? connection : { ...connection, tls: { ca: tls.ca } };
}

function fingerprint(tls: TargetTls | undefined): string {
  return tls === undefined ? '' : sha256Hex(JSON.stringify(tls));
}

function unavailable(message: string, cause?: unknown): ReasonedError {
  return new ReasonedError('WebIdentityUnavailable', message, { cause });
}

/** Rejects with `signal.reason` as soon as the signal aborts. The promise itself continues. */
async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  using _ = addAbortListener(signal, () => {
    reject(signal.reason as Error);
  });
  return await Promise.race([promise, aborted]);
}
