import { oneLine } from '../api/one-line.ts';

/**
 * OpenSSL's texts by error code. Node adds hints for its own developers to some of them. Source: OpenSSL 3.5,
 * `crypto/x509/x509_txt.c`.
 */
const TLS_TEXTS: Readonly<Record<string, string>> = {
  UNABLE_TO_GET_ISSUER_CERT: 'unable to get issuer certificate',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'unable to get local issuer certificate',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'unable to verify the first certificate',
  SELF_SIGNED_CERT_IN_CHAIN: 'self-signed certificate in certificate chain',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'self-signed certificate',
  CERT_UNTRUSTED: 'certificate not trusted',
};

/** Describes the error of a connection in one line for the reader of a message. */
export function causeText(cause: unknown): string {
  if (!(cause instanceof Error)) return 'unknown error';
  const { code } = cause as NodeJS.ErrnoException;
  const tlsText = code !== undefined && Object.hasOwn(TLS_TEXTS, code) ? TLS_TEXTS[code] : undefined;
  // OpenSSL messages include internal addresses and source files: `4087…:error:0A00010B:SSL routines:…:wrong version number:…`.
  return oneLine(tlsText ?? /:SSL routines:[^:]*:([^:]+):/.exec(cause.message)?.[1] ?? cause.message);
}
