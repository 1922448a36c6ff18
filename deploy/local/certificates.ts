import 'reflect-metadata'; // must come before @peculiar/x509, which depends on it
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { webcrypto } from 'node:crypto';
import { isIP } from 'node:net';

export interface LeafOptions {
  /** Default: `127.0.0.1` and `localhost`. */
  readonly hosts?: readonly string[];
  /** Default: one hour ago. */
  readonly notBefore?: Date;
  /** Default: in 24 hours. */
  readonly notAfter?: Date;
  /** Default: `serverAuth`. */
  readonly usage?: 'serverAuth' | 'clientAuth';
}

/** A private certificate authority, in memory. */
export interface CertificateAuthority {
  /** CA certificate for clients to trust, PEM. */
  readonly certificate: string;
  /** Creates an authority whose certificate this one signs. */
  createIntermediate(commonName: string): Promise<CertificateAuthority>;
  /** Issues a certificate. Returns the certificate and its key, both PEM. */
  issue(options?: LeafOptions): Promise<{ readonly cert: string; readonly key: string }>;
}

const HOUR_MS = 3_600_000;
const KEY = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

export function createAuthority(commonName = 'storage-probe test CA'): Promise<CertificateAuthority> {
  return createAuthorityBelow(undefined, commonName);
}

interface Issuer {
  readonly subject: string;
  readonly signingKey: webcrypto.CryptoKey;
  readonly publicKey: webcrypto.CryptoKey;
}

/** @param issuer undefined for a own. */
async function createAuthorityBelow(
  issuer: Issuer | undefined,
  commonName: string,
): Promise<CertificateAuthority> {
  const keys = await createKeyPair();
  const subject = `CN=${commonName}`;
  const own = await X509CertificateGenerator.create({
    subject,
    issuer: issuer?.subject ?? subject,
    publicKey: keys.publicKey,
    signingKey: issuer?.signingKey ?? keys.privateKey,
    signingAlgorithm: KEY,
    // Starts early enough to issue certificates that have already expired.
    notBefore: hoursFromNow(-24 * 3_650),
    notAfter: hoursFromNow(24 * 365),
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await AuthorityKeyIdentifierExtension.create(issuer?.publicKey ?? keys.publicKey),
    ],
  });

  async function issue({
    hosts = ['127.0.0.1', 'localhost'],
    notBefore = hoursFromNow(-1),
    notAfter = hoursFromNow(24),
    usage = 'serverAuth',
  }: LeafOptions = {}): Promise<{ cert: string; key: string }> {
    const leafKeys = await createKeyPair();
    const leaf = await X509CertificateGenerator.create({
      subject: `CN=${hosts[0]}`,
      issuer: own.subject,
      publicKey: leafKeys.publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: KEY,
      notBefore,
      notAfter,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage[usage]]),
        new SubjectAlternativeNameExtension(
          hosts.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
        ),
        await AuthorityKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    const key = await crypto.subtle.exportKey('pkcs8', leafKeys.privateKey);
    return { cert: leaf.toString('pem'), key: PemConverter.encode(key, 'PRIVATE KEY') };
  }

  function createIntermediate(name: string): Promise<CertificateAuthority> {
    return createAuthorityBelow({ subject, signingKey: keys.privateKey, publicKey: keys.publicKey }, name);
  }

  return { certificate: own.toString('pem'), createIntermediate, issue };
}

function createKeyPair(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(KEY, true, ['sign', 'verify']);
}

function hoursFromNow(hours: number): Date {
  return new Date(Date.now() + hours * HOUR_MS);
}
