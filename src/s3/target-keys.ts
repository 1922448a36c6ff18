import { X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';

import { ReasonedError } from '../api/reasons.ts';
import type { RunTarget } from '../api/run.ts';
import { Redactor, secretsOf } from './redactor.ts';
import { Signer } from './signer.ts';

/** The signer and TLS context of a target, created from its credentials and CA bundle. */
export interface TargetKeys {
  readonly signer: Signer;
  readonly redactor: Redactor;
  /** Absent if the system's certificate authorities are trusted. */
  readonly secureContext: SecureContext | undefined;
}

/** Caches the keys of targets between runs because they are expensive to create. Keys are freed with their target. */
export class TargetKeyring {
  readonly #keys = new WeakMap<RunTarget, TargetKeys>();

  /**
   * @throws {ReasonedError} `target.credentialsFault`, or `SecretInvalid` if `target.tls.ca` contains no certificate or one that cannot
   *   be parsed.
   */
  keysOf(target: RunTarget): TargetKeys {
    if (target.credentialsFault !== undefined) throw target.credentialsFault;
    const cached = this.#keys.get(target);
    if (cached !== undefined) return cached;
    const keys = {
      signer: new Signer(target.credentials, target.region),
      redactor: new Redactor(secretsOf(target)),
      secureContext: target.tls?.ca === undefined ? undefined : secureContextFor(target.tls.ca),
    };
    this.#keys.set(target, keys);
    return keys;
  }
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Checks the bundle first, because Node accepts any text as a CA bundle and then trusts no certificate. */
function secureContextFor(ca: string): SecureContext {
  const certificates = ca.match(PEM_CERTIFICATE);
  if (certificates === null) {
    throw new ReasonedError('SecretInvalid', 'the CA bundle contains no PEM certificate');
  }
  for (const [index, certificate] of certificates.entries()) {
    try {
      void new X509Certificate(certificate);
    } catch (cause) {
      throw new ReasonedError('SecretInvalid', `certificate ${index + 1} in the CA bundle cannot be parsed`, {
        cause,
      });
    }
  }
  return createSecureContext({ ca });
}
