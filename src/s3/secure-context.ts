import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import tls from 'node:tls';

import { ReasonedError } from '../api/reasons.ts';
import type { ClientCertificate, TargetTls } from '../api/run.ts';
import { isCertificate, isPrivateKey, pemBlocks } from './pem.ts';

/**
 * Creates the context for connections to a target.
 *
 * With `ca`, only these certificates are trusted, and each is enough by itself: a bundle may have just the issuing CA,
 * as for curl and Go. Otherwise Node's and the system's authorities are trusted.
 *
 * @throws {ReasonedError} `SecretInvalid` if a certificate or key cannot be used.
 */
export function createTargetContext({ ca, clientCertificate }: TargetTls = {}): tls.SecureContext {
  const authorities = ca === undefined ? undefined : caCertificates(ca);
  if (authorities === undefined) trustSystemAuthorities();
  return tls.createSecureContext({
    ...(authorities !== undefined && { ca: authorities, allowPartialTrustChain: true }),
    ...(clientCertificate !== undefined && certificateAndKey(clientCertificate)),
  });
}

/** Creates the context for TLS to a proxy, which may have a certificate from a public or from the target's CA. */
export function createProxyContext({ ca }: TargetTls = {}): tls.SecureContext {
  trustSystemAuthorities();
  if (ca === undefined) return tls.createSecureContext();
  return tls.createSecureContext({
    ca: [...tls.getCACertificates('default'), ...caCertificates(ca)],
    allowPartialTrustChain: true,
  });
}

/**
 * Adds the system's authorities to Node's own for the whole process. A context without `ca` then shares one store; with
 * a list of its own, each context would take 10 ms and over 1 MB.
 */
function trustSystemAuthorities(): void {
  const trusted = tls.getCACertificates('default');
  // Both lists are cached by Node after the first call, which reads the files.
  const known = new Set(trusted);
  const added = new Set(tls.getCACertificates('system').filter((certificate) => !known.has(certificate)));
  if (added.size > 0) tls.setDefaultCACertificates([...trusted, ...added]);
}

function caCertificates(ca: string): string[] {
  return certificatesIn(ca, 'the CA bundle').map(({ text }) => text);
}

function certificateAndKey({ certificate, privateKey }: ClientCertificate): tls.SecureContextOptions {
  const chain = certificatesIn(certificate, 'the client certificate');
  const key = privateKeyIn(privateKey);
  // The order of the blocks does not matter to those who concatenate them, but OpenSSL takes the first as the leaf.
  const leaf = chain.find(({ parsed }) => parsed.checkPrivateKey(key));
  if (leaf === undefined) {
    throw new ReasonedError('SecretInvalid', 'the private key does not belong to the client certificate');
  }
  const others = chain.filter((each) => each !== leaf);
  return {
    cert: [leaf, ...others].map(({ text }) => text).join(''),
    key: key.export({ type: 'pkcs8', format: 'pem' }),
  };
}

interface ParsedCertificate {
  readonly text: string;
  readonly parsed: X509Certificate;
}

/** Checks the certificates first, because Node accepts any text as a CA bundle and then trusts no certificate. */
function certificatesIn(pem: string, what: string): ParsedCertificate[] {
  const blocks = pemBlocks(pem).filter(isCertificate);
  if (blocks.length === 0) throw new ReasonedError('SecretInvalid', `${what} contains no PEM certificate`);
  return blocks.map(({ text }, index) => {
    try {
      return { text, parsed: new X509Certificate(text) };
    } catch (cause) {
      throw new ReasonedError('SecretInvalid', `certificate ${index + 1} in ${what} cannot be parsed`, {
        cause,
      });
    }
  });
}

/** The error has no cause, because OpenSSL's messages are of no use to the reader of this one. */
function privateKeyIn(pem: string): KeyObject {
  const block = pemBlocks(pem).find(isPrivateKey);
  if (block === undefined) {
    throw new ReasonedError('SecretInvalid', "the client certificate's key contains no PEM private key");
  }
  if (block.label === 'ENCRYPTED PRIVATE KEY' || block.text.includes('ENCRYPTED\n')) {
    throw new ReasonedError(
      'SecretInvalid',
      "the client certificate's private key is encrypted; store it without a passphrase",
    );
  }
  try {
    return createPrivateKey(block.text);
  } catch {
    throw new ReasonedError('SecretInvalid', "the client certificate's private key cannot be parsed");
  }
}
