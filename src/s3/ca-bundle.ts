import { X509Certificate } from 'node:crypto';

import { ReasonedError } from '../api/reasons.ts';

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * Node takes any text as a CA bundle, and then trusts nobody.
 *
 * @throws {ReasonedError} `SecretInvalid`, when `pem` holds no certificate or one that cannot be read.
 */
export function checkCaBundle(pem: string): void {
  const certificates = pem.match(PEM_CERTIFICATE);
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
}
