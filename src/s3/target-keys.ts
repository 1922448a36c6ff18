import type { SecureContext } from 'node:tls';

import type { RunTarget } from '../api/run.ts';
import { Redactor, secretsOf } from './redactor.ts';
import { createProxyContext, createTargetContext } from './secure-context.ts';
import { Signer } from './signer.ts';

/** What is created from the credentials, certificates and keys of a target. */
export interface TargetKeys {
  readonly signer: Signer;
  readonly redactor: Redactor;
  /** Undefined if the target does not use TLS. */
  readonly secureContext: SecureContext | undefined;
  /** Undefined if there is no proxy or it does not use TLS. */
  readonly proxyContext: SecureContext | undefined;
}

/** Caches the keys of targets between runs because they are expensive to create. Keys are freed with their target. */
export class TargetKeyring {
  readonly #keys = new WeakMap<RunTarget, TargetKeys>();
  /** For all targets without certificates of their own. */
  #sharedContext: SecureContext | undefined;

  /**
   * @throws {ReasonedError} `target.credentialsFault`, or `SecretInvalid` if a certificate or key in `target.tls` cannot be
   *   used.
   */
  keysOf(target: RunTarget): TargetKeys {
    if (target.credentialsFault !== undefined) throw target.credentialsFault;
    const cached = this.#keys.get(target);
    if (cached !== undefined) return cached;
    const { tls, proxy } = target;
    const keys = {
      signer: new Signer(target.credentials, target.region),
      redactor: new Redactor(secretsOf(target)),
      secureContext: isHttps(target.endpoint) || tls !== undefined ? this.#contextOf(target) : undefined,
      proxyContext: proxy !== undefined && isHttps(proxy.url) ? createProxyContext(tls) : undefined,
    };
    this.#keys.set(target, keys);
    return keys;
  }

  #contextOf({ tls }: RunTarget): SecureContext {
    if (tls?.ca !== undefined || tls?.clientCertificate !== undefined) return createTargetContext(tls);
    this.#sharedContext ??= createTargetContext();
    return this.#sharedContext;
  }
}

function isHttps(url: string): boolean {
  return url.toLowerCase().startsWith('https:');
}
