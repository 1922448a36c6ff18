import { X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';

import { ReasonedError } from '../api/reasons.ts';
import type { RunTarget } from '../api/run.ts';
import { Signer } from './signer.ts';

/** What a target's credentials and CA bundle become before the first call. */
export interface TargetKeys {
  readonly signer: Signer;
  /** Absent where the system's authorities are trusted. */
  readonly secureContext: SecureContext | undefined;
}

/** Keeps the keys of targets over their runs: they are dear to make. One that nobody holds any more is forgotten. */
export class TargetKeyring {
  readonly #keys = new WeakMap<RunTarget, TargetKeys>();

  /** @throws {ReasonedError} `SecretInvalid`, when `target.ca` holds no certificate or one that cannot be read. */
  keysOf(target: RunTarget): TargetKeys {
    const known = this.#keys.get(target);
    if (known !== undefined) return known;
    const keys = {
      signer: new Signer(target.credentials, target.region),
      secureContext: target.ca === undefined ? undefined : trusting(target.ca),
    };
    this.#keys.set(target, keys);
    return keys;
  }
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Node takes any text as a CA bundle, and then trusts nobody. */
function trusting(ca: string): SecureContext {
  const certificates = ca.match(PEM_CERTIFICATE);
  if (certificates === null) {
    throw new ReasonedError('SecretInvalid', 'the CA bundle holds no certificate in PEM form');
  }
  for (const [index, certificate] of certificates.entries()) {
    try {
      void new X509Certificate(certificate);
    } catch (cause) {
      throw new ReasonedError('SecretInvalid', `certificate ${index + 1} of the CA bundle cannot be read`, {
        cause,
      });
    }
  }
  return createSecureContext({ ca });
}
