import 'reflect-metadata'; // before @peculiar/x509, which asks for it
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
  /** Default: an hour ago. */
  readonly notBefore?: Date;
  /** Default: in a day. */
  readonly notAfter?: Date;
}

/** A private certificate authority, in memory. */
export interface CertificateAuthority {
  /** PEM: what a client must trust. */
  readonly certificate: string;
  /** A server's certificate and its key, PEM. */
  issue(options?: LeafOptions): Promise<{ readonly cert: string; readonly key: string }>;
}

const HOUR_MS = 3_600_000;
const KEY = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

export async function makeAuthority(commonName = 'storage-probe test CA'): Promise<CertificateAuthority> {
  const keys = await makeKeys();
  const root = await X509CertificateGenerator.createSelfSigned({
    name: `CN=${commonName}`,
    keys,
    signingAlgorithm: KEY,
    // Long enough to issue certificates that lie wholly in the past.
    notBefore: hoursFromNow(-24 * 3_650),
    notAfter: hoursFromNow(24 * 365),
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });

  async function issue({
    hosts = ['127.0.0.1', 'localhost'],
    notBefore = hoursFromNow(-1),
    notAfter = hoursFromNow(24),
  }: LeafOptions = {}): Promise<{ cert: string; key: string }> {
    const leafKeys = await makeKeys();
    const leaf = await X509CertificateGenerator.create({
      subject: `CN=${hosts[0]}`,
      issuer: root.subject,
      publicKey: leafKeys.publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: KEY,
      notBefore,
      notAfter,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
        new SubjectAlternativeNameExtension(
          hosts.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
        ),
        await AuthorityKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    const key = await crypto.subtle.exportKey('pkcs8', leafKeys.privateKey);
    return { cert: leaf.toString('pem'), key: PemConverter.encode(key, 'PRIVATE KEY') };
  }

  return { certificate: root.toString('pem'), issue };
}

function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(KEY, true, ['sign', 'verify']);
}

function hoursFromNow(hours: number): Date {
  return new Date(Date.now() + hours * HOUR_MS);
}
